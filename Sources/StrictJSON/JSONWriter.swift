import ByteIO

/// Writes stable, indented JSON: members in the order of the calls, numbers in their shortest form.
public struct JSONWriter {
  public private(set) var text = ""
  private var depth = 0
  private var isFirst = true
  private var afterKey = false

  public init() {}

  public mutating func object(_ body: (inout JSONWriter) -> Void) { nested("{", "}", body) }
  public mutating func array(_ body: (inout JSONWriter) -> Void) { nested("[", "]", body) }

  public mutating func key(_ name: String) {
    separate()
    quote(name)
    text += ": "
    afterKey = true
  }

  public mutating func null() { scalar("null") }
  public mutating func value(_ value: Bool) { scalar(value ? "true" : "false") }
  public mutating func value(_ value: some BinaryInteger) { scalar("\(value)") }
  /// Numbers that JSON cannot hold become null.
  public mutating func value(_ value: Double) { value.isFinite ? scalar("\(value)") : null() }
  public mutating func value(_ value: Float) { value.isFinite ? scalar("\(value)") : null() }

  public mutating func value(_ value: String) {
    separate()
    quote(value)
  }

  public mutating func value(_ value: String?) {
    if let value { self.value(value) } else { null() }
  }

  /// A tree as it was read.
  public mutating func value(_ value: JSONValue) {
    switch value {
    case .null: null()
    case .bool(let value): self.value(value)
    case .number(let number): scalar(number.text)
    case .string(let text): self.value(text)
    case .array(let values): array { json in for value in values { json.value(value) } }
    case .object(let object):
      self.object { json in
        for (key, value) in object.members {
          json.key(key)
          json.value(value)
        }
      }
    }
  }

  private mutating func scalar(_ literal: String) {
    separate()
    text += literal
  }

  private mutating func nested(
    _ open: String, _ close: String, _ body: (inout JSONWriter) -> Void
  ) {
    separate()
    text += open
    depth += 1
    isFirst = true
    body(&self)
    depth -= 1
    if !isFirst { newLine() }
    isFirst = false
    text += close
  }

  private mutating func separate() {
    if afterKey {
      afterKey = false
      return
    }
    if depth > 0 {
      if !isFirst { text += "," }
      newLine()
    }
    isFirst = false
  }

  private mutating func newLine() {
    text += "\n" + String(repeating: "  ", count: depth)
  }

  private mutating func quote(_ string: String) {
    text += "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\r": text += "\\r"
      case "\t": text += "\\t"
      case _ where scalar.value < 0x20 || scalar.value == 0x7F:
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}
