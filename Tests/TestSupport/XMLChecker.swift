/// Checks that text is well-formed XML of the kind that reports use: elements, attributes in double
/// quotes, the five named entities and decimal ones, no sections and no processing after the first line.
package struct XMLChecker {
  package struct Element {
    package var name: String
    package var attributes: [String: String] = [:]
  }

  package struct Malformed: Error, CustomStringConvertible {
    package var description: String
  }

  private let scalars: [Unicode.Scalar]
  private let voidElements: Set<String>

  package init(_ text: String, voidElements: Set<String> = []) {
    scalars = Array(text.unicodeScalars)
    self.voidElements = voidElements
  }

  /// Every element, in the order of their opening tags.
  package func elements() throws -> [Element] {
    for scalar in scalars where !Self.isLegal(scalar) {
      throw Malformed(description: "U+\(String(scalar.value, radix: 16)) is no XML character")
    }
    var elements: [Element] = []
    var open: [String] = []
    var position = 0
    while position < scalars.count {
      guard scalars[position] == "<" else {
        try checkText(&position)
        continue
      }
      let start = position + 1
      var quoted = false
      position = start
      while position < scalars.count, quoted || scalars[position] != ">" {
        if scalars[position] == "\"" { quoted.toggle() }
        if quoted, scalars[position] == "<" { throw error("< in an attribute", position) }
        position += 1
      }
      guard position < scalars.count else { throw error("tag without end", start) }
      let tag = scalars[start..<position]
      position += 1
      if tag.first == "?" { continue }
      if tag.first == "/" {
        let name = string(tag.dropFirst())
        guard open.popLast() == name else { throw error("</\(name)> without its beginning", start) }
        continue
      }
      let element = try self.element(tag.last == "/" ? tag.dropLast() : tag)
      elements.append(element)
      if tag.last != "/", !voidElements.contains(element.name) { open.append(element.name) }
    }
    guard open.isEmpty else { throw Malformed(description: "not closed: \(open)") }
    return elements
  }

  private func element(_ tag: ArraySlice<Unicode.Scalar>) throws -> Element {
    var rest = tag
    func isName(_ scalar: Unicode.Scalar) -> Bool {
      scalar.properties.isAlphabetic || "0123456789-:!_".unicodeScalars.contains(scalar)
    }
    let name = rest.prefix(while: isName)
    guard !name.isEmpty else { throw error("tag without name", tag.startIndex) }
    rest = rest.dropFirst(name.count)
    var element = Element(name: string(name))
    if name.first == "!" { return element }
    while true {
      rest = rest.drop { $0 == " " }
      if rest.isEmpty { return element }
      let key = rest.prefix(while: isName)
      rest = rest.dropFirst(key.count)
      guard !key.isEmpty, rest.starts(with: ["=", "\""]) else {
        throw error("attribute of \(element.name)", rest.startIndex)
      }
      let value = rest.dropFirst(2).prefix { $0 != "\"" }
      rest = rest.dropFirst(value.count + 3)
      var position = 0
      let checker = XMLChecker(string(value))
      while position < value.count { try checker.checkText(&position) }
      guard element.attributes.updateValue(string(value), forKey: string(key)) == nil else {
        throw error("attribute twice", rest.startIndex)
      }
    }
  }

  /// Reads text up to the next tag.
  private func checkText(_ position: inout Int) throws {
    while position < scalars.count, scalars[position] != "<" {
      if scalars[position] == "&" {
        let entity = string(scalars[(position + 1)...].prefix(8).prefix { $0 != ";" })
        let isNumber = entity.first == "#" && Int(entity.dropFirst()) != nil
        guard ["amp", "lt", "gt", "quot", "apos"].contains(entity) || isNumber else {
          throw error("&\(entity)", position)
        }
      }
      if scalars[position...].starts(with: "]]>".unicodeScalars) { throw error("]]>", position) }
      position += 1
    }
  }

  private func error(_ what: String, _ position: Int) -> Malformed {
    let around = string(scalars[max(0, position - 20)..<min(scalars.count, position + 40)])
    return Malformed(description: "\(what) at \(position): \(around)")
  }

  private func string(_ part: ArraySlice<Unicode.Scalar>) -> String {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: part)
    return String(view)
  }

  /// The Char production of XML 1.0.
  private static func isLegal(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x9, 0xA, 0xD, 0x20...0xD7FF, 0xE000...0xFFFD, 0x10000...0x10FFFF: true
    default: false
    }
  }
}
