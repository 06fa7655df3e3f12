import ByteIO

/// Text from models and files made safe for the formats of reports.
///
/// Everything goes through `visible` first: what would be invisible, or turn the reading direction
/// of what follows, is spelled out.
package enum Markup {
  /// One line in which nothing is hidden: line ends as `↵`, tabs as `⇥`, other control and format
  /// characters as `\u{…}`, and what no Unicode text may hold as `\u{…}` too.
  package static func visible(_ text: String, limit: Int = 400) -> String {
    var marked = String.UnicodeScalarView()
    for scalar in text.unicodeScalars.prefix(limit + 1) {
      switch scalar {
      case "\n": marked.append("↵")
      case "\t": marked.append("⇥")
      // Not characters, and forbidden in XML.
      case "\u{FFFE}", "\u{FFFF}":
        marked.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars)
      default: marked.append(scalar)
      }
    }
    return printable(String(marked), limit: limit)
  }

  /// For XML 1.0 content and attributes in double quotes; `visible` leaves nothing that XML forbids.
  package static func xml(_ text: String, limit: Int = 2000) -> String {
    var result = ""
    for scalar in visible(text, limit: limit).unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// For HTML content and attributes in double quotes.
  package static func html(_ text: String, limit: Int = 400) -> String { xml(text, limit: limit) }

  /// For Markdown as plain text: nothing in it is markup, a link or somebody's name.
  static func markdown(_ text: String, limit: Int = 400) -> String {
    var result = ""
    for scalar in visible(text, limit: limit).unicodeScalars {
      switch scalar {
      case " ", ",", ";", "%", "(", ")", "/", "-", "'", "\"", "=", "+":
        result.unicodeScalars.append(scalar)
      // Reports are shown where this would call people; an empty character comes between.
      case "@": result += "&#64;&#8203;"
      case _ where scalar.isASCII && !scalar.properties.isAlphabetic && !isDigit(scalar):
        result += "&#\(scalar.value);"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// For Markdown as a name in code letters.
  static func code(_ text: String, limit: Int = 160) -> String {
    "<code>" + markdown(text, limit: limit) + "</code>"
  }

  private static func isDigit(_ scalar: Unicode.Scalar) -> Bool {
    (0x30...0x39).contains(scalar.value)
  }
}
