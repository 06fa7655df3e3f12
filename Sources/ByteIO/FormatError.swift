/// What is wrong with an input: which file, which byte, which field, what was found and allowed.
///
/// Every reader throws this and nothing else. A caller's own mistake is a `precondition`.
public struct FormatError: Error, Hashable, Sendable {
  public enum Reason: Hashable, Sendable {
    /// The file ends before the field does.
    case truncated(needed: UInt64, available: UInt64)
    /// A number or text outside what the format allows.
    case outOfRange(found: String, allowed: String)
    /// A well-formed value that this version does not read.
    case unsupported(found: String, allowed: String)
    /// Bytes that do not follow the grammar.
    case malformed(String)
    /// A field, tensor or file that has to be there and is not.
    case missing(String)
    /// Something that may appear once and appears again.
    case duplicate(String)
    /// Two facts that contradict each other.
    case inconsistent(String)
    /// The file itself is not there.
    case fileNotFound
    /// The operating system refused to open or read.
    case readFailed(errno: Int32, description: String)
  }

  /// Path as the user gave it, or as found inside the directory that the user gave.
  public var file: String
  /// Absolute position in the file; `nil` where the whole file is meant.
  public var fileOffset: UInt64?
  /// As written in `formats/`, for example `gguf.kv[0].key`.
  public var field: String
  public var reason: Reason
  /// What the user can do next, if there is something.
  public var advice: String?

  public init(
    file: String, fileOffset: UInt64? = nil, field: String, reason: Reason, advice: String? = nil
  ) {
    self.file = file
    self.fileOffset = fileOffset
    self.field = field
    self.reason = reason
    self.advice = advice
  }
}

extension FormatError: CustomStringConvertible {
  public var description: String {
    var text = printable(file)
    if let fileOffset { text += ": byte \(fileOffset)" }
    if !field.isEmpty, field != "file" { text += ": " + printable(field) }
    text += ": " + printable("\(reason)")
    // It may hold a command line.
    if let advice { text += "; " + printable(advice, limit: 4000) }
    return text
  }
}

extension FormatError.Reason: CustomStringConvertible {
  public var description: String {
    switch self {
    case .truncated(let needed, let available):
      "needs \(needed) bytes, \(available) are left before the end"
    case .outOfRange(let found, let allowed): "found \(found), allowed \(allowed)"
    case .unsupported(let found, let allowed): "found \(found), supported: \(allowed)"
    case .malformed(let what): what
    case .missing(let what): "missing \(what)"
    case .duplicate(let what): "duplicate \(what)"
    case .inconsistent(let what): what
    case .fileNotFound: "no such file"
    case .readFailed(_, let description): description
    }
  }
}

/// Text from a file made safe for a terminal and for one line: control characters are escaped and
/// long text is cut.
public func printable(_ text: String, limit: Int = 400) -> String {
  var result = ""
  var count = 0
  for scalar in text.unicodeScalars {
    if count == limit { return result + "…" }
    count += 1
    switch scalar.properties.generalCategory {
    case .control, .format, .surrogate, .lineSeparator, .paragraphSeparator:
      result += "\\u{\(String(scalar.value, radix: 16))}"
    default:
      result.unicodeScalars.append(scalar)
    }
  }
  return result
}
