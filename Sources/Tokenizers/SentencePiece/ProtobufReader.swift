import ByteIO

/// Reads fields of a protobuf message, one after the other, never past the message's end.
///
///     message  = field*
///     field    = tag value          tag = varint (number << 3 | wire type)
///     wire 0     varint             up to 10 bytes, 7 bits each, lowest first
///     wire 1     8 bytes
///     wire 2     varint length, then that many bytes (text, bytes, or a message)
///     wire 5     4 bytes
///
/// Wire types 3 and 4 (groups) ended with version 2 of the language and are refused.
struct ProtobufReader {
  private(set) var cursor: FileCursor
  /// Ends of the messages that are open, outermost first.
  private var ends: [UInt64] = []

  struct Tag: Equatable {
    var number: UInt64
    var wireType: UInt8
  }

  init(_ file: PositionalFile) { cursor = FileCursor(file) }

  private var messageEnd: UInt64 { ends.last ?? cursor.end }

  /// The next field's tag, or `nil` at the end of the innermost message, which it leaves.
  mutating func nextTag(_ field: String) throws(FormatError) -> Tag? {
    if cursor.offset >= messageEnd {
      if !ends.isEmpty { ends.removeLast() }
      return nil
    }
    let start = cursor.offset
    let raw = try readVarint(field)
    guard raw >> 3 != 0, raw >> 3 < 1 << 29 else {
      throw cursor.error(
        field, .outOfRange(found: "field number \(raw >> 3)", allowed: "1 to 2^29 - 1"), at: start)
    }
    return Tag(number: raw >> 3, wireType: UInt8(raw & 7))
  }

  /// Enters the message that is the value of the field just announced.
  mutating func beginMessage(_ tag: Tag, _ field: String) throws(FormatError) {
    let count = try readByteCount(tag, field)
    ends.append(cursor.offset + count)
  }

  mutating func readVarint(_ tag: Tag, _ field: String) throws(FormatError) -> UInt64 {
    try expect(0, tag, field)
    return try readVarint(field)
  }

  mutating func readFloat(_ tag: Tag, _ field: String) throws(FormatError) -> Float {
    try expect(5, tag, field)
    try require(4, field)
    return try cursor.readFloat32(field)
  }

  mutating func readBytes(_ tag: Tag, limit: Int, _ field: String) throws(FormatError) -> [UInt8] {
    let count = try readByteCount(tag, field)
    guard count <= UInt64(limit) else {
      throw cursor.error(
        field, .outOfRange(found: "\(count) bytes", allowed: "at most \(limit) bytes"))
    }
    return try cursor.readBytes(count, field)
  }

  mutating func skip(_ tag: Tag, _ field: String) throws(FormatError) {
    switch tag.wireType {
    case 0: _ = try readVarint(field)
    case 1: try skip(8, field)
    case 2: try skip(try readByteCount(tag, field), field)
    case 5: try skip(4, field)
    default:
      throw cursor.error(
        field, .unsupported(found: "wire type \(tag.wireType)", allowed: "wire types 0, 1, 2, 5"))
    }
  }

  private mutating func skip(_ count: UInt64, _ field: String) throws(FormatError) {
    try require(count, field)
    try cursor.skip(count, field)
  }

  private func require(_ count: UInt64, _ field: String) throws(FormatError) {
    let available = messageEnd > cursor.offset ? messageEnd - cursor.offset : 0
    guard count <= available else {
      throw cursor.error(field, .truncated(needed: count, available: available))
    }
  }

  private func expect(_ wireType: UInt8, _ tag: Tag, _ field: String) throws(FormatError) {
    guard tag.wireType == wireType else {
      throw cursor.error(
        field, .outOfRange(found: "wire type \(tag.wireType)", allowed: "wire type \(wireType)"))
    }
  }

  private mutating func readByteCount(_ tag: Tag, _ field: String) throws(FormatError) -> UInt64 {
    try expect(2, tag, field)
    let count = try readVarint(field)
    try require(count, field)
    return count
  }

  private mutating func readVarint(_ field: String) throws(FormatError) -> UInt64 {
    let start = cursor.offset
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 70, by: 7) {
      try require(1, field)
      let byte = try cursor.readInteger(field, as: UInt8.self)
      if shift == 63, byte > 1 { break }
      value |= UInt64(byte & 0x7F) << shift
      if byte & 0x80 == 0 { return value }
    }
    throw cursor.error(field, .malformed("a varint of more than 64 bits"), at: start)
  }
}
