import ByteIO
import StrictJSON

/// Typed access to the members of one JSON object, with errors that name them.
struct ConfigurationReader {
  var file: String
  /// Prefix of field names, for example `rope_scaling.`.
  var prefix = ""
  var object: JSONObject

  func error(_ name: String, _ reason: FormatError.Reason, advice: String? = nil) -> FormatError {
    FormatError(file: file, field: prefix + name, reason: reason, advice: advice)
  }

  /// Whether the member is there, even as null.
  func has(_ name: String) -> Bool { object[name] != nil }

  /// The member; `nil` when absent or null.
  subscript(name: String) -> JSONValue? {
    guard let value = object[name], !value.isNull else { return nil }
    return value
  }

  func count(_ name: String, in allowed: ClosedRange<Int>) throws(FormatError) -> Int? {
    guard let value = self[name] else { return nil }
    guard let count = value.int, allowed.contains(count) else {
      throw error(
        name,
        .outOfRange(
          found: Self.text(value),
          allowed: "an integer from \(allowed.lowerBound) to \(allowed.upperBound)"))
    }
    return count
  }

  func requiredCount(_ name: String, in allowed: ClosedRange<Int>) throws(FormatError) -> Int {
    guard let count = try count(name, in: allowed) else {
      throw error(name, .missing("\"\(prefix)\(name)\""))
    }
    return count
  }

  /// A number above zero that single precision can hold.
  func positive(_ name: String) throws(FormatError) -> Double? {
    guard let value = self[name] else { return nil }
    guard let number = value.double, number > 0, Float(number).isFinite, Float(number) > 0 else {
      throw error(
        name, .outOfRange(found: Self.text(value), allowed: "a finite number above 0"))
    }
    return number
  }

  func requiredPositive(_ name: String) throws(FormatError) -> Double {
    guard let number = try positive(name) else {
      throw error(name, .missing("\"\(prefix)\(name)\""))
    }
    return number
  }

  func flag(_ name: String) throws(FormatError) -> Bool? {
    guard let value = self[name] else { return nil }
    guard let flag = value.bool else {
      throw error(name, .outOfRange(found: Self.text(value), allowed: "true or false"))
    }
    return flag
  }

  func string(_ name: String) throws(FormatError) -> String? {
    guard let value = self[name] else { return nil }
    guard let text = value.string else {
      throw error(name, .outOfRange(found: Self.text(value), allowed: "a string"))
    }
    return text
  }

  func object(_ name: String) throws(FormatError) -> ConfigurationReader? {
    guard let value = self[name] else { return nil }
    guard let object = value.object else {
      throw error(name, .outOfRange(found: Self.text(value), allowed: "an object"))
    }
    return ConfigurationReader(file: file, prefix: prefix + name + ".", object: object)
  }

  /// A value as it is shown in an error.
  static func text(_ value: JSONValue) -> String {
    switch value {
    case .null: "null"
    case .bool(let flag): "\(flag)"
    case .number(let number): printable(number.text, limit: 40)
    case .string(let text): "\"\(printable(text, limit: 40))\""
    case .array: "an array"
    case .object: "an object"
    }
  }
}
