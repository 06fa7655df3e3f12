import ByteIO
import Tensors

extension ImportanceSums {
  /// Reads the older `.dat` form; numbers are little-endian.
  ///
  ///     bytes  field
  ///         4  entry count, int32
  ///            per entry:
  ///         4    name length, int32
  ///         …    name
  ///         4    call count, int32
  ///         4    value count, int32
  ///     4·n      values, float32: importance × call count
  ///         4  chunk count, int32          (older files end before this)
  ///         4  dataset name length, int32  (or before this)
  ///         …  dataset name
  ///
  /// The call count becomes the entry's count.
  init(legacy file: PositionalFile) throws(FormatError) {
    var cursor = FileCursor(file)
    let entryCount = try Self.readCount("imatrix.entry_count", from: 1, &cursor)
    try GGUFHeader.requireRoom(
      for: UInt64(entryCount), of: Self.minimumEntryByteCount, "imatrix.entry_count", cursor)
    var entries: [ExactString: Entry] = [:]
    for index in 0..<entryCount {
      let start = cursor.offset
      let (name, entry) = try Self.readEntry("imatrix.entry[\(index)]", &cursor)
      guard entries.updateValue(entry, forKey: name) == nil else {
        throw cursor.error("imatrix.entry[\(name)]", .duplicate("entry"), at: start)
      }
    }
    var chunkCount = 0
    var datasets: [String] = []
    if cursor.bytesLeft > 0 {
      chunkCount = try Self.readCount("imatrix.chunk_count", from: 0, &cursor)
    }
    if cursor.bytesLeft > 0 {
      let byteCount = try Self.readCount("imatrix.dataset", from: 0, &cursor)
      let bytes = try cursor.readBytes(UInt64(byteCount), "imatrix.dataset")
      if byteCount > 0 { datasets = [String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)] }
    }
    guard cursor.bytesLeft == 0 else {
      throw cursor.error(
        "imatrix", .malformed("\(cursor.bytesLeft) bytes follow after the last field"))
    }
    self.init(
      entries: entries, datasets: datasets, chunkCount: chunkCount, chunkSize: nil,
      file: file.path)
  }

  /// Lengths, one byte of name and one value.
  private static let minimumEntryByteCount: UInt64 = 4 + 1 + 4 + 4 + 4
  private static let maximumNameByteCount = 1024

  private static func readCount(_ field: String, from minimum: Int32, _ cursor: inout FileCursor)
    throws(FormatError) -> Int
  {
    let start = cursor.offset
    let count = try cursor.readInteger(field, as: Int32.self)
    guard count >= minimum else {
      throw cursor.error(
        field, .outOfRange(found: "\(count)", allowed: "\(minimum) to \(Int32.max)"), at: start,
        advice: start == 0 ? "this is no importance matrix: \(advice)" : nil)
    }
    return Int(count)
  }

  private static func readEntry(_ field: String, _ cursor: inout FileCursor) throws(FormatError)
    -> (ExactString, Entry)
  {
    let start = cursor.offset
    let nameByteCount = try readCount(field + ".name", from: 1, &cursor)
    guard nameByteCount <= maximumNameByteCount else {
      throw cursor.error(
        field + ".name",
        .outOfRange(
          found: "\(nameByteCount) bytes", allowed: "1 to \(maximumNameByteCount) bytes"),
        at: start)
    }
    let bytes = try cursor.readBytes(UInt64(nameByteCount), field + ".name")
    guard let name = ExactString(utf8: bytes), !bytes.contains(0) else {
      throw cursor.error(field + ".name", .malformed("is not UTF-8 without NUL"), at: start)
    }
    let callCount = try readCount(field + ".calls", from: 0, &cursor)
    let valueCount = try readCount(field + ".value_count", from: 1, &cursor)
    let (valueOffset, file) = (cursor.offset, cursor.file)
    try cursor.skip(4 * UInt64(valueCount), field + ".values")
    let values = try littleEndianFloats(count: valueCount) { buffer throws(FormatError) in
      try file.read(at: valueOffset, into: buffer, field: field + ".values")
    }
    try checkSums(
      values, file: file.path, fileOffset: valueOffset, field: "imatrix.entry[\(name)]")
    return (name, Entry(sums: values, counts: [Float(callCount)]))
  }
}
