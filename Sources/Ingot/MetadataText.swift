import GGUF
import StrictJSON

extension MetadataValue {
  /// One line for people: text is cut, arrays are given by count and first elements.
  var summary: String {
    switch self {
    case .string(let text): "\"" + printable(text, limit: 120) + "\""
    case .bool(let value): "\(value)"
    case .float32(let value): "\(value)"
    case .float64(let value): "\(value)"
    case .array(.string(let table)):
      "[\(table.count)] "
        + table.indices.prefix(6).map { "\"" + printable(table.text($0), limit: 20) + "\"" }
        .joined(separator: ", ") + (table.count > 6 ? ", …" : "")
    case .array(let array): "[\(array.count)]"
    default: int.map(String.init) ?? unsigned.map(String.init) ?? ""
    }
  }

  /// A 64-bit unsigned number that `int` cannot hold.
  private var unsigned: UInt64? { if case .uint64(let value) = self { value } else { nil } }

  func write(to json: inout JSONWriter) {
    switch self {
    case .string(let text): json.value(text)
    case .bool(let value): json.value(value)
    case .float32(let value): json.value(value)
    case .float64(let value): json.value(value)
    case .array(let array): array.write(to: &json)
    default:
      if let int {
        json.value(int)
      } else if let unsigned {
        json.value(unsigned)
      } else {
        json.null()
      }
    }
  }
}

extension MetadataArray {
  /// Arrays of at most so many elements are written in full.
  private static let fullElementLimit = 32

  fileprivate func write(to json: inout JSONWriter) {
    guard count <= Self.fullElementLimit, let elements else {
      json.object { json in
        json.key("elementType")
        json.value("\(ggufElementType)")
        json.key("count")
        json.value(count)
      }
      return
    }
    json.array { json in for element in elements { element.write(to: &json) } }
  }

  /// The elements as values; `nil` for arrays of arrays.
  private var elements: [MetadataValue]? {
    switch self {
    case .uint8(let a): a.map { .uint8($0) }
    case .int8(let a): a.map { .int8($0) }
    case .uint16(let a): a.map { .uint16($0) }
    case .int16(let a): a.map { .int16($0) }
    case .uint32(let a): a.map { .uint32($0) }
    case .int32(let a): a.map { .int32($0) }
    case .uint64(let a): a.map { .uint64($0) }
    case .int64(let a): a.map { .int64($0) }
    case .float32(let a): a.map { .float32($0) }
    case .float64(let a): a.map { .float64($0) }
    case .bool(let a): a.map { .bool($0) }
    case .string(let a): a.indices.map { .string(a.text($0)) }
    case .array: nil
    }
  }
}
