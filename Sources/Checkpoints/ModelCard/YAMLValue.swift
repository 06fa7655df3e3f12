/// A node of a YAML document as far as a model card needs it.
indirect enum YAMLValue: Sendable {
  case null
  /// Text: quoted, or plain and not to be read as anything else.
  case string(String)
  /// A plain scalar that YAML 1.1 reads as a number, truth value or date, as it was written.
  case other(String)
  case list([YAMLValue])
  case map([(key: String, value: YAMLValue)])

  var string: String? { if case .string(let text) = self { text } else { nil } }
  var list: [YAMLValue]? { if case .list(let values) = self { values } else { nil } }

  /// Text of any scalar but null.
  var scalarText: String? {
    switch self {
    case .string(let text), .other(let text): text
    default: nil
    }
  }

  /// Member of a mapping, or `nil`.
  ///
  /// Of equal keys the last one counts, as most readers have it.
  subscript(key: String) -> YAMLValue? {
    guard case .map(let members) = self else { return nil }
    return members.last { $0.key.utf8.elementsEqual(key.utf8) }?.value
  }
}

extension YAMLValue {
  /// The value of a plain (unquoted) scalar under the rules of YAML 1.1.
  static func plain(_ text: String) -> YAMLValue {
    if ["", "~", "null", "Null", "NULL"].contains(text) { return .null }
    // Numbers and dates are short; a long text is never tried.
    if text.utf8.count <= 64, isTruthValue(text) || isNumber(text) || isDate(text) {
      return .other(text)
    }
    return .string(text)
  }

  private static func isTruthValue(_ text: String) -> Bool {
    let words = ["yes", "no", "true", "false", "on", "off"]
    guard let word = words.first(where: { $0 == text.lowercased() }) else { return false }
    let capitalized = word.prefix(1).uppercased() + word.dropFirst()
    return text == word || text == capitalized || text == word.uppercased()
  }

  private static func isNumber(_ text: String) -> Bool {
    guard let first = text.utf8.first, (0x2B...0x39).contains(first), first != UInt8(ascii: "/")
    else { return false }
    let digits: StaticString = "0123456789_"
    return TextScanner.matches(text) { scanner in
      scanner.take(in: "+-", limit: 1)
      if scanner.take("0b") { return scanner.take(in: "01_") > 0 }
      if scanner.take("0x") { return scanner.take(in: "0123456789abcdefABCDEF_") > 0 }
      if scanner.take(".inf", ".nan") { return true }
      let whole = scanner.take(in: digits)
      // Base 60, as in 1:30.
      while whole > 0, scanner.takeDigits(after: ":", limit: 2) {}
      if scanner.take(".") {
        guard scanner.take(in: digits) > 0 || whole > 0 else { return false }
        if scanner.take("e") {
          return scanner.take(in: "+-", limit: 1) == 1 && scanner.takeDigits() > 0
        }
        return true
      }
      return whole > 0
    }
  }

  /// A day, or a day and a time.
  private static func isDate(_ text: String) -> Bool {
    TextScanner.matches(text) { scanner in
      guard scanner.takeDigits(limit: 4) == 4, scanner.takeDigits(after: "-", limit: 2),
        scanner.takeDigits(after: "-", limit: 2)
      else { return false }
      if scanner.isAtEnd { return true }
      guard scanner.take("t") || scanner.take(in: " \t") > 0,
        scanner.takeDigits(limit: 2) > 0, scanner.takeDigits(after: ":", limit: 2),
        scanner.takeDigits(after: ":", limit: 2)
      else { return false }
      if scanner.take(".") { scanner.takeDigits() }
      scanner.take(in: " \t")
      if scanner.take("z") || scanner.isAtEnd { return true }
      guard scanner.take(in: "+-", limit: 1) == 1, scanner.takeDigits(limit: 2) > 0 else {
        return false
      }
      return scanner.isAtEnd || scanner.takeDigits(after: ":", limit: 2)
    }
  }
}
