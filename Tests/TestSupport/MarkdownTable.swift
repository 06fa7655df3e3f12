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
  /// - Throws: when the page cannot be read.
  package init(page: String, columns: [String]) throws {
    let path = Fixtures.root + "/formats/" + page
    let text = String(
      decoding: try PositionalFile.readAll(path, limit: 1 << 20), as: UTF8.self)
    var header: [String]?
    rows = []
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
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
