/// The encoder of an archive's SentencePiece vocabulary, as llama.cpp has it.
///
/// Any token may be the result of a merge, whatever its kind; what merges to no token becomes the
/// tokens of its bytes.
struct ArchiveScoredEncoder: Sendable {
  /// Texts of all tokens; numbers are ids.
  let texts: TextTable
  let scores: [Float]
  /// Token of each byte; -1 where the vocabulary has none.
  private let byteTokens: [Int32]

  /// Makes the encoder of a vocabulary.
  ///
  /// `unknownToken` stands for bytes without a token, where llama.cpp gives up.
  init(texts: TextTable, scores: [Float], unknownToken: Int32?) {
    self.texts = texts
    self.scores = scores
    byteTokens = (UInt8.min...UInt8.max).map { byte in
      let number = texts.number(of: byteTokenText(byte)) ?? texts.number(of: [byte])
      return number.map { Int32($0) } ?? unknownToken ?? -1
    }
  }

  /// Appends the tokens of a text without special tokens, after a space if `addsSpace`.
  func encode(_ bytes: ArraySlice<UInt8>, addsSpace: Bool, into tokens: inout [Int32]) {
    let mark: [UInt8] = [0xE2, 0x96, 0x81]
    var marked: [UInt8] = addsSpace ? mark : []
    marked.reserveCapacity(bytes.count + bytes.count / 2)
    for byte in bytes {
      if byte == UInt8(ascii: " ") { marked += mark } else { marked.append(byte) }
    }
    let text = marked[...]
    var merging = ScoredMerging()
    forEachCharacter(text) { range in
      merging.append(start: range.lowerBound, byteCount: range.count, isFrozen: false)
    }
    merging.run(text, texts, scores: scores)
    merging.forEach { range in
      if let token = texts.number(of: text, range) {
        tokens.append(Int32(token))
      } else {
        for byte in text[range] where byteTokens[Int(byte)] >= 0 {
          tokens.append(byteTokens[Int(byte)])
        }
      }
    }
  }
}
