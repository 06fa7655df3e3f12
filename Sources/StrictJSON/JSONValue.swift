import ByteIO

/// A number as it was written, so that integers stay exact and `2.0` is not an integer.
public struct JSONNumber: Hashable, Sendable {
  public var text: String
  public var isIntegerLiteral: Bool

  public init(text: String, isIntegerLiteral: Bool) {
    self.text = text
    self.isIntegerLiteral = isIntegerLiteral
  }

  /// The value of an integer literal that fits; `nil` for `2.0` and `1e3`.
  public var int: Int? { isIntegerLiteral ? Int(text) : nil }
  /// The nearest double; infinite when the number is too large for one.
  public var double: Double { Double(text) ?? .nan }
}

/// A small document as a tree.
///
/// Large ones are read with `JSONReader`.
public enum JSONValue: Hashable, Sendable {
  case null
  case bool(Bool)
  case number(JSONNumber)
  case string(String)
  case array([JSONValue])
  case object(JSONObject)

  /// Parses a whole document.
  public init(parsing bytes: [UInt8], file: String) throws(FormatError) {
    var reader = JSONReader(bytes, file: file)
    self = try reader.readValue()
    try reader.finish()
  }

  /// Reads and parses a file of at most `limit` bytes.
  public init(file: String, limit: UInt64) throws(FormatError) {
    try self.init(parsing: PositionalFile.readAll(file, limit: limit), file: file)
  }

  public var string: String? { if case .string(let value) = self { value } else { nil } }
  public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  public var number: JSONNumber? { if case .number(let value) = self { value } else { nil } }
  public var int: Int? { number?.int }
  public var double: Double? { number?.double }
  public var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
  public var object: JSONObject? { if case .object(let value) = self { value } else { nil } }
  public var isNull: Bool { self == .null }

  /// Member of an object; `nil` when absent, when null, or when this is no object.
  public subscript(key: String) -> JSONValue? {
    guard let value = object?[key], !value.isNull else { return nil }
    return value
  }
}

/// Members in the order of the file; keys are unique by bytes.
public struct JSONObject: Hashable, Sendable {
  public private(set) var members: [(key: String, value: JSONValue)] = []
  private var indices: [ExactString: Int] = [:]

  public init() {}

  public subscript(key: String) -> JSONValue? {
    indices[ExactString(key)].map { members[$0].value }
  }

  public mutating func set(_ key: String, _ value: JSONValue) {
    if let index = indices[ExactString(key)] {
      members[index].value = value
    } else {
      indices[ExactString(key)] = members.count
      members.append((key, value))
    }
  }

  public static func == (a: Self, b: Self) -> Bool {
    a.members.count == b.members.count
      && zip(a.members, b.members).allSatisfy {
        ExactString($0.key) == ExactString($1.key) && $0.value == $1.value
      }
  }

  public func hash(into hasher: inout Hasher) {
    for (key, value) in members {
      hasher.combine(ExactString(key))
      hasher.combine(value)
    }
  }
}

extension JSONReader {
  public mutating func readValue(_ field: String = "json") throws(FormatError) -> JSONValue {
    switch try peek(field) {
    case .null:
      try readNull(field)
      return .null
    case .bool: return .bool(try readBool(field))
    case .number: return .number(try readNumber(field))
    case .string: return .string(try readString(field))
    case .array:
      var values: [JSONValue] = []
      try beginArray(field)
      while try nextElement(field) { values.append(try readValue(field)) }
      return .array(values)
    case .object:
      var object = JSONObject()
      try beginObject(field)
      while let key = try nextKey(field) { object.set(key, try readValue(field)) }
      return .object(object)
    }
  }
}
