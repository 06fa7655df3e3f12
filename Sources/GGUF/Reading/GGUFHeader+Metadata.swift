import ByteIO
import Tensors

extension GGUFHeader {
  /// Reads the key-value section.
  ///
  ///     bytes  field
  ///         8  key length, 1...65535
  ///         …  key, UTF-8
  ///         4  value type
  ///         …  value
  static func readMetadata(count: UInt64, _ cursor: inout FileCursor) throws(FormatError)
    -> Metadata
  {
    var metadata = Metadata()
    for index in 0..<count {
      let start = cursor.offset
      let key = try readName(
        "gguf.kv[\(index)].key", limit: GGUFFormat.maximumKeyByteCount, &cursor)
      let field = "gguf.kv[\(key)]"
      guard metadata[key] == nil else {
        throw cursor.error(field, .duplicate("key"), at: start)
      }
      let type = try readValueType(field + ".type", &cursor)
      metadata[key] = try readValue(type, field, &cursor)
    }
    return metadata
  }

  /// Reads a string that names something: not empty, short, UTF-8 and without NUL.
  static func readName(_ field: String, limit: Int, _ cursor: inout FileCursor)
    throws(FormatError) -> ExactString
  {
    let start = cursor.offset
    let byteCount = try cursor.readInteger(field, as: UInt64.self)
    guard byteCount > 0, byteCount <= UInt64(limit) else {
      throw cursor.error(
        field, .outOfRange(found: "\(byteCount) bytes", allowed: "1 to \(limit) bytes"), at: start)
    }
    let bytes = try cursor.readBytes(byteCount, field)
    guard let name = ExactString(utf8: bytes), !bytes.contains(0) else {
      throw cursor.error(field, .malformed("is not UTF-8 without NUL"), at: start)
    }
    return name
  }

  private static func readValueType(_ field: String, _ cursor: inout FileCursor)
    throws(FormatError) -> GGUFValueType
  {
    let start = cursor.offset
    let number = try cursor.readInteger(field, as: UInt32.self)
    guard let type = GGUFValueType(rawValue: number) else {
      throw cursor.error(field, .outOfRange(found: "\(number)", allowed: "0 to 12"), at: start)
    }
    return type
  }

  private static func readValue(
    _ type: GGUFValueType, _ field: String, _ cursor: inout FileCursor
  ) throws(FormatError) -> MetadataValue {
    switch type {
    case .uint8: .uint8(try cursor.readInteger(field))
    case .int8: .int8(try cursor.readInteger(field))
    case .uint16: .uint16(try cursor.readInteger(field))
    case .int16: .int16(try cursor.readInteger(field))
    case .uint32: .uint32(try cursor.readInteger(field))
    case .int32: .int32(try cursor.readInteger(field))
    case .uint64: .uint64(try cursor.readInteger(field))
    case .int64: .int64(try cursor.readInteger(field))
    case .float32: .float32(try cursor.readFloat32(field))
    case .float64: .float64(try cursor.readFloat64(field))
    case .bool: .bool(try readBool(field, &cursor))
    case .string: .string(try readText(field, &cursor))
    case .array: .array(try readArray(field, depth: 1, &cursor))
    }
  }

  private static func readBool(_ field: String, _ cursor: inout FileCursor) throws(FormatError)
    -> Bool
  {
    let byte = try cursor.readInteger(field, as: UInt8.self)
    guard byte <= 1 else {
      throw cursor.error(
        field, .outOfRange(found: "\(byte)", allowed: "0 or 1"), at: cursor.offset - 1)
    }
    return byte == 1
  }

  private static func readText(_ field: String, _ cursor: inout FileCursor) throws(FormatError)
    -> String
  {
    let start = cursor.offset
    let byteCount = try cursor.readInteger(field, as: UInt64.self)
    let bytes = try cursor.readBytes(byteCount, field)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw cursor.error(field, .malformed("is not UTF-8"), at: start)
    }
    return text
  }

  /// Reads an array.
  ///
  ///     bytes  field
  ///         4  element type
  ///         8  element count
  ///         …  elements, one after the other
  private static func readArray(_ field: String, depth: Int, _ cursor: inout FileCursor)
    throws(FormatError) -> MetadataArray
  {
    guard depth <= GGUFFormat.maximumArrayDepth else {
      throw cursor.error(
        field,
        .outOfRange(
          found: "arrays in arrays deeper than \(GGUFFormat.maximumArrayDepth) levels",
          allowed: "\(GGUFFormat.maximumArrayDepth) levels"))
    }
    let type = try readValueType(field + ".element_type", &cursor)
    let count = try cursor.readInteger(field, as: UInt64.self)
    try requireRoom(for: count, of: UInt64(type.minimumByteCount), field, cursor)
    let elementCount = Int(count)
    switch type {
    case .uint8: return .uint8(try cursor.readBytes(count, field))
    case .int8: return .int8(try readIntegers(elementCount, field, &cursor))
    case .uint16: return .uint16(try readIntegers(elementCount, field, &cursor))
    case .int16: return .int16(try readIntegers(elementCount, field, &cursor))
    case .uint32: return .uint32(try readIntegers(elementCount, field, &cursor))
    case .int32: return .int32(try readIntegers(elementCount, field, &cursor))
    case .uint64: return .uint64(try readIntegers(elementCount, field, &cursor))
    case .int64: return .int64(try readIntegers(elementCount, field, &cursor))
    case .float32:
      return .float32(
        try readElements(elementCount, &cursor) { cursor throws(FormatError) in
          try cursor.readFloat32(field)
        })
    case .float64:
      return .float64(
        try readElements(elementCount, &cursor) { cursor throws(FormatError) in
          try cursor.readFloat64(field)
        })
    case .bool:
      return .bool(
        try readElements(elementCount, &cursor) { cursor throws(FormatError) in
          try readBool(field, &cursor)
        })
    case .string: return .string(try readStrings(elementCount, field, &cursor))
    case .array:
      return .array(
        try readElements(elementCount, &cursor) { cursor throws(FormatError) in
          try readArray(field, depth: depth + 1, &cursor)
        })
    }
  }

  private static func readIntegers<T: FixedWidthInteger>(
    _ count: Int, _ field: String, _ cursor: inout FileCursor
  ) throws(FormatError) -> [T] {
    try readElements(count, &cursor) { cursor throws(FormatError) in
      try cursor.readInteger(field)
    }
  }

  private static func readElements<T>(
    _ count: Int, _ cursor: inout FileCursor,
    _ read: (inout FileCursor) throws(FormatError) -> T
  ) throws(FormatError) -> [T] {
    var elements: [T] = []
    elements.reserveCapacity(count)
    for _ in 0..<count { elements.append(try read(&cursor)) }
    return elements
  }

  /// Token and merge lists: their bytes go straight into the one table.
  private static func readStrings(_ count: Int, _ field: String, _ cursor: inout FileCursor)
    throws(FormatError) -> StringTable
  {
    var table = StringTable()
    table.reserveCapacity(stringCount: count, byteCount: count)
    for _ in 0..<count {
      let byteCount = try cursor.readInteger(field, as: UInt64.self)
      try table.append { bytes throws(FormatError) in
        try cursor.readBytes(byteCount, field, appendingTo: &bytes)
      }
    }
    return table
  }
}
