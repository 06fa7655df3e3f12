/// A table with a heading for screen readers, in a frame that scrolls where it is too wide.
package struct HTMLTable {
  package enum Cell {
    case text(String), soft(String)
    /// Right-aligned.
    case number(String)
    /// A number that a phone leaves out.
    case spare(String)
    /// A name from a file, in code letters.
    case name(String)
    case finding(String?)
    /// Right-aligned, but may take two lines.
    case limit(String, String)
    /// Already escaped.
    case html(String)
  }

  private let caption: String
  /// Whether a phone shows the cells of a row one below the other.
  var isStacked = false
  package var header: [Cell] = []
  package var rows: [[Cell]] = []
  /// Lines under a row, by the number of rows before them.
  private var notes: [Int: String] = [:]

  package init(_ caption: String) { self.caption = caption }

  /// Adds a line over the whole width under the last row.
  mutating func addNote(_ text: String) { notes[rows.count] = text }

  package var html: String {
    var lines = [
      "<div class=\"scroll\" role=\"region\" aria-label=\"\(caption)\" tabindex=\"0\"><table\(isStacked ? " class=\"stacked\"" : "")>"
        + "<caption class=\"hidden\">\(caption)</caption>"
    ]
    if !header.isEmpty {
      lines.append("<thead><tr>\(header.map { $0.html("th scope=\"col\"") }.joined())</tr></thead>")
    }
    lines.append("<tbody>")
    for (index, row) in rows.enumerated() {
      let cells = row.enumerated().map { $1.html($0 == 0 ? "th scope=\"row\"" : "td") }
      lines.append("<tr>\(cells.joined())</tr>")
      if let note = notes[index + 1] {
        lines.append(
          "<tr class=\"advice\"><td class=\"small soft long\" colspan=\"\(row.count)\">"
            + "\(Markup.html(note, limit: 1000))</td></tr>")
      }
    }
    lines.append("</tbody></table></div>")
    return lines.joined(separator: "\n")
  }
}

extension HTMLTable.Cell {
  /// - Parameter tag: with its attributes, but without a class.
  /// - Returns: the element.
  fileprivate func html(_ tag: String) -> String {
    let name = tag.prefix { $0 != " " }
    let (style, content): (String, String) =
      switch self {
      case .text(let text): ("", Markup.html(text))
      case .soft(let text): (" class=\"soft\"", Markup.html(text))
      case .number(let text): (" class=\"number\"", Markup.html(text))
      case .spare(let text): (" class=\"number spare\"", Markup.html(text))
      case .name(let text): (" class=\"name\"", Markup.html(text))
      case .finding(let text):
        text.map { (" class=\"bad finding long\"", "✕ " + Markup.html($0)) } ?? ("", "")
      case .limit(let relation, let number):
        (
          " class=\"limit\"",
          "<span class=\"soft\">\(relation)</span> <span class=\"number\">\(Markup.html(number))</span>"
        )
      case .html(let text): ("", text)
      }
    return "<\(tag)\(style)>\(content)</\(name)>"
  }
}
