import ByteIO
import Tensors

/// A key that the user sets: `KEY=TYPE:VALUE` with the type `int`, `float`, `bool` or `str`.
///
/// Spelled, limited and stored as `llama-quantize --override-kv` does: `int` becomes uint32, `float`
/// float32. What that tool reads in silence as something else (`int:12x`, `int:-1`) is refused.
package struct MetadataOverride: Hashable, Sendable {
  package static let maximumKeyByteCount = 127
  package static let maximumTextByteCount = 127

  package var key: String
  package var value: MetadataValue

  package init(key: String, value: MetadataValue) {
    self.key = key
    self.value = value
  }

  /// Why a text is not an override.
  package struct ParseError: Error, Hashable, Sendable, CustomStringConvertible {
    package var text: String
    package var problem: String
    package var description: String { "--override-kv \(printable(text)): \(problem)" }
  }

  /// Parses an argument of the command line.
  package init(parsing text: String) throws(ParseError) {
    func fail(_ problem: String) -> ParseError { ParseError(text: text, problem: problem) }
    guard let equals = text.firstIndex(of: "=") else {
      throw fail("is not KEY=TYPE:VALUE")
    }
    key = String(text[..<equals])
    guard !key.isEmpty, key.utf8.count <= Self.maximumKeyByteCount, !key.utf8.contains(0) else {
      throw fail("the key must have 1 to \(Self.maximumKeyByteCount) bytes")
    }
    let typed = text[text.index(after: equals)...]
    guard let colon = typed.firstIndex(of: ":") else {
      throw fail("is not KEY=TYPE:VALUE")
    }
    let rest = String(typed[typed.index(after: colon)...])
    switch typed[..<colon] {
    case "int":
      guard let number = UInt32(rest) else {
        throw fail("an int is a whole number from 0 to \(UInt32.max)")
      }
      value = .uint32(number)
    case "float":
      guard let number = Double(rest), Float(number).isFinite else {
        throw fail("a float is a finite number that float32 can hold")
      }
      value = .float32(Float(number))
    case "bool":
      guard rest == "true" || rest == "false" else { throw fail("a bool is true or false") }
      value = .bool(rest == "true")
    case "str":
      guard rest.utf8.count <= Self.maximumTextByteCount else {
        throw fail("a str has at most \(Self.maximumTextByteCount) bytes")
      }
      value = .string(rest)
    default:
      throw fail("the type must be int, float, bool or str")
    }
  }
}

extension Metadata {
  /// Sets a key and moves it behind all others, as ggml's writer does with every key it sets.
  package mutating func setLast(_ key: String, _ value: MetadataValue) {
    self[key] = nil
    self[key] = value
  }

  /// Applies overrides in order.
  package mutating func apply(_ overrides: [MetadataOverride]) {
    for override in overrides { setLast(override.key, override.value) }
  }
}
