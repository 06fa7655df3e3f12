/// Walks over ASCII text piece by piece, in time that grows with the text only.
struct TextScanner {
  private var rest: ArraySlice<UInt8>

  init(_ text: some StringProtocol) { rest = Array(text.utf8)[...] }

  var isAtEnd: Bool { rest.isEmpty }

  /// Takes the first of `words` that comes next, in any case.
  mutating func take(_ words: String...) -> Bool {
    for word in words where rest.count >= word.utf8.count {
      let matches = zip(rest, word.utf8).allSatisfy { byte, wanted in
        byte == wanted
          || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) && byte | 0x20 == wanted
      }
      if matches {
        rest = rest.dropFirst(word.utf8.count)
        return true
      }
    }
    return false
  }

  /// Takes the bytes that are in `set`, at most `limit`; returns how many.
  @discardableResult
  mutating func take(in set: StaticString, limit: Int = .max) -> Int {
    let run = rest.prefix(limit).prefix { byte in
      set.withUTF8Buffer { $0.contains(byte) }
    }
    rest = rest.dropFirst(run.count)
    return run.count
  }

  @discardableResult
  mutating func takeDigits(limit: Int = .max) -> Int { take(in: "0123456789", limit: limit) }

  /// Takes a run of digits that follows `separator`; takes nothing when none does.
  mutating func takeDigits(after separator: String, limit: Int = .max) -> Bool {
    var copy = self
    guard copy.take(separator), copy.takeDigits(limit: limit) > 0 else { return false }
    self = copy
    return true
  }

  /// Whether the whole of `text` has the form that `form` takes.
  static func matches(
    _ text: some StringProtocol, _ form: (inout TextScanner) -> Bool
  ) -> Bool {
    var scanner = TextScanner(text)
    return form(&scanner) && scanner.isAtEnd
  }
}
