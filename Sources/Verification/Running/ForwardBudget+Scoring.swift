import ForwardRuns
import ReferenceModel

extension ForwardBudget {
  /// A score, and the columns of figures and sorted copies that statistics make of them.
  private static let bytesPerScore = 120

  /// - Parameters:
  ///   - models: one or two.
  ///   - text: what will be scored.
  ///   - limit: most resident bytes.
  ///   - used: resident bytes now.
  ///   - threadCount: workers.
  ///   - keptCounts: what is kept per position for a saved reference.
  ///   - lookupCount: logits that are looked up per position.
  /// - Throws: `TooSmall` when not even one chunk fits.
  init(
    models: [ReferenceModel], text: ChunkedText, limit: UInt64, used: UInt64, threadCount: Int,
    keptCounts: SavedReference.KeptCounts?, lookupCount: Int
  ) throws(TooSmall) {
    try self.init(
      chunkCount: text.chunkCount, limit: limit,
      used: used + UInt64(text.scoredPositionCount * Self.bytesPerScore), threadCount: threadCount
    ) { chunks in
      Self.passByteCount(
        models, chunks: chunks, contextLength: text.contextLength, threadCount: threadCount)
        + OutputStage.byteCount(
          positionCount: chunks * text.scoredPositions.count, modelCount: models.count,
          threadCount: threadCount, keptCounts: keptCounts, lookupCount: lookupCount)
    }
  }
}
