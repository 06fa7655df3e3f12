import ByteIO

/// The first table of a page under `formats/` whose header has the wanted columns.
package struct MarkdownTable {
  /// Cells by column name, one dictionary per row.
  package var rows: [[String: String]]

  /// Reads a page.
  ///
  /// - Parameters:
  ///   - page: path below `formats/`.
  ///   - columns: names that the header must have.
  ///   - heading: line behind which the table is looked for.
  /// - Throws: when the page cannot be read.
  package init(page: String, columns: [String], after heading: String? = nil) throws {
    let path = Fixtures.root + "/formats/" + page
    let text = String(
      decoding: try PositionalFile.readAll(path, limit: 1 << 20), as: UTF8.self)
    var header: [String]?
    rows = []
    var isBehindHeading = heading == nil
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      guard isBehindHeading else {
        isBehindHeading = line == heading ?? ""
        continue
      }
      guard line.hasPrefix("|") else {
        if header != nil { return }
        continue
      }
      let cells = line.split(separator: "|", omittingEmptySubsequences: false)
        .dropFirst().dropLast().map { String($0.trimmed) }
      guard let names = header else {
        if columns.allSatisfy(cells.contains) { header = cells }
        continue
      }
      if cells.allSatisfy({ $0.allSatisfy { $0 == "-" } }) { continue }
      rows.append(Dictionary(zip(names, cells)) { first, _ in first })
    }
  }
}

extension Substring {
  fileprivate var trimmed: Substring {
    var part = drop { $0 == " " }
    while part.last == " " { part.removeLast() }
    return part
  }
}
