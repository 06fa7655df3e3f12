import ByteIO

/// The YAML between the two `---` lines at the start of a `README.md`.
enum FrontMatter {
  /// A longer card is not read.
  static let fileByteCountLimit: UInt64 = 16 << 20

  /// The card's mapping; `nil` where there is no front matter.
  ///
  /// - Throws: `FormatError` for text that is not UTF-8, YAML that does not parse, and YAML that is
  ///   no mapping.
  static func read(_ path: String) throws(FormatError) -> YAMLValue? {
    let bytes = try PositionalFile.readAll(path, limit: fileByteCountLimit)
    guard let content = String(validating: bytes, as: UTF8.self) else {
      throw FormatError(
        file: path, field: "file", reason: .malformed("text that is not valid UTF-8"))
    }
    guard let text = yaml(in: content) else { return nil }
    let value = try YAMLReader.parse(text, file: path)
    guard case .map = value else {
      throw FormatError(file: path, field: "front matter", reason: .malformed("not a mapping"))
    }
    return value
  }

  /// The lines between the marks, ready for the parser; `nil` where the first line is no mark.
  static func yaml(in content: String) -> String? {
    let lines = Self.lines(content)
    guard lines.first == "---" else { return nil }
    var result = String.UnicodeScalarView()
    for line in lines.dropFirst() {
      if line == "---" { break }
      // `- no` means the Norwegian language here, not a truth value; tabs are forbidden in YAML.
      let text = line.hasSuffix("- no") ? line.dropLast(2) + "\"no\"" : line[...]
      for scalar in text.unicodeScalars {
        if scalar == "\t" {
          result.append(contentsOf: "  ".unicodeScalars)
        } else {
          result.append(scalar)
        }
      }
      result.append("\n")
    }
    return String(result)
  }

  /// Lines as the field's tools cut them: at every Unicode line boundary.
  private static func lines(_ content: String) -> [String] {
    var lines: [String] = []
    var line = String.UnicodeScalarView()
    var previous: Unicode.Scalar?
    for scalar in content.unicodeScalars {
      defer { previous = scalar }
      switch scalar {
      case "\n" where previous == "\r": continue
      case "\n", "\r", "\u{0B}", "\u{0C}", "\u{1C}", "\u{1D}", "\u{1E}", "\u{85}", "\u{2028}",
        "\u{2029}":
        lines.append(String(line))
        line.removeAll()
      default: line.append(scalar)
      }
    }
    if !line.isEmpty { lines.append(String(line)) }
    return lines
  }
}
