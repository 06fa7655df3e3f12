import ByteIO
import Tensors

/// `PATTERN=TYPE`: tensors whose names the pattern finds get the type.
///
/// The pattern is a regular expression that may match anywhere in the name. It is lower-cased
/// first, as llama-quantize does, so that `\D` means `\d`. The first `=` ends it.
package struct TensorTypeOverride: Hashable, Sendable {
  /// Lower-cased.
  package var pattern: String
  package var type: TensorType
  /// That it was given with, for messages.
  package var option: String

  /// Longest pattern; names of tensors have at most 64 bytes.
  package static let patternLimit = 1_000
  /// Longest file of overrides.
  package static let fileLimit: UInt64 = 1 << 20

  /// Reads `PATTERN=TYPE`, as it was given with an option.
  package init(_ text: String, option: String = "--tensor-type") throws(OptionError) {
    func error(_ problem: String) -> OptionError {
      OptionError(option: option, found: text, problem: problem)
    }
    guard let equals = text.firstIndex(of: "=") else {
      throw error("should be PATTERN=TYPE")
    }
    let pattern = text[..<equals]
    let typeName = String(text[text.index(after: equals)...])
    guard !pattern.isEmpty else { throw error("has no pattern before =") }
    guard pattern.utf8.count <= Self.patternLimit else {
      throw error("is a pattern longer than \(Self.patternLimit) bytes")
    }
    guard let type = OutputType(name: typeName)?.type else {
      let problem = typeName.isEmpty ? "has no type after =" : "no such type"
      throw error("\(problem); types are \(OutputType.names)")
    }
    self.pattern = String(
      decoding: pattern.utf8.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    self.type = type
    self.option = option
    _ = try search()
  }

  /// Reads a file of overrides, separated by any white space.
  ///
  /// - Throws: `FormatError` that names the byte at which the faulty override starts.
  package static func list(file: String) throws(FormatError) -> [Self] {
    try list(PositionalFile.readAll(file, limit: fileLimit), file: file)
  }

  /// Reads the bytes of a file of overrides.
  package static func list(_ bytes: [UInt8], file: String) throws(FormatError) -> [Self] {
    var overrides: [Self] = []
    // Space, and tab to carriage return: what C's isspace takes.
    for word in bytes.split(whereSeparator: { $0 == 0x20 || (0x09...0x0D).contains($0) }) {
      let offset = UInt64(word.startIndex)
      guard let text = String(validating: word, as: UTF8.self) else {
        throw FormatError(
          file: file, fileOffset: offset, field: "PATTERN=TYPE", reason: .malformed("is not UTF-8"))
      }
      do throws(OptionError) {
        overrides.append(try Self(text))
      } catch {
        throw FormatError(
          file: file, fileOffset: offset, field: text, reason: .malformed(error.problem))
      }
    }
    return overrides
  }

  /// Whether the pattern is found in a name.
  typealias Search = (ExactString) -> Bool

  /// Compiles the pattern.
  func search() throws(OptionError) -> Search {
    do {
      // Scalars, not grapheme clusters, and ASCII classes: nearest to the reference's characters.
      let regex = try Regex(pattern)
        .matchingSemantics(.unicodeScalar).asciiOnlyCharacterClasses()
      return { name in name.string.firstMatch(of: regex) != nil }
    } catch {
      throw OptionError(
        option: option, found: pattern, problem: "is no regular expression: \(error)")
    }
  }
}
