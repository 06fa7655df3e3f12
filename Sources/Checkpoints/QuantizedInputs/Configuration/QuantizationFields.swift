import ByteIO
import StrictJSON

/// Typed access to the members of `quantization_config`, with errors that name them.
struct QuantizationFields {
  var file: String
  /// For example `quantization_config.config_groups.group_0`; empty for a file of its own.
  var path: String
  var object: JSONObject

  /// The member; `nil` when absent or null.
  subscript(name: String) -> JSONValue? {
    guard let value = object[name], !value.isNull else { return nil }
    return value
  }

  func error(_ name: String, _ reason: FormatError.Reason, advice: String? = nil) -> FormatError {
    FormatError(
      file: file, field: [path, name].filter { !$0.isEmpty }.joined(separator: "."),
      reason: reason, advice: advice)
  }

  func string(_ name: String) throws(FormatError) -> String? {
    try typed(name, "a string") { $0.string }
  }

  func flag(_ name: String) throws(FormatError) -> Bool? {
    try typed(name, "true or false") { $0.bool }
  }

  func int(_ name: String) throws(FormatError) -> Int? {
    try typed(name, "an integer") { $0.int }
  }

  /// One of a few words, in any case.
  func word(_ name: String, of allowed: [String]) throws(FormatError) -> String? {
    guard let text = try string(name) else { return nil }
    let word = text.lowercased()
    guard allowed.contains(word) else {
      throw error(
        name,
        .unsupported(
          found: "\"\(printable(text, limit: 60))\"", allowed: allowed.joined(separator: ", ")))
    }
    return word
  }

  /// Length of a group; `nil` when absent or −1, which means the whole row.
  func groupLength(_ name: String) throws(FormatError) -> Int? {
    guard let length = try int(name), length != -1 else { return nil }
    guard (1...(1 << 24)).contains(length) else {
      throw error(
        name, .outOfRange(found: "\(length)", allowed: "-1, or an integer from 1 to 16777216"))
    }
    return length
  }

  /// Height and width of blocks: two numbers, or text like `128x128` where that is written too.
  func block(
    _ name: String, isTextAllowed: Bool = false
  ) throws(FormatError) -> (height: Int, width: Int)? {
    guard let value = self[name] else { return nil }
    var sizes = (value.array ?? []).map(\.int)
    if isTextAllowed, let text = value.string {
      sizes = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    }
    guard sizes.count == 2, let height = sizes[0], let width = sizes[1],
      (1...(1 << 24)).contains(height), (1...(1 << 24)).contains(width)
    else {
      throw error(
        name,
        .outOfRange(found: Self.text(value), allowed: "[rows, columns], integers above 0"))
    }
    return (height, width)
  }

  func strings(_ name: String) throws(FormatError) -> [String] {
    guard let value = self[name] else { return [] }
    let strings = (value.array ?? []).compactMap(\.string)
    guard let array = value.array, strings.count == array.count else {
      throw error(name, .outOfRange(found: Self.text(value), allowed: "a list of strings"))
    }
    return strings
  }

  func fields(_ name: String) throws(FormatError) -> QuantizationFields? {
    guard let value = self[name] else { return nil }
    guard let object = value.object else {
      throw error(name, .outOfRange(found: Self.text(value), allowed: "an object"))
    }
    return QuantizationFields(
      file: file, path: "\(path).\(printable(name, limit: 80))", object: object)
  }

  /// Refuses members that mean something which is not read here.
  func refuse(_ names: [String], unless isHarmless: (JSONValue) -> Bool) throws(FormatError) {
    for name in names {
      if let value = self[name], !isHarmless(value) {
        throw error(name, .unsupported(found: Self.text(value), allowed: "none"))
      }
    }
  }

  /// Refuses members that are not known at all.
  func allowOnly(_ names: Set<String>) throws(FormatError) {
    for (name, value) in object.members where !names.contains(name) && !value.isNull {
      throw error(
        printable(name, limit: 80),
        .unsupported(found: Self.text(value), allowed: names.sorted().joined(separator: ", ")))
    }
  }

  private func typed<Value>(
    _ name: String, _ allowed: String, _ convert: (JSONValue) -> Value?
  ) throws(FormatError) -> Value? {
    guard let value = self[name] else { return nil }
    guard let result = convert(value) else {
      throw error(name, .outOfRange(found: Self.text(value), allowed: allowed))
    }
    return result
  }

  /// A value as it is shown in an error.
  static func text(_ value: JSONValue) -> String {
    switch value {
    case .null: "null"
    case .bool(let flag): "\(flag)"
    case .number(let number): printable(number.text, limit: 40)
    case .string(let text): "\"\(printable(text, limit: 60))\""
    case .array(let values): "a list of \(values.count)"
    case .object(let object): "an object of \(object.members.count)"
    }
  }

  /// Whether a value says nothing: false, empty, zero members.
  static func isEmpty(_ value: JSONValue) -> Bool {
    switch value {
    case .null, .bool(false): true
    case .string(let text): text.isEmpty
    case .array(let values): values.isEmpty
    case .object(let object): object.members.allSatisfy { isEmpty($0.value) }
    default: false
    }
  }
}
