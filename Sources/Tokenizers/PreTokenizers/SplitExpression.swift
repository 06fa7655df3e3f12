import ByteIO

/// The text of a split expression in one canonical spelling.
///
/// Publishers write the same expression in several ways. Expressions are compared, never executed;
/// only spellings whose meaning is equal beyond doubt are unified:
///
/// - control characters are written as escapes (`\r`, `\n`, `\t`);
/// - `\pL` and `\p{Letter}` become `\p{L}`, `\pN` and `\p{Number}` become `\p{N}`;
/// - members of a plain character class are sorted and written once;
/// - `{1}` and backslashes before ordinary punctuation are dropped;
/// - the English contractions `'s 't 're 've 'm 'll 'd` get one spelling.
struct SplitExpression {
  let text: String

  init(_ raw: String) {
    var parser = Parser(scalars: Array(raw.unicodeScalars))
    var joined = parser.parts().joined()
    for spelling in Self.contractionSpellings {
      joined = joined.replacing(spelling, with: Self.contractions)
    }
    self.text = joined
  }

  private static let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
  private static let contractionSpellings = [
    "(?:'[Ss]|'[Tt]|'[Rr][Ee]|'[Vv][Ee]|'[Mm]|'[Ll][Ll]|'[Dd])",
    "'(?:[DMSTdmst]|[Ll][Ll]|[Vv][Ee]|[Rr][Ee])",
    "'(?i:[dmst]|ll|ve|re)",
  ]

  /// Takes time in proportion to the length, whatever the text.
  private struct Parser {
    let scalars: [Unicode.Scalar]
    var position = 0
    private let lastBrace: Int

    init(scalars: [Unicode.Scalar]) {
      self.scalars = scalars
      lastBrace = scalars.lastIndex(of: "}") ?? -1
    }

    /// Splits into atoms, classes and everything else, each in its canonical spelling.
    mutating func parts() -> [String] {
      var parts: [String] = []
      while position < scalars.count {
        if scalars[position] == "[", let members = characterClass() {
          parts.append(members)
        } else if matches("{1}") {
          position += 3
        } else {
          parts.append(atom())
        }
      }
      return parts
    }

    func matches(_ text: String) -> Bool {
      scalars[position...].starts(with: text.unicodeScalars)
    }

    /// One character or one escape.
    mutating func atom() -> String {
      let scalar = scalars[position]
      position += 1
      guard scalar == "\\", position < scalars.count else { return escaped(scalar) }
      let letter = scalars[position]
      position += 1
      if letter == "p" || letter == "P" { return "\\\(letter){\(property())}" }
      return "'\"/ ,:;=@_%!#&~`".unicodeScalars.contains(letter)
        ? String(letter) : "\\" + escaped(letter)
    }

    private func escaped(_ scalar: Unicode.Scalar) -> String {
      switch scalar {
      case "\r": "\\r"
      case "\n": "\\n"
      case "\t": "\\t"
      default: String(scalar)
      }
    }

    /// Name of a Unicode property, after `\p`.
    private mutating func property() -> String {
      guard position < scalars.count else { return "" }
      var name = ""
      if scalars[position] == "{" {
        guard position < lastBrace, let end = scalars[position...].firstIndex(of: "}") else {
          return ""
        }
        for scalar in scalars[(position + 1)..<end] { name.unicodeScalars.append(scalar) }
        position = end + 1
      } else {
        name = String(scalars[position])
        position += 1
      }
      return ["Letter": "L", "Number": "N", "Punctuation": "P", "Symbol": "S", "Mark": "M"][name]
        ?? name
    }

    /// A class without nested classes or set operations; `nil`, at the same position, otherwise.
    private mutating func characterClass() -> String? {
      let start = position
      var members: Set<ExactString> = []
      position += 1
      let isNegated = position < scalars.count && scalars[position] == "^"
      if isNegated { position += 1 }
      while position < scalars.count, scalars[position] != "]" {
        if scalars[position] == "[" || matches("&&") { break }
        var member = atom()
        if position + 1 < scalars.count, scalars[position] == "-",
          scalars[position + 1] != "]", scalars[position + 1] != "["
        {
          position += 1
          member += "-" + atom()
        }
        members.insert(ExactString(member))
      }
      guard position < scalars.count, scalars[position] == "]", !members.isEmpty else {
        position = start
        return nil
      }
      position += 1
      return "[" + (isNegated ? "^" : "") + members.sorted().map(\.string).joined() + "]"
    }
  }
}
