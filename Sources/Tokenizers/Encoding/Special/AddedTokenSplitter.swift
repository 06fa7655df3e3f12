/// Finds the added tokens of a checkpoint in a text, as the `tokenizers` library does.
///
/// The leftmost counts first, and of those that start there the longest. A token that has to stand
/// alone and does not, or that is special while special tokens are plain text, is passed over with
/// its text: nothing else is looked for inside it.
struct AddedTokenSplitter: Sendable {
  private var tokens: [AddedToken] = []
  private var matcher = TextMatcher()

  /// Adds a token that is looked for by `text`; of two with one text the last one counts.
  mutating func insert(_ token: AddedToken, text: some Collection<UInt8>) {
    matcher.insert(text, value: tokens.count)
    tokens.append(token)
  }

  func split(_ text: ArraySlice<UInt8>, parsesSpecial: Bool) -> [Fragment] {
    guard !matcher.isEmpty else { return text.isEmpty ? [] : [.text(text.indices)] }
    var fragments: [Fragment] = []
    var done = text.startIndex
    var index = text.startIndex
    // The last run of white space that was looked through: what starts inside of it ends with it.
    var space = index..<index
    while index < text.endIndex {
      guard let match = matcher.longestMatch(in: text, at: index) else {
        index += 1
        continue
      }
      index = match.range.upperBound
      let token = tokens[match.value]
      if token.isSpecial, !parsesSpecial { continue }
      if token.isSingleWord, touchesWord(text, match.range) { continue }
      var start = match.range.lowerBound
      var end = match.range.upperBound
      if token.stripsLeft { start = startOfSpace(text, before: start, notBefore: done) }
      if token.stripsRight {
        if !space.contains(end) { space = end..<endOfSpace(text, after: end) }
        end = space.upperBound
      }
      if done < start { fragments.append(.text(done..<start)) }
      fragments.append(.token(Int32(token.id)))
      done = end
    }
    if done < text.endIndex { fragments.append(.text(done..<text.endIndex)) }
    return fragments
  }

  // MARK: Surroundings

  private func touchesWord(_ text: ArraySlice<UInt8>, _ range: Range<Int>) -> Bool {
    if let before = scalar(text, endingAt: range.lowerBound), isWord(before) { return true }
    if let after = scalar(text, startingAt: range.upperBound), isWord(after) { return true }
    return false
  }

  /// Looks back to `limit` only: what was given to tokens before is theirs.
  private func startOfSpace(
    _ text: ArraySlice<UInt8>, before end: Int, notBefore limit: Int
  ) -> Int {
    var start = end
    while start > limit, let scalar = scalar(text, endingAt: start),
      CharacterClasses.isSpace(scalar.value)
    {
      start -= UTF8.width(scalar)
    }
    return start
  }

  private func endOfSpace(_ text: ArraySlice<UInt8>, after start: Int) -> Int {
    var end = start
    while let scalar = scalar(text, startingAt: end), CharacterClasses.isSpace(scalar.value) {
      end += UTF8.width(scalar)
    }
    return end
  }

  /// `\w`: letters, marks, decimal digits, connectors and joiners.
  private func isWord(_ scalar: Unicode.Scalar) -> Bool {
    let properties = scalar.properties
    if properties.isAlphabetic || properties.isJoinControl { return true }
    switch properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation:
      return true
    default: return false
    }
  }

  private func scalar(_ text: ArraySlice<UInt8>, startingAt start: Int) -> Unicode.Scalar? {
    guard start < text.endIndex else { return nil }
    let end = min(start + utf8ByteCount(text[start]), text.endIndex)
    return String(validating: text[start..<end], as: UTF8.self)?.unicodeScalars.first
  }

  private func scalar(_ text: ArraySlice<UInt8>, endingAt end: Int) -> Unicode.Scalar? {
    guard end > text.startIndex else { return nil }
    var start = end - 1
    while start > text.startIndex, end - start < 4, text[start] & 0xC0 == 0x80 { start -= 1 }
    return String(validating: text[start..<end], as: UTF8.self)?.unicodeScalars.last
  }
}
