import Formats

/// What split expressions ask about a character.
struct CharacterClass: OptionSet, Hashable, Sendable {
  let rawValue: UInt8

  /// `\p{L}`.
  static let letter = CharacterClass(rawValue: 1)
  /// `\p{N}`.
  static let number = CharacterClass(rawValue: 2)
  /// `\s`.
  static let space = CharacterClass(rawValue: 4)
  /// Carriage return and line feed.
  static let lineEnd = CharacterClass(rawValue: 8)
  /// May stand in the first part of a cased word: upper case, or without case.
  static let upper = CharacterClass(rawValue: 16)
  /// May stand in the second part of a cased word: lower case, or without case.
  static let lower = CharacterClass(rawValue: 32)

  /// None of `\s`, `\p{L}` and `\p{N}`.
  var isOther: Bool { isDisjoint(with: [.letter, .number, .space]) }
}

/// Classes of all code points: pages of 256, equal pages held once.
///
/// The two programs that are followed know different versions of Unicode, and cased words differ:
///
/// | | Unicode | upper | lower |
/// |---|---|---|---|
/// | `tokenizers` library | 16.0 | Lu, Lt, Lm, Lo, M | Ll, Lm, Lo, M |
/// | llama.cpp | 15.0 | L except a to z | L except A to Z |
///
/// Source: formats/tokenizers/encoding.md
struct CharacterClasses: Sendable {
  private let pageNumbers: [UInt16]
  private let classes: [CharacterClass]

  static let tokenizersLibrary = CharacterClasses(isArchive: false)
  static let archive = CharacterClasses(isArchive: true)

  subscript(scalar: UInt32) -> CharacterClass {
    let page = Int(scalar >> 8)
    guard page < pageNumbers.count else { return [] }
    return classes[Int(pageNumbers[page]) << 8 | Int(scalar & 0xFF)]
  }

  private init(isArchive: Bool) {
    let rows = UnicodeClassTable.rows
    var pageNumbers: [UInt16] = []
    var classes: [CharacterClass] = []
    var known: [[CharacterClass]: UInt16] = [:]
    var row = 0
    for page in 0..<(0x110000 >> 8) {
      var values = [CharacterClass](repeating: [], count: 256)
      for low in 0..<256 {
        let scalar = UInt32(page << 8 | low)
        while row + 1 < rows.count, rows[row + 1].first <= scalar { row += 1 }
        let isKnown = !(isArchive && rows[row].isNewer)
        values[low] = Self.value(of: scalar, isKnown ? rows[row].name : "", isArchive: isArchive)
      }
      if let number = known[values] {
        pageNumbers.append(number)
      } else {
        let number = UInt16(classes.count >> 8)
        known[values] = number
        pageNumbers.append(number)
        classes += values
      }
    }
    self.pageNumbers = pageNumbers
    self.classes = classes
  }

  private static func value(of scalar: UInt32, _ name: String, isArchive: Bool) -> CharacterClass {
    var result: CharacterClass = []
    switch name {
    case "Lu", "Lt", "Ll", "Lm", "Lo":
      result.insert(.letter)
      let isLower = name == "Ll"
      let isUpper = name == "Lu" || name == "Lt"
      if isArchive ? !(0x61...0x7A ~= scalar) : !isLower { result.insert(.upper) }
      if isArchive ? !(0x41...0x5A ~= scalar) : !isUpper { result.insert(.lower) }
    case "M": if !isArchive { result.formUnion([.upper, .lower]) }
    case "N": result.insert(.number)
    default: break
    }
    if isSpace(scalar) { result.insert(.space) }
    if scalar == 0x0A || scalar == 0x0D { result.insert(.lineEnd) }
    return result
  }

  /// Unicode's White_Space, equal in all versions since 6.3.
  static func isSpace(_ scalar: UInt32) -> Bool {
    switch scalar {
    case 0x09...0x0D, 0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F,
      0x3000:
      true
    default: false
    }
  }
}

/// `formats/tokenizers/unicode-classes.tsv`: general categories by the first code point of a run.
enum UnicodeClassTable {
  struct Row {
    var first: UInt32
    /// Lu, Ll, Lt, Lm, Lo, M, N, P, S, or empty for everything else.
    var name: String
    /// Whether the characters are not in Unicode 15.0.
    var isNewer: Bool
  }

  static var rows: [Row] {
    let table = FormatTable(
      Formats.unicodeClasses, name: "tokenizers/unicode-classes.tsv",
      columns: ["first", "class", "since"])
    return table.rows.map { row in
      guard let first = UInt32(row["first"], radix: 16) else {
        preconditionFailure("tokenizers/unicode-classes.tsv: first is no hexadecimal number")
      }
      return Row(first: first, name: row["class"], isNewer: !row["since"].isEmpty)
    }
  }
}
