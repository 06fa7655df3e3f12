import ByteIO
import CYAML

/// Builds a `YAMLValue` from libyaml's events, within limits.
///
/// Aliases are expanded, and the expanded nodes count against `nodeLimit`, so that a few lines of
/// nested aliases cannot grow into gigabytes. Tags create nothing: only `!!str` is looked at.
struct YAMLReader {
  static let byteCountLimit = 1 << 18
  static let nodeLimit = 20_000
  static let depthLimit = 32

  /// A value and its size, aliases expanded.
  private struct Node {
    var value: YAMLValue
    /// Values in it, itself included.
    var count = 1
    /// Levels of lists and mappings, from 1 for one without any inside.
    var depth = 0

    /// Counts a value that lies inside this one.
    mutating func enclose(_ inner: Node) {
      count += inner.count
      depth = max(depth, inner.depth + 1)
    }
  }

  private enum Event {
    case scalar(YAMLValue), alias(String), listStart, mapStart, end, documentEnd
  }

  /// libyaml's state holds its own address, so it lives outside of this value.
  private let parser: UnsafeMutablePointer<yaml_parser_t>
  private var anchors: [String: Node] = [:]
  private var nodeCount = 0

  /// Parses the one document in `text`.
  ///
  /// - Throws: `FormatError.malformed`, with the line of the fault.
  static func parse(_ text: String, file: String) throws(FormatError) -> YAMLValue {
    guard text.utf8.count <= byteCountLimit else {
      throw FormatError(
        file: file, field: "front matter",
        reason: .outOfRange(
          found: "\(text.utf8.count) bytes", allowed: "at most \(byteCountLimit)"))
    }
    let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    defer { parser.deallocate() }
    guard yaml_parser_initialize(parser) == 1 else {
      throw FormatError(file: file, field: "front matter", reason: .malformed("out of memory"))
    }
    defer { yaml_parser_delete(parser) }
    let bytes = Array(text.utf8)
    let result: Result<YAMLValue, FormatError> = bytes.withUnsafeBufferPointer { buffer in
      yaml_parser_set_input_string(parser, buffer.baseAddress, buffer.count)
      yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
      var reader = YAMLReader(parser: parser)
      do throws(FormatError) {
        return .success(try reader.document(file))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  private init(parser: UnsafeMutablePointer<yaml_parser_t>) { self.parser = parser }

  private mutating func document(_ file: String) throws(FormatError) -> YAMLValue {
    guard let first = try next(file) else { return .null }
    let node = try node(first.0, anchor: first.1, depth: 0, file)
    guard let after = try next(file) else { return node.value }
    guard case .documentEnd = after.0 else { throw malformed("a second document", file) }
    if try next(file) != nil { throw malformed("a second document", file) }
    return node.value
  }

  private mutating func node(
    _ event: Event, anchor: String?, depth: Int, _ file: String
  ) throws(FormatError) -> Node {
    // Bounds the recursion here; an alias brings its own depth with it.
    guard depth <= Self.depthLimit else { throw tooDeep(file) }
    var node: Node
    switch event {
    case .scalar(let value): node = Node(value: value)
    case .alias(let name):
      guard let known = anchors[name] else { throw malformed("an alias without anchor", file) }
      node = known
    case .listStart:
      node = Node(value: .null, depth: 1)
      var values: [YAMLValue] = []
      while let item = try child(depth, file) {
        values.append(item.value)
        node.enclose(item)
        try check(node, file)
      }
      node.value = .list(values)
    case .mapStart:
      node = Node(value: .null, depth: 1)
      var members: [(key: String, value: YAMLValue)] = []
      while let key = try child(depth, file) {
        guard let value = try child(depth, file) else { throw malformed("a key alone", file) }
        node.enclose(key)
        node.enclose(value)
        try check(node, file)
        members.append((key.value.scalarText ?? "", value.value))
      }
      node.value = .map(members)
    case .end, .documentEnd: throw malformed("an unexpected end", file)
    }
    nodeCount += 1
    guard nodeCount <= Self.nodeLimit else { throw tooMany(file) }
    if let anchor { anchors[anchor] = node }
    return node
  }

  /// Throws as soon as an unfinished value is too large, so that none is ever held.
  private func check(_ node: Node, _ file: String) throws(FormatError) {
    guard node.count <= Self.nodeLimit else { throw tooMany(file) }
    guard node.depth <= Self.depthLimit else { throw tooDeep(file) }
  }

  private func tooMany(_ file: String) -> FormatError {
    malformed("more than \(Self.nodeLimit) values", file)
  }

  private func tooDeep(_ file: String) -> FormatError {
    malformed("nested deeper than \(Self.depthLimit) levels", file)
  }

  /// The next item of a list or mapping; `nil` at its end.
  private mutating func child(_ depth: Int, _ file: String) throws(FormatError) -> Node? {
    guard let (event, anchor) = try next(file) else { throw malformed("an early end", file) }
    if case .end = event { return nil }
    return try node(event, anchor: anchor, depth: depth + 1, file)
  }

  /// The next event that matters, with its anchor; `nil` at the end of the text.
  private mutating func next(_ file: String) throws(FormatError) -> (Event, String?)? {
    while true {
      var event = yaml_event_t()
      guard yaml_parser_parse(parser, &event) == 1 else {
        let problem = parser.pointee.problem.map { String(cString: $0) } ?? "unreadable YAML"
        throw malformed(problem, file)
      }
      defer { yaml_event_delete(&event) }
      switch event.type {
      case YAML_NO_EVENT, YAML_STREAM_END_EVENT: return nil
      case YAML_DOCUMENT_END_EVENT: return (.documentEnd, nil)
      case YAML_ALIAS_EVENT: return (.alias(Self.text(event.data.alias.anchor) ?? ""), nil)
      case YAML_SEQUENCE_START_EVENT:
        return (.listStart, Self.text(event.data.sequence_start.anchor))
      case YAML_MAPPING_START_EVENT:
        return (.mapStart, Self.text(event.data.mapping_start.anchor))
      case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: return (.end, nil)
      case YAML_SCALAR_EVENT:
        return (.scalar(Self.scalar(event)), Self.text(event.data.scalar.anchor))
      default: continue
      }
    }
  }

  private static func scalar(_ event: yaml_event_t) -> YAMLValue {
    let scalar = event.data.scalar
    let text = String(
      decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
    let isText =
      scalar.style != YAML_PLAIN_SCALAR_STYLE || Self.text(scalar.tag) == "tag:yaml.org,2002:str"
    return isText ? .string(text) : .plain(text)
  }

  private static func text(_ pointer: UnsafeMutablePointer<yaml_char_t>?) -> String? {
    pointer.map { String(cString: $0) }
  }

  private func malformed(_ what: String, _ file: String) -> FormatError {
    FormatError(
      file: file, field: "front matter, line \(parser.pointee.mark.line + 2)",
      reason: .malformed(what))
  }
}
