import ByteIO
import StrictJSON

/// A kind of JSON file that Ingot writes and reads: its head says what it is.
///
///     {"format": "ingot-recipe", "version": 1, …}
///
/// Source: formats/recipe.md
package struct OwnDocument: Sendable {
  package var format: String
  package var version: Int
  /// Longest file.
  package var byteLimit: UInt64
  /// What helps where a file is none of these.
  package var advice: String

  package init(format: String, version: Int, byteLimit: UInt64, advice: String) {
    self.format = format
    self.version = version
    self.byteLimit = byteLimit
    self.advice = advice
  }

  /// Reads a file and checks its head.
  ///
  /// - Throws: `FormatError`.
  package func read(_ path: String) throws(FormatError) -> JSONValue {
    let json: JSONValue
    do throws(FormatError) {
      json = try JSONValue(file: path, limit: byteLimit)
    } catch {
      switch error.reason {
      case .fileNotFound, .readFailed: throw error
      default:
        // Cut off, most likely, by a copy that was not complete.
        var error = error
        error.advice = error.advice ?? advice
        throw error
      }
    }
    guard json["format"]?.string == format else {
      throw failure(path, "format", .missing("\"\(format)\""))
    }
    guard json["version"]?.int == version else {
      throw failure(
        path, "version", .unsupported(found: "another version", allowed: "\(version)"))
    }
    return json
  }

  package func failure(_ path: String, _ field: String, _ reason: FormatError.Reason) -> FormatError
  {
    FormatError(file: path, field: field, reason: reason, advice: advice)
  }

  /// Whether a path seems to be a file of this kind, by its first bytes.
  package func isLikely(file path: String) -> Bool {
    // What cannot be read is reported by whoever wants it.
    guard let file = try? PositionalFile(path),
      let start = try? file.read(at: 0, count: Int(min(256, file.byteCount)), field: "format")
    else { return false }
    let text = String(decoding: start, as: UTF8.self)
    return text.first { !$0.isWhitespace } == "{" && text.contains("\"\(format)\"")
  }

  /// Begins a document.
  package func writeHead(to json: inout JSONWriter) {
    json.key("format")
    json.value(format)
    json.key("version")
    json.value(version)
  }
}
