import ByteIO
import StrictJSON

/// What a tokenizer does with text before its merges, as comparable texts, one per step.
///
/// A step is the canonical text of a split expression, or a name with a colon:
///
///     digits:individual   every digit for itself
///     digits:run          runs of digits
///     bytelevel:split     GPT-2's own expression
///     punctuation:B       punctuation, with behaviour B
///     split:B:E           expression E with another behaviour than isolating
///     string:S            a fixed text
///     type:T              any other kind of step
///
/// The step that maps bytes to letters is not listed, but has to be there.
struct PreTokenizerSteps: Hashable {
  private(set) var steps: [ExactString] = []
  private(set) var mapsBytes = false

  /// GPT-2's expression, which the byte-level step applies unless told not to.
  private static let bytelevelExpression = SplitExpression(
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
  ).text

  /// Bytes of all expressions of one tokenizer; the longest published ones have about 1,500.
  static let expressionByteLimit = 16 << 10
  private var expressionByteCount = 0

  /// Reads `pre_tokenizer` of the `tokenizer.json` at `file`.
  ///
  /// - Throws: `FormatError` when the expressions are longer than any tokenizer needs.
  init(_ preTokenizer: JSONValue?, file: String) throws(FormatError) {
    if let preTokenizer { try add(preTokenizer, file) }
  }

  /// Steps of a row of the table, whose expressions may be in any spelling.
  init(table cells: [String]) {
    mapsBytes = true
    let names = ["digits:", "bytelevel:", "punctuation:"]
    for cell in cells where !cell.isEmpty {
      if names.contains(where: { cell.hasPrefix($0) }) {
        steps.append(ExactString(cell))
      } else {
        addExpression(cell)
      }
    }
  }

  private mutating func add(_ node: JSONValue, _ file: String) throws(FormatError) {
    switch node["type"]?.string ?? "" {
    case "Sequence": for child in node["pretokenizers"]?.array ?? [] { try add(child, file) }
    case "ByteLevel":
      mapsBytes = true
      if node["use_regex"]?.bool ?? true { steps.append("bytelevel:split") }
    case "Digits":
      steps.append(node["individual_digits"]?.bool == true ? "digits:individual" : "digits:run")
    case "Punctuation":
      steps.append(ExactString("punctuation:\(node["behavior"]?.string ?? "Isolated")"))
    case "Split":
      guard let expression = node["pattern"]?["Regex"]?.string else {
        steps.append(ExactString("string:\(node["pattern"]?["String"]?.string ?? "")"))
        return
      }
      expressionByteCount += expression.utf8.count
      guard expressionByteCount <= Self.expressionByteLimit else {
        throw FormatError(
          file: file, field: "pre_tokenizer",
          reason: .outOfRange(
            found: "expressions of \(expressionByteCount) bytes",
            allowed: "at most \(Self.expressionByteLimit) bytes"))
      }
      // To remove what lies between the matches is to isolate the matches, for an expression that
      // leaves nothing between them.
      switch (node["behavior"]?.string ?? "Isolated", node["invert"]?.bool ?? false) {
      case ("Isolated", _), ("Removed", true): addExpression(expression)
      case (let behavior, let isInverted):
        let name = behavior + (isInverted ? "-inverted" : "")
        steps.append(ExactString("split:\(name):\(SplitExpression(expression).text)"))
      }
    case let type: steps.append(ExactString("type:\(type)"))
    }
  }

  private mutating func addExpression(_ raw: String) {
    let text = SplitExpression(raw).text
    switch text {
    case #"\p{N}"#: steps.append("digits:individual")
    case #"\p{N}+"#: steps.append("digits:run")
    case Self.bytelevelExpression: steps.append("bytelevel:split")
    default: steps.append(ExactString(text))
    }
  }

  /// The steps in one line, for an error.
  var text: String {
    steps.isEmpty ? "no split expression" : steps.map(\.string).joined(separator: "  then  ")
  }
}
