import ByteIO
import Formats

/// How a checkpoint stores the experts of one layer's matrix: a row of
/// `formats/architectures/experts.tsv`.
struct ExpertForm: Hashable, Sendable {
  enum Layout: String {
    /// `[experts, columns, rows]`: every expert is the matrix's transpose.
    case transposed
    /// The same with two matrices side by side, of which this is the first.
    case firstHalf = "transposed first half"
    case secondHalf = "transposed second half"
    /// A tensor of its own for each expert.
    case oneExpert = "one expert"
  }

  /// Last parts of the name in the checkpoint; `{E}` is the number of the expert.
  var source: String
  /// Last parts of the name of the stacked matrices.
  var stack: String
  var layout: Layout

  static let all: [ExpertForm] = FormatTable(
    Formats.expertTensors, name: "architectures/experts.tsv", columns: ["source", "stack", "form"]
  ).rows.map { row in
    guard let layout = Layout(rawValue: row["form"]) else {
      preconditionFailure("experts.tsv, line \(row.line): no form")
    }
    return ExpertForm(source: row["source"], stack: row["stack"], layout: layout)
  }

  private static let bySource = Dictionary(grouping: all, by: \.source)

  /// A name taken apart: what stands before the forms' part, and the expert if it names one.
  struct Match {
    var prefix: String
    var expert: Int?
    var forms: [ExpertForm]

    /// `nil` for names that are no experts'.
    init?(_ name: ExactString) {
      var parts = name.string.split(separator: ".", omittingEmptySubsequences: false)
      guard let position = parts.lastIndex(of: "experts"), position > 0,
        position + 1 < parts.count
      else { return nil }
      if let number = Self.number(parts[position + 1]) {
        expert = number
        parts[position + 1] = "{E}"
      }
      guard let forms = bySource[parts[(position - 1)...].joined(separator: ".")] else {
        return nil
      }
      self.forms = forms
      prefix = parts[..<(position - 1)].map { $0 + "." }.joined()
    }

    /// A number as checkpoints write it: no sign, no leading zero.
    private static func number(_ text: Substring) -> Int? {
      let digits = text.utf8
      guard (1...6).contains(digits.count), digits.allSatisfy({ $0 &- UInt8(ascii: "0") < 10 }),
        digits.count == 1 || digits.first != UInt8(ascii: "0")
      else { return nil }
      return Int(text)
    }
  }
}
