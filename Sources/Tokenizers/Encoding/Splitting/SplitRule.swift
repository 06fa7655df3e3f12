/// What a split expression does, in terms of a hand-written scanner.
///
/// No expression of a file is ever executed: `SplitRule.named` knows those that have a scanner.
struct SplitRule: Hashable, Sendable {
  enum Kind: Hashable, Sendable {
    /// `'s|'t|… | ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`: GPT-2.
    case plain
    /// Contractions, letters with one character before them, numbers, other, line ends: Llama 3.
    case letters
    /// As `letters`, with words split where case changes and contractions kept: Llama 4.
    case cased(keepsContractions: Bool)
    /// Every `\p{N}` for itself, and what lies between.
    case digits
  }

  var kind: Kind
  /// Most digits in one piece.
  var digitLimit = 3

  /// The scanner of an expression in its canonical spelling; `nil` when there is none.
  static func named(_ expression: String) -> SplitRule? { known[expression] }

  static let plain = SplitRule(kind: .plain)
  static let digits = SplitRule(kind: .digits)

  private static let known: [String: SplitRule] = {
    let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    let end = #" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    let casedEnd = #" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    let before = #"[^\r\n\p{L}\p{N}]?"#
    let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#
    let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
    func letters(_ digits: String) -> String {
      contractions + "|" + before + #"\p{L}+|"# + digits + "|" + end
    }
    func cased(_ suffix: String, _ digits: String) -> String {
      before + upper + "*" + lower + "+" + suffix + "|" + before + upper + "+" + lower + "*"
        + suffix
        + "|" + digits + "|" + casedEnd
    }
    let rules: [(String, SplitRule)] = [
      (letters(#"\p{N}{1,3}"#), SplitRule(kind: .letters, digitLimit: 3)),
      (letters(#"\p{N}"#), SplitRule(kind: .letters, digitLimit: 1)),
      (
        cased(contractions + "?", #"\p{N}{1,3}"#),
        SplitRule(kind: .cased(keepsContractions: true), digitLimit: 3)
      ),
      (cased("", #"\p{N}"#), SplitRule(kind: .cased(keepsContractions: false), digitLimit: 1)),
    ]
    return Dictionary(
      uniqueKeysWithValues: rules.map { (SplitExpression($0.0).text, $0.1) })
  }()
}
