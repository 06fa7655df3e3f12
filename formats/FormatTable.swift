/// A table of `formats/`: tab-separated cells under one line of column names.
///
/// Lines that are empty or start with `#` do not count. `-` is an empty cell.
package struct FormatTable: Sendable {
  /// One line of the table.
  package struct Row: Sendable {
    /// Line of the file, counted from 1.
    package let line: Int
    fileprivate let cells: [String: String]

    /// The cell under `column`, empty for `-`.
    package subscript(column: String) -> String {
      guard let cell = cells[column] else { preconditionFailure("no column \(column)") }
      return cell
    }

    /// The cell's parts between `separator`.
    package func list(_ column: String, separator: Character = ",") -> [String] {
      self[column].split(separator: separator).map(String.init)
    }
  }

  package let rows: [Row]

  /// Reads an embedded table.
  ///
  /// - Precondition: `bytes` is a table of exactly `columns`. The tables are part of the program,
  ///   so a broken one is a mistake of ours, which the tests of every table find.
  package init(_ bytes: [UInt8], name: String, columns: [String]) {
    var rows: [Row] = []
    var sawHeader = false
    let lines = String(decoding: bytes, as: UTF8.self)
      .split(separator: "\n", omittingEmptySubsequences: false)
    for (index, line) in lines.enumerated() where !line.isEmpty && !line.hasPrefix("#") {
      let cells = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
      precondition(
        cells.count == columns.count,
        "formats/\(name): line \(index + 1) has \(cells.count) cells, not \(columns.count)")
      if sawHeader {
        let values = cells.map { $0 == "-" ? "" : $0 }
        rows.append(
          Row(line: index + 1, cells: Dictionary(uniqueKeysWithValues: zip(columns, values))))
      } else {
        precondition(cells == columns, "formats/\(name): columns are \(cells), not \(columns)")
        sawHeader = true
      }
    }
    precondition(sawHeader, "formats/\(name): no line of column names")
    self.rows = rows
  }
}
