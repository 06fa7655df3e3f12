import ByteIO
import Formats

/// Names of pre-tokenizers by what the tokenizer does: `formats/tokenizers/pre-tokenizers.tsv`.
///
/// The first row that fits wins; rows go from particular to general.
struct PreTokenizerTable {
  struct Row {
    var name: String
    /// `nil` in any of these means that the row does not ask.
    var architecture: String?
    var ignoresMerges: Bool?
    var addsBOS: Bool?
    /// A token that the vocabulary has to hold: tells families apart that split alike.
    var token: String?
    var steps: PreTokenizerSteps
  }

  /// What is known about a tokenizer.
  struct Traits {
    var steps: PreTokenizerSteps
    var architecture: String
    var ignoresMerges: Bool
    var addsBOS: Bool
    var hasToken: (String) -> Bool
  }

  let rows: [Row]

  static let shared = PreTokenizerTable()

  private static let stepColumns = (1...6).map { "step \($0)" }

  private init() {
    let table = FormatTable(
      Formats.preTokenizers, name: "tokenizers/pre-tokenizers.tsv",
      columns: ["name", "architecture", "ignore_merges", "add_bos", "token"] + Self.stepColumns)
    rows = table.rows.map { row in
      func optional(_ column: String) -> String? { row[column] == "*" ? nil : row[column] }
      return Row(
        name: row["name"], architecture: optional("architecture"),
        ignoresMerges: optional("ignore_merges").map { $0 == "true" },
        addsBOS: optional("add_bos").map { $0 == "true" }, token: optional("token"),
        steps: PreTokenizerSteps(table: Self.stepColumns.map { row[$0] }))
    }
  }

  func name(for traits: Traits) -> String? {
    rows.first { row in
      row.steps.steps == traits.steps.steps
        && row.architecture.map { $0 == traits.architecture } ?? true
        && row.ignoresMerges.map { $0 == traits.ignoresMerges } ?? true
        && row.addsBOS.map { $0 == traits.addsBOS } ?? true
        && row.token.map(traits.hasToken) ?? true
    }?.name
  }
}
