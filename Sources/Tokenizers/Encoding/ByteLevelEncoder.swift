/// Byte-pair encoding over bytes: text is split, and the bytes of each piece are merged by rank.
struct ByteLevelEncoder: Sendable {
  /// Whose habits are followed where the two programs differ: formats/tokenizers/encoding.md.
  enum World: Sendable { case tokenizersLibrary, archive }

  let vocabulary: PairVocabulary
  /// Symbol of each byte, -1 where the vocabulary has none.
  private let byteSymbols: [Int32]
  /// A piece that is a token is that token, whatever its merges give.
  let ignoresMerges: Bool
  let rules: [SplitRule]
  /// Whether a space is put before a text that does not start with one.
  let addsSpace: Bool
  /// Token of a byte that is none; the archive's way has no such token.
  let unknownToken: Int32?
  let world: World
  private let classes: CharacterClasses

  init(
    _ vocabulary: PairVocabulary, rules: [SplitRule], ignoresMerges: Bool, addsSpace: Bool = false,
    unknownToken: Int32? = nil, world: World
  ) {
    self.vocabulary = vocabulary
    self.rules = rules
    self.ignoresMerges = ignoresMerges
    self.addsSpace = addsSpace
    self.unknownToken = unknownToken
    self.world = world
    byteSymbols = (UInt8.min...UInt8.max).map { vocabulary.symbol(of: [$0]) }
    classes = world == .archive ? .archive : .tokenizersLibrary
  }

  /// Appends the tokens of a text without special tokens.
  func encode(_ bytes: ArraySlice<UInt8>, into tokens: inout [Int32]) {
    guard !bytes.isEmpty else { return }
    var text = ScalarText(bytes, classes)
    if addsSpace, bytes.first != UInt8(ascii: " ") {
      text = ScalarText([UInt8(ascii: " ")] + bytes, classes)
    }
    var pieces = [0..<text.count]
    for rule in rules {
      var parts: [Range<Int>] = []
      for piece in pieces {
        SplitScanner(
          text: text, rule: rule, bounds: piece, foldsLongS: world == .tokenizersLibrary
        ).split(into: &parts)
      }
      pieces = parts
    }
    var merging = RankedMerging()
    var word: [UInt8] = []
    for piece in pieces {
      word.removeAll(keepingCapacity: true)
      text.appendUTF8(piece, to: &word)
      encode(word: word[...], &merging, into: &tokens)
    }
  }

  private func encode(
    word: ArraySlice<UInt8>, _ merging: inout RankedMerging, into tokens: inout [Int32]
  ) {
    if ignoresMerges, let token = vocabulary.token(of: word) {
      tokens.append(token)
      return
    }
    merging.begin()
    for byte in word {
      let symbol = byteSymbols[Int(byte)]
      if symbol >= 0 && (world == .archive || vocabulary.tokens[Int(symbol)] >= 0) {
        merging.append(symbol)
      } else if world == .archive {
        merging.append(-1)  // Keeps its neighbours apart and becomes nothing.
      } else if unknownToken != nil {
        merging.append(-2)
      }
    }
    merging.finish(vocabulary.merges) { symbol in
      if symbol == -2, let unknownToken {
        tokens.append(unknownToken)
      } else if symbol >= 0 {
        append(Int(symbol), to: &tokens)
      }
    }
  }

  /// Appends the token of a symbol, or those of its bytes where a merge leads to no token.
  ///
  /// llama.cpp looks those up by the bytes of their letters: it finds the ones that are ASCII.
  private func append(_ symbol: Int, to tokens: inout [Int32]) {
    if vocabulary.tokens[symbol] >= 0 {
      tokens.append(vocabulary.tokens[symbol])
      return
    }
    for byte in vocabulary.texts[symbol] where 33...126 ~= byte {
      let symbol = byteSymbols[Int(byte)]
      if symbol >= 0, vocabulary.tokens[Int(symbol)] >= 0 {
        tokens.append(vocabulary.tokens[Int(symbol)])
      }
    }
  }
}
