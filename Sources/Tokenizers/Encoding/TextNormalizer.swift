import ByteIO
import StrictJSON

/// The changes to a text that `normalizer` of a `tokenizer.json` asks for.
///
/// Two are known: text put before, and one text replaced by another. Llama models use no others.
struct TextNormalizer: Sendable {
  private enum Step: Sendable {
    case prepend([UInt8])
    case replace([UInt8], with: [UInt8])
  }

  private var steps: [Step] = []

  init() {}

  init(_ normalizer: JSONValue?, file: String) throws(FormatError) {
    if let normalizer { try add(normalizer, file) }
  }

  func normalize(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    var text = text
    for step in steps {
      switch step {
      case .prepend(let prefix): if !text.isEmpty { text = prefix + text }
      case .replace(let old, let new): text = Self.replacing(old, with: new, in: text)
      }
    }
    return text
  }

  private static func replacing(_ old: [UInt8], with new: [UInt8], in text: ArraySlice<UInt8>)
    -> ArraySlice<UInt8>
  {
    guard let first = old.first else { return text }
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    var index = text.startIndex
    while index < text.endIndex {
      if text[index] == first, text[index...].starts(with: old) {
        result += new
        index += old.count
      } else {
        result.append(text[index])
        index += 1
      }
    }
    return result[...]
  }

  private mutating func add(_ node: JSONValue, _ file: String) throws(FormatError) {
    switch node["type"]?.string {
    case "Sequence": for child in node["normalizers"]?.array ?? [] { try add(child, file) }
    case "Prepend": steps.append(.prepend(Array((node["prepend"]?.string ?? "").utf8)))
    case "Replace":
      guard let old = node["pattern"]?["String"]?.string, !old.isEmpty else {
        throw Self.unsupported("Replace with an expression", file)
      }
      // A first character again and again inside the text would make the search slow.
      guard old.utf8.count <= TextMatcher.textByteLimit else {
        throw Self.unsupported("Replace of a text of \(old.utf8.count) bytes", file)
      }
      steps.append(.replace(Array(old.utf8), with: Array((node["content"]?.string ?? "").utf8)))
    case let type: throw Self.unsupported(type ?? "no type", file)
    }
  }

  private static func unsupported(_ found: String, _ file: String) -> FormatError {
    FormatError(
      file: file, field: "normalizer",
      reason: .unsupported(found: printable(found, limit: 80), allowed: "Prepend, Replace"))
  }
}

/// `Metaspace` of a `tokenizer.json`: spaces become marks, one goes before, and marks start words.
struct Metaspace: Sendable {
  private enum Prepending { case always, first, never }

  private var mark: [UInt8]
  private var prepending = Prepending.always
  private var splits: Bool

  init(_ node: JSONValue, file: String) throws(FormatError) {
    mark = Array((node["replacement"]?.string ?? "\u{2581}").utf8)
    guard 1...4 ~= mark.count else {
      throw FormatError(
        file: file, field: "pre_tokenizer.replacement",
        reason: .outOfRange(found: "\(mark.count) bytes", allowed: "one character"))
    }
    splits = node["split"]?.bool ?? true
    switch node["prepend_scheme"]?.string {
    case "first": prepending = .first
    case "never": prepending = .never
    case "always": prepending = .always
    case nil: prepending = node["add_prefix_space"]?.bool ?? true ? .always : .never
    case let scheme?:
      throw FormatError(
        file: file, field: "pre_tokenizer.prepend_scheme",
        reason: .unsupported(
          found: printable(scheme, limit: 80), allowed: "always, first, never"))
    }
  }

  /// Words of a text; `isFirst` says that it is the beginning of the whole.
  func words(_ text: ArraySlice<UInt8>, isFirst: Bool) -> [ArraySlice<UInt8>] {
    var marked: [UInt8] = []
    marked.reserveCapacity(text.count + text.count / 2)
    for byte in text {
      if byte == UInt8(ascii: " ") { marked += mark } else { marked.append(byte) }
    }
    let prepends = prepending == .always || prepending == .first && isFirst
    if prepends, !marked.starts(with: mark) { marked = mark + marked }
    guard splits else { return [marked[...]] }
    var words: [ArraySlice<UInt8>] = []
    var start = 0
    var index = 0
    while index < marked.count {
      if index > start, marked[index...].starts(with: mark) {
        words.append(marked[start..<index])
        start = index
      }
      index += 1
    }
    if start < marked.count { words.append(marked[start...]) }
    return words
  }
}
