/// A table of `formats/`: tab-separated cells, the first line names the columns.
struct TabTable {
  /// Cells by column name, one dictionary per line.
  var rows: [[String: String]]

  /// - Precondition: every line has as many cells as the first; the tables are ours and tested.
  init(_ bytes: [UInt8]) {
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    func cells(_ line: Substring) -> [String] {
      line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    }
    guard let columns = lines.first.map(cells) else { preconditionFailure("an empty table") }
    rows = lines.dropFirst().map { line in
      let cells = cells(line)
      precondition(cells.count == columns.count, "a row of \(cells.count) cells: \(line)")
      return Dictionary(uniqueKeysWithValues: zip(columns, cells))
    }
  }
}
