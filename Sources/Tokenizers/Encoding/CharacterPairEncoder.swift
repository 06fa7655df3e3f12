/// Byte-pair encoding over characters, as a `tokenizer.json` made from a SentencePiece model says.
///
/// Spaces are marks (U+2581) before this; a character that is no token becomes tokens of its bytes.
/// Follows the `tokenizers` library.
struct CharacterPairEncoder: Sendable {
  let vocabulary: PairVocabulary
  let ignoresMerges: Bool
  let hasByteFallback: Bool
  /// Tokens written `<0xHH>`, as symbols; -1 where there is none.
  private let byteSymbols: [Int32]
  /// Symbol of the unknown token, if there is one.
  let unknownSymbol: Int32?
  /// Whether neighbouring unknown characters are one unknown token.
  let fusesUnknown: Bool

  init(
    _ vocabulary: PairVocabulary, ignoresMerges: Bool, hasByteFallback: Bool,
    unknownToken: String?, fusesUnknown: Bool
  ) {
    self.vocabulary = vocabulary
    self.ignoresMerges = ignoresMerges
    self.hasByteFallback = hasByteFallback
    self.fusesUnknown = fusesUnknown
    byteSymbols = (UInt8.min...UInt8.max).map { vocabulary.symbol(of: byteTokenText($0)[...]) }
    let unknown = unknownToken.map { vocabulary.symbol(of: Array($0.utf8)[...]) }
    unknownSymbol = unknown.flatMap { $0 >= 0 ? $0 : nil }
  }

  func encode(word: ArraySlice<UInt8>, _ merging: inout RankedMerging, into tokens: inout [Int32]) {
    guard !word.isEmpty else { return }
    if ignoresMerges, let token = vocabulary.token(of: word) {
      tokens.append(token)
      return
    }
    merging.begin()
    var unknownIsPending = false
    forEachCharacter(word) { range in
      let symbol = vocabulary.symbol(of: word[range])
      if symbol >= 0, vocabulary.tokens[Int(symbol)] >= 0 {
        if unknownIsPending, let unknownSymbol { merging.append(unknownSymbol) }
        unknownIsPending = false
        merging.append(symbol)
      } else if hasByteFallback, word[range].allSatisfy({ byteSymbols[Int($0)] >= 0 }) {
        // An unknown token that is pending stays so: the library's order.
        for byte in word[range] { merging.append(byteSymbols[Int(byte)]) }
      } else if let unknownSymbol {
        if unknownIsPending, !fusesUnknown { merging.append(unknownSymbol) }
        unknownIsPending = true
      }
    }
    if unknownIsPending, let unknownSymbol { merging.append(unknownSymbol) }
    merging.finish(vocabulary.merges) { symbol in
      if symbol >= 0, vocabulary.tokens[Int(symbol)] >= 0 {
        tokens.append(vocabulary.tokens[Int(symbol)])
      }
    }
  }
}

/// Calls `body` with the range of each character of UTF-8 text.
///
/// A lead byte says how many bytes there are; at the end of the text there may be fewer.
func forEachCharacter(_ text: ArraySlice<UInt8>, _ body: (Range<Int>) -> Void) {
  var index = text.startIndex
  while index < text.endIndex {
    let end = min(index + utf8ByteCount(text[index]), text.endIndex)
    body(index..<end)
    index = end
  }
}

/// Bytes of the character that a byte starts, by its upper half; 1 for a byte that starts none.
func utf8ByteCount(_ lead: UInt8) -> Int {
  switch lead {
  case 0..<0xC0: 1
  case 0xC0..<0xE0: 2
  case 0xE0..<0xF0: 3
  default: 4
  }
}

/// `<0xHH>`, the token of a byte.
func byteTokenText(_ byte: UInt8) -> [UInt8] {
  let digits = Array("0123456789ABCDEF".utf8)
  return Array("<0x".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)], UInt8(ascii: ">")]
}
