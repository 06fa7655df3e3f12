import ForwardRuns

/// What `llama-perplexity` scores: the second half of every chunk but for its last token, so that
/// each prediction has at least half a context to go by.
extension ChunkedText {
  /// Positions of a chunk whose next token is scored.
  package var scoredPositions: Range<Int> { contextLength / 2..<contextLength - 1 }
  package var scoredPositionCount: Int { chunkCount * scoredPositions.count }

  /// Scored positions of some chunks, counted from the first token of the first of them.
  package func positions(ofChunks chunks: Range<Int>) -> [Int] {
    chunks.indices.flatMap { chunk in
      scoredPositions.map { (chunk - chunks.lowerBound) * contextLength + $0 }
    }
  }

  /// The tokens that follow those positions.
  package func targets(ofChunks chunks: Range<Int>) -> [Int32] {
    chunks.flatMap { chunk in
      scoredPositions.map { tokens[chunk * contextLength + $0 + 1] }
    }
  }

  package var settings: VerificationResult.ProtocolSettings {
    .init(
      textPath: path, textByteCount: byteCount, tokenCount: tokenCount,
      contextLength: contextLength, chunkCount: chunkCount,
      scoredPositionCount: scoredPositionCount, startsWithBOS: beginningOfText != nil)
  }
}
