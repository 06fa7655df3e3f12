import ByteIO

/// A text's tokens, cut as `llama-perplexity` and `llama-imatrix` cut them.
///
/// Whole chunks of one length; a beginning of text takes the place of the first token of each.
package struct ChunkedText: Hashable, Sendable {
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

  /// Cuts a text; `option` is what a command calls the length of a context.
  ///
  /// - Throws: `FormatError` when it has fewer than two contexts of tokens.
  package init(
    path: String, byteCount: Int, allTokens: [Int32], contextLength: Int, chunkLimit: Int?,
    beginningOfText: Int32?, option: String = "--context"
  ) throws(FormatError) {
    guard allTokens.count >= 2 * contextLength else {
      throw FormatError(
        file: path, field: "text",
        reason: .outOfRange(
          found: "\(allTokens.count) tokens",
          allowed: "at least \(2 * contextLength), two contexts of \(contextLength)"),
        advice: "take a longer text, or a smaller \(option)")
    }
    self.path = path
    self.byteCount = byteCount
    tokenCount = allTokens.count
    self.contextLength = contextLength
    let chunks = min(allTokens.count / contextLength, chunkLimit ?? .max)
    tokens = Array(allTokens.prefix(chunks * contextLength))
    self.beginningOfText = beginningOfText
  }

  /// From numbers that have been checked.
  package init(
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
}
