import ByteIO

/// A text's tokens, cut as `llama-perplexity` cuts them.
///
/// The second half of every chunk is scored but for its last token, so that each prediction has at
/// least half a context to go by.
package struct ScoringText: Hashable, Sendable {
  package var path: String
  package var byteCount: Int
  /// Of the whole text.
  package var tokenCount: Int
  package var contextLength: Int
  /// Tokens of the chunks that are used, whole chunks only, as the text has them.
  package var tokens: [Int32]
  /// What replaces the first token of every chunk; `nil` where the model adds no such token.
  package var beginningOfText: Int32?

  package static let contextLengths = 8...(1 << 20)

  /// Cuts a text.
  ///
  /// - Throws: `FormatError` when it has fewer than two contexts of tokens.
  package init(
    path: String, byteCount: Int, allTokens: [Int32], contextLength: Int, chunkLimit: Int?,
    beginningOfText: Int32?
  ) throws(FormatError) {
    guard allTokens.count >= 2 * contextLength else {
      throw FormatError(
        file: path, field: "text",
        reason: .outOfRange(
          found: "\(allTokens.count) tokens",
          allowed: "at least \(2 * contextLength), two contexts of \(contextLength)"),
        advice: "take a longer text, or a smaller --context")
    }
    self.path = path
    self.byteCount = byteCount
    tokenCount = allTokens.count
    self.contextLength = contextLength
    let chunks = min(allTokens.count / contextLength, chunkLimit ?? .max)
    tokens = Array(allTokens.prefix(chunks * contextLength))
    self.beginningOfText = beginningOfText
  }

  /// From what a saved reference holds, whose numbers have been checked.
  init(
    path: String, byteCount: Int, tokenCount: Int, contextLength: Int, tokens: [Int32],
    beginningOfText: Int32?
  ) {
    self.path = path
    self.byteCount = byteCount
    self.tokenCount = tokenCount
    self.contextLength = contextLength
    self.tokens = tokens
    self.beginningOfText = beginningOfText
  }

  package var chunkCount: Int { tokens.count / contextLength }
  /// Positions of a chunk whose next token is scored.
  package var scoredPositions: Range<Int> { contextLength / 2..<contextLength - 1 }
  package var scoredPositionCount: Int { chunkCount * scoredPositions.count }

  /// What the models read in some chunks.
  package func input(ofChunks chunks: Range<Int>) -> [Int32] {
    var input = Array(tokens[chunks.lowerBound * contextLength..<chunks.upperBound * contextLength])
    if let beginningOfText {
      for start in stride(from: 0, to: input.count, by: contextLength) {
        input[start] = beginningOfText
      }
    }
    return input
  }

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
