import ByteIO
import Quantizers
import ReferenceModel

/// How many chunks of a text go through the models together.
///
/// Every group reads the models again, so groups should be large; their activations have to fit
/// the memory limit.
package struct ForwardBudget: Hashable, Sendable {
  package var chunksPerGroup: Int
  package var groupCount: Int
  /// Of the fullest group.
  package var byteCount: Int

  /// Not even one chunk fits.
  package struct TooSmall: Error, Sendable, CustomStringConvertible {
    package var limit: UInt64
    package var needed: UInt64
    package var description: String {
      """
      --memory-limit \(byteText(limit)) is too small: one chunk of this context needs about \
      \(byteText(needed)); give \(needed / 1_000_000 + 1)M or more, or take a smaller --context or \
      fewer --threads
      """
    }
  }

  /// Bytes that the allocator and the libraries take besides, once and per thread.
  static let slack: UInt64 = 24 << 20
  /// A score, and the columns of figures and sorted copies that statistics make of them.
  static let bytesPerScore = 120
  static let slackPerThread = UInt64(MatrixLibrary.workspaceByteCountPerThread) + (1 << 20)

  /// - Parameters:
  ///   - models: one or two.
  ///   - text: what will be scored.
  ///   - limit: most resident bytes.
  ///   - used: resident bytes now.
  ///   - threadCount: workers.
  ///   - keptCounts: what is kept per position for a saved reference.
  ///   - lookupCount: logits that are looked up per position.
  /// - Throws: `TooSmall` when not even one chunk fits.
  package init(
    models: [ReferenceModel], text: ScoringText, limit: UInt64, used: UInt64, threadCount: Int,
    keptCounts: SavedReference.KeptCounts?, lookupCount: Int
  ) throws(TooSmall) {
    func bytes(_ chunks: Int) -> Int {
      let tokens = chunks * text.contextLength
      let passes = models.reduce(0) { $0 + ForwardPass.byteCount($1, tokenCount: tokens) }
      return passes
        + ForwardScratch.byteCount(
          models, tokenCount: tokens, contextLength: text.contextLength, threadCount: threadCount)
        + OutputStage.byteCount(
          positionCount: chunks * text.scoredPositions.count, modelCount: models.count,
          threadCount: threadCount, keptCounts: keptCounts, lookupCount: lookupCount)
    }
    let fixed =
      used + Self.slack + UInt64(threadCount) * Self.slackPerThread
      + UInt64(text.scoredPositionCount * Self.bytesPerScore)
    let needed = fixed + UInt64(bytes(1))
    guard needed <= limit else { throw TooSmall(limit: limit, needed: needed) }
    var low = 1
    var high = text.chunkCount
    while low < high {
      let middle = (low + high + 1) / 2
      if fixed + UInt64(bytes(middle)) <= limit { low = middle } else { high = middle - 1 }
    }
    // Groups of equal size: the last one reads the models like the others.
    groupCount = (text.chunkCount + low - 1) / low
    chunksPerGroup = (text.chunkCount + groupCount - 1) / groupCount
    byteCount = bytes(chunksPerGroup)
  }

  package func groups(chunkCount: Int) -> [Range<Int>] {
    stride(from: 0, to: chunkCount, by: chunksPerGroup).map {
      $0..<min($0 + chunksPerGroup, chunkCount)
    }
  }
}
