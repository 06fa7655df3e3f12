import ByteIO
import StrictJSON
import Tensors

/// The checked header of one safetensors file.
///
///     offset  bytes  field
///          0      8  header length N, unsigned, little-endian, at most 100,000,000
///          8      N  header: one JSON object, may be padded with spaces
///        8+N         data: every byte belongs to exactly one tensor
///
/// Source: formats/safetensors.md
package struct SafetensorsHeader: Sendable {
  /// Largest header that the format allows.
  package static let byteCountLimit: UInt64 = 100_000_000

  /// Far above every known file; in memory an entry is several times as large as in the header.
  package static let tensorCountLimit = 1_048_576

  /// Element types that the format names, spelled as `TensorType` spells them.
  package static let elementTypes: [TensorType] = [
    .f64, .f32, .f16, .bf16, .i8, .i16, .i32, .i64, .u8, .u16, .u32, .u64, .bool,
    .f8_E4M3, .f8_E5M2, .f8_E8M0, .c64,
  ]

  private static let elementTypesByName = Dictionary(
    uniqueKeysWithValues: elementTypes.map { (ExactString($0.name), $0) })

  /// In the order of the header; regions point into file 0.
  package var tensors: [TensorDescriptor]
  /// The strings of `__metadata__`, in the order of the header.
  package var metadata: [(key: String, value: String)]

  /// Reads and checks the header.
  ///
  /// - Throws: `FormatError` for every rule that the file breaks.
  package init(_ file: PositionalFile) throws(FormatError) {
    var cursor = FileCursor(file, windowByteCount: 64)
    try file.refuseGitPointer()
    let headerByteCount: UInt64 = try cursor.readInteger("header length")
    guard headerByteCount <= Self.byteCountLimit else {
      throw cursor.error(
        "header length",
        .outOfRange(found: "\(headerByteCount)", allowed: "at most \(Self.byteCountLimit)"), at: 0)
    }
    let bytes = try cursor.readBytes(headerByteCount, "header")
    let dataStart = 8 + headerByteCount

    var entries: [Entry] = []
    var metadata: [(key: String, value: String)] = []
    var reader = JSONReader(bytes, file: file.path, base: 8)
    try reader.beginObject("header")
    while let name = try reader.nextKey("header") {
      if name == "__metadata__" {
        metadata = try Self.readMetadata(&reader)
      } else {
        guard entries.count < Self.tensorCountLimit else {
          throw reader.error(
            "header",
            .outOfRange(
              found: "more than \(entries.count) tensors",
              allowed: "at most \(Self.tensorCountLimit)"))
        }
        entries.append(try Entry(name, &reader))
      }
    }
    try reader.finish("header")
    self.metadata = metadata
    try Self.checkCoverage(entries, dataByteCount: file.byteCount - dataStart, file: file.path)
    tensors = entries.map { entry in
      TensorDescriptor(
        name: entry.name, shape: entry.shape, type: entry.type,
        regions: [
          .init(
            file: 0, fileOffset: dataStart + entry.begin, byteCount: Int(entry.end - entry.begin))
        ])
    }
  }

  private static func readMetadata(_ reader: inout JSONReader) throws(FormatError)
    -> [(key: String, value: String)]
  {
    var result: [(key: String, value: String)] = []
    try reader.beginObject("__metadata__")
    while let key = try reader.nextKey("__metadata__") {
      result.append((key, try reader.readString("__metadata__[\"\(printable(key, limit: 80))\"]")))
    }
    return result
  }

  /// Every byte of the data belongs to exactly one tensor: no hole, no overlap, nothing after.
  private static func checkCoverage(
    _ entries: [Entry], dataByteCount: UInt64, file: String
  ) throws(FormatError) {
    // Empty tensors sort before the one that starts at the same byte.
    let ordered = entries.sorted { ($0.begin, $0.end) < ($1.begin, $1.end) }
    var covered: UInt64 = 0
    for entry in ordered {
      guard entry.begin == covered else {
        let fault =
          entry.begin < covered
          ? "starts at data byte \(entry.begin), inside the tensor before it, which ends at \(covered)"
          : "starts at data byte \(entry.begin), which leaves a hole from \(covered)"
        throw FormatError(
          file: file, fileOffset: entry.headerOffset, field: entry.field("data_offsets"),
          reason: .inconsistent(fault))
      }
      guard entry.end <= dataByteCount else {
        throw FormatError(
          file: file, fileOffset: entry.headerOffset, field: entry.field("data_offsets"),
          reason: .truncated(needed: entry.end, available: dataByteCount),
          advice: "the file may not be downloaded completely")
      }
      covered = entry.end
    }
    guard covered == dataByteCount else {
      throw FormatError(
        file: file, field: "data",
        reason: .inconsistent(
          "tensors cover \(covered) bytes of data, the file holds \(dataByteCount)"))
    }
  }
}

/// One tensor of the header, its own fields checked, its place in the file not yet.
private struct Entry {
  var name: ExactString
  var type = TensorType.f32
  var shape = Shape([])
  var begin: UInt64 = 0
  var end: UInt64 = 0
  /// Position of the entry in the file, for errors.
  var headerOffset: UInt64

  /// Name of a member in an error.
  func field(_ member: String) -> String { "\(printable(name.string, limit: 120)).\(member)" }

  init(_ name: String, _ reader: inout JSONReader) throws(FormatError) {
    self.name = ExactString(name)
    headerOffset = 8 + UInt64(reader.position)
    do {
      try read(&reader)
    } catch {
      // Names are made printable here only: a header may hold a million of them.
      var named = error
      named.field = field(error.field)
      throw named
    }
  }

  private mutating func read(_ reader: inout JSONReader) throws(FormatError) {
    var (hasType, hasShape, hasOffsets) = (false, false, false)
    try reader.beginObject("entry")
    while let member = try reader.nextKey("entry") {
      switch member {
      case "dtype":
        type = try readType(&reader)
        hasType = true
      case "shape":
        shape = Shape(try readCounts(&reader, "shape"))
        hasShape = true
      case "data_offsets":
        try readOffsets(&reader)
        hasOffsets = true
      default: try reader.skipValue("entry")
      }
    }
    for (isThere, member) in [
      (hasType, "dtype"), (hasShape, "shape"), (hasOffsets, "data_offsets"),
    ] where !isThere {
      throw error(reader, member, .missing("\"\(member)\""))
    }
    try checkByteCount(reader)
  }

  private func readType(_ reader: inout JSONReader) throws(FormatError) -> TensorType {
    let text = try reader.readString("dtype")
    guard let type = SafetensorsHeader.typeNamed(text) else {
      let known = SafetensorsHeader.elementTypes.map(\.name).joined(separator: " ")
      throw error(
        reader, "dtype", .unsupported(found: "\"\(printable(text, limit: 40))\"", allowed: known))
    }
    return type
  }

  private mutating func readOffsets(_ reader: inout JSONReader) throws(FormatError) {
    let offsets = try readCounts(&reader, "data_offsets")
    guard offsets.count == 2 else {
      throw error(
        reader, "data_offsets", .outOfRange(found: "\(offsets.count) numbers", allowed: "2"))
    }
    guard offsets[0] <= offsets[1] else {
      throw error(
        reader, "data_offsets",
        .inconsistent("begin \(offsets[0]) is after end \(offsets[1])"))
    }
    (begin, end) = (UInt64(offsets[0]), UInt64(offsets[1]))
  }

  private func readCounts(_ reader: inout JSONReader, _ member: String) throws(FormatError) -> [Int]
  {
    var counts: [Int] = []
    try reader.beginArray(member)
    while try reader.nextElement(member) {
      let count = try reader.readInt(member)
      guard count >= 0 else {
        throw error(reader, member, .outOfRange(found: "\(count)", allowed: "0 or more"))
      }
      counts.append(count)
    }
    return counts
  }

  /// Shape times element width has to be exactly the declared range.
  private func checkByteCount(_ reader: JSONReader) throws(FormatError) {
    guard let elementCount = shape.checkedElementCount,
      let byteCount = type.byteCount(weightCount: elementCount)
    else {
      throw error(
        reader, "shape",
        .outOfRange(found: printable("\(shape)", limit: 120), allowed: "a product below 2^63 bytes")
      )
    }
    guard end - begin == UInt64(byteCount) else {
      let text = printable("\(shape)", limit: 120)
      throw error(
        reader, "data_offsets",
        .inconsistent("\(end - begin) bytes, but \(text) of \(type) takes \(byteCount)"))
    }
  }

  private func error(
    _ reader: JSONReader, _ member: String, _ reason: FormatError.Reason
  ) -> FormatError {
    FormatError(file: reader.file, fileOffset: headerOffset, field: member, reason: reason)
  }
}

extension SafetensorsHeader {
  fileprivate static func typeNamed(_ name: String) -> TensorType? {
    elementTypesByName[ExactString(name)]
  }
}
