/// Name of one file of a split set: `PREFIX-00001-of-00003.gguf`.
package struct SplitName: Hashable, Sendable {
  /// With the folder.
  package var prefix: String
  /// From 0; the name shows it from 1.
  package var part: Int
  package var partCount: Int

  package init(prefix: String, part: Int, partCount: Int) {
    self.prefix = prefix
    self.part = part
    self.partCount = partCount
  }

  /// Takes a path apart; `nil` when it is not the name of a part.
  package init?(path: String) {
    let suffix = ".gguf"
    guard path.hasSuffix(suffix) else { return nil }
    var rest = path.dropLast(suffix.count)
    guard let partCount = Self.takeNumber(&rest), rest.hasSuffix("-of-") else { return nil }
    rest = rest.dropLast(4)
    guard let number = Self.takeNumber(&rest), rest.hasSuffix("-"), (1...partCount) ~= number
    else { return nil }
    prefix = String(rest.dropLast())
    guard !prefix.isEmpty, !prefix.hasSuffix("/") else { return nil }
    part = number - 1
    self.partCount = partCount
  }

  package var path: String {
    "\(prefix)-\(Self.fiveDigits(part + 1))-of-\(Self.fiveDigits(partCount)).gguf"
  }

  package func with(part: Int) -> SplitName {
    SplitName(prefix: prefix, part: part, partCount: partCount)
  }

  /// Splits a number of exactly five digits, or more without a leading zero, off the end.
  private static func takeNumber(_ text: inout Substring) -> Int? {
    var digits = ""
    while let last = text.last, last.isASCII, last.isNumber, digits.count < 9 {
      digits.insert(last, at: digits.startIndex)
      text.removeLast()
    }
    guard digits.count == 5 || digits.count > 5 && !digits.hasPrefix("0"), let number = Int(digits),
      number > 0
    else { return nil }
    return number
  }

  private static func fiveDigits(_ number: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
  }
}
