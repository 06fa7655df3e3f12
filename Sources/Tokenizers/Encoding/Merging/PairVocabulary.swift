/// Tokens and merges of a byte-pair model, by the text that they stand for.
struct PairVocabulary: Sendable {
  /// Texts of tokens, and of merged pairs that are no token; their numbers are the symbols.
  private(set) var texts: TextTable
  /// Token by symbol, -1 for a text that is no token.
  private(set) var tokens: [Int32] = []
  private(set) var merges: MergeTable

  init(tokenCount: Int, mergeCount: Int) {
    texts = TextTable(minimumCapacity: tokenCount)
    merges = MergeTable(minimumCapacity: mergeCount)
  }

  /// Adds a token; `false` when its text is there already.
  mutating func addToken(_ text: some Collection<UInt8>, id: Int32) -> Bool {
    let symbol = symbol(for: text)
    guard tokens[symbol] < 0 else { return false }
    tokens[symbol] = id
    return true
  }

  /// Adds a merge of two texts; of two merges of one pair the last counts only if `replaces`.
  mutating func addMerge(
    _ left: some Collection<UInt8>, _ right: some Collection<UInt8>, rank: Int, replaces: Bool
  ) {
    let sum = symbol(for: Array(left) + Array(right))
    merges.insert(
      symbol(for: left), symbol(for: right), .init(rank: UInt32(rank), symbol: Int32(sum)),
      replaces: replaces)
  }

  /// Symbol of a text, -1 when it has none.
  func symbol(of text: ArraySlice<UInt8>) -> Int32 {
    texts.number(of: text, text.indices).map { Int32($0) } ?? -1
  }

  func token(of text: ArraySlice<UInt8>) -> Int32? {
    let symbol = symbol(of: text)
    return symbol >= 0 && tokens[Int(symbol)] >= 0 ? tokens[Int(symbol)] : nil
  }

  private mutating func symbol(for text: some Collection<UInt8>) -> Int {
    let (number, isNew) = texts.insert(text)
    if isNew { tokens.append(-1) }
    return number
  }
}
