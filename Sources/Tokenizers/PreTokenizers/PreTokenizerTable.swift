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

  static let shared = PreTokenizerTable(tsv: Formats.preTokenizers)

  init(tsv bytes: [UInt8]) {
    func optional(_ cell: Substring) -> String? { cell == "*" ? nil : String(cell) }
    var rows: [Row] = []
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      let cells = line.split(separator: "\t", omittingEmptySubsequences: false)
      guard cells.count >= 6, !line.hasPrefix("#"), cells[0] != "name" else { continue }
      rows.append(
        Row(
          name: String(cells[0]), architecture: optional(cells[1]),
          ignoresMerges: optional(cells[2]).map { $0 == "true" },
          addsBOS: optional(cells[3]).map { $0 == "true" }, token: optional(cells[4]),
          steps: PreTokenizerSteps(table: cells[5...].map { String($0) })))
    }
    self.rows = rows
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
