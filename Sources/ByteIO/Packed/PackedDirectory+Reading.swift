extension PackedDirectory {
  /// Bytes of a region in the directory.
  private static let regionByteCount = 16
  /// Least bytes of an entry.
  private static let entryByteCount = 1 + 2 + 1 + 8 + 4

  /// Reads the directory and checks it against the trailer.
  ///
  /// Every count is bounded by the bytes that are left, so memory is in proportion to the file.
  init(_ file: PositionalFile, _ trailer: PackedTrailer) throws(FormatError) {
    let bytes = try file.read(
      at: trailer.directoryOffset, count: Int(trailer.directoryByteCount), field: "directory")
    var reader = DirectoryReader(
      bytes: bytes, file: file.path, fileOffset: trailer.directoryOffset)
    guard XXH3.hash64(bytes) == trailer.directoryChecksum else {
      throw reader.error("checksum", .inconsistent("is not the checksum in the trailer"))
    }
    kind = try reader.readCase("kind")
    rootName = try reader.readName("root name").string
    if rootName.contains("/") {
      throw reader.error("root name", .malformed("has more than one component"))
    }
    typeNames = try Self.readTypeNames(&reader)
    entries = []
    try readEntries(&reader)
    guard reader.isAtEnd else {
      throw reader.error("end", .malformed("bytes follow the last entry"))
    }
    try checkNames(reader)
    try check(trailer, reader)
  }

  private static func readTypeNames(_ reader: inout DirectoryReader) throws(FormatError)
    -> [String]
  {
    let count: UInt8 = try reader.readInteger("type name count")
    var names: [String] = []
    for index in 0..<Int(count) {
      let byteCount: UInt8 = try reader.readInteger("type name[\(index)]")
      let bytes = try reader.readBytes(Int(byteCount), "type name[\(index)]")
      guard bytes.allSatisfy({ (0x20..<0x7F).contains($0) }) else {
        throw reader.error("type name[\(index)]", .malformed("is not printable ASCII"))
      }
      names.append(String(decoding: bytes, as: UTF8.self))
    }
    return names
  }

  private mutating func readEntries(_ reader: inout DirectoryReader) throws(FormatError) {
    let count: UInt32 = try reader.readInteger("entry count")
    guard Int(count) <= reader.bytesLeft / Self.entryByteCount,
      Int(count) <= PackedFormat.entryCountLimit
    else {
      throw reader.error(
        "entry count",
        .outOfRange(
          found: "\(count)",
          allowed: "at most \(PackedFormat.entryCountLimit), and what the directory has room for"))
    }
    entries.reserveCapacity(Int(count))
    // What the directory has room for beside its entries, at 24 bytes for each 16 of it.
    regions.reserveCapacity(
      (reader.bytesLeft - Int(count) * Self.entryByteCount) / Self.regionByteCount)
    for index in 0..<Int(count) {
      let field = "entry[\(index)]"
      let kind: EntryKind = try reader.readCase(field + ".kind")
      let name = try reader.readName(field + ".name")
      let byteCount: UInt64 = try reader.readInteger(field + ".byte count")
      let start = contentByteCount
      guard !start.addingReportingOverflow(byteCount).overflow,
        start + byteCount <= UInt64(Int64.max)
      else {
        throw reader.error(
          field + ".byte count", .outOfRange(found: "\(byteCount)", allowed: "a sum below 2^63"))
      }
      let firstRegion = regions.count
      try readRegions(&reader, field, contentStart: start, byteCount: byteCount)
      guard kind == .file || byteCount == 0 else {
        throw reader.error(field + ".byte count", .inconsistent("an empty folder has no content"))
      }
      entries.append(
        Entry(
          name: name, kind: kind, contentStart: start, byteCount: byteCount,
          regions: firstRegion..<regions.count))
    }
  }

  private mutating func readRegions(
    _ reader: inout DirectoryReader, _ field: String, contentStart: UInt64, byteCount: UInt64
  ) throws(FormatError) {
    let count: UInt32 = try reader.readInteger(field + ".region count")
    guard Int(count) <= reader.bytesLeft / Self.regionByteCount else {
      throw reader.error(
        field + ".region count",
        .truncated(
          needed: UInt64(count) * UInt64(Self.regionByteCount),
          available: UInt64(reader.bytesLeft)))
    }
    var covered: UInt64 = 0
    for index in 0..<Int(count) {
      let region = try readRegion(
        &reader, { "\(field).region[\(index)]" }, contentStart: contentStart + covered,
        left: byteCount - covered)
      covered += region.byteCount
      regions.append(region)
    }
    guard covered == byteCount else {
      throw reader.error(
        field + ".byte count",
        .inconsistent("is \(byteCount), its regions hold \(covered)"))
    }
  }

  private func readRegion(
    _ reader: inout DirectoryReader, _ name: () -> String, contentStart: UInt64, left: UInt64
  ) throws(FormatError) -> Region {
    let byteCount: UInt64 = try reader.readInteger(name() + ".byte count")
    guard byteCount > 0, byteCount <= left else {
      throw reader.error(
        name() + ".byte count", .outOfRange(found: "\(byteCount)", allowed: "1 to \(left)"))
    }
    let frameByteCount: UInt32 = try reader.readInteger(name() + ".frame byte count")
    let layout: PackedLayout = try reader.readCase(name() + ".layout")
    let word = layout.wordByteCount
    guard frameByteCount > 0, frameByteCount <= PackedFormat.frameByteLimit,
      Int(frameByteCount) % word == 0
    else {
      throw reader.error(
        name() + ".frame byte count",
        .outOfRange(
          found: "\(frameByteCount)",
          allowed: "whole words of \(word) bytes, at most \(PackedFormat.frameByteLimit)"))
    }
    guard byteCount % UInt64(word) == 0 else {
      throw reader.error(
        name() + ".byte count",
        .outOfRange(found: "\(byteCount)", allowed: "whole words of \(word) bytes"))
    }
    let type: UInt8 = try reader.readInteger(name() + ".type")
    guard Int(type) <= typeNames.count else {
      throw reader.error(
        name() + ".type", .outOfRange(found: "\(type)", allowed: "at most \(typeNames.count)"))
    }
    let reserved: UInt16 = try reader.readInteger(name() + ".reserved")
    guard reserved == 0 else {
      throw reader.error(name() + ".reserved", .outOfRange(found: "\(reserved)", allowed: "0"))
    }
    return Region(
      contentStart: contentStart, byteCount: byteCount, firstFrame: frameCount,
      frameByteCount: Int(frameByteCount), layout: layout, typeName: type > 0 ? Int(type) - 1 : nil)
  }

  /// Names are in order, so none is there twice, and no file is a folder of another.
  private func checkNames(_ reader: DirectoryReader) throws(FormatError) {
    if kind == .file {
      guard entries.count == 1, entries[0].kind == .file, !entries[0].name.string.contains("/")
      else {
        throw reader.error("entry", .inconsistent("a packed file has one entry, which is a file"))
      }
      return
    }
    for index in entries.indices.dropFirst()
    where !(entries[index - 1].name < entries[index].name) {
      let name = printable(entries[index].name.string, limit: 120)
      throw reader.error(
        "entry[\(index)].name",
        entries[index - 1].name == entries[index].name
          ? .duplicate("name \(name)") : .malformed("\(name) is not in the order of names"))
    }
    // Whatever lies in a folder of a file's name comes first among the names from there on.
    for (index, entry) in entries.enumerated() {
      let inside = ExactString(entry.name.string + "/")
      let next = firstEntry(from: inside)
      guard next < entries.count, entries[next].name.utf8.starts(with: inside.utf8) else {
        continue
      }
      throw reader.error(
        "entry[\(index)].name",
        .inconsistent("\(printable(entry.name.string, limit: 120)) is an entry, and a folder too"))
    }
  }

  private func check(_ trailer: PackedTrailer, _ reader: DirectoryReader) throws(FormatError) {
    guard UInt64(frameCount) == trailer.frameCount else {
      throw reader.error(
        "frame count",
        .inconsistent("the regions have \(frameCount), the trailer says \(trailer.frameCount)"))
    }
    guard contentByteCount == trailer.contentByteCount else {
      throw reader.error(
        "content byte count",
        .inconsistent(
          "the entries have \(contentByteCount), the trailer says \(trailer.contentByteCount)"))
    }
  }
}

/// Walks through the bytes of a directory; positions in errors are the file's.
private struct DirectoryReader {
  let bytes: [UInt8]
  let file: String
  let fileOffset: UInt64
  private(set) var position = 0

  init(bytes: [UInt8], file: String, fileOffset: UInt64) {
    self.bytes = bytes
    self.file = file
    self.fileOffset = fileOffset
  }

  var bytesLeft: Int { bytes.count - position }
  var isAtEnd: Bool { position == bytes.count }

  func error(_ field: String, _ reason: FormatError.Reason) -> FormatError {
    FormatError(
      file: file, fileOffset: fileOffset + UInt64(position), field: "directory." + field,
      reason: reason)
  }

  mutating func readBytes(_ count: Int, _ field: @autoclosure () -> String) throws(FormatError)
    -> ArraySlice<UInt8>
  {
    guard count <= bytesLeft else {
      throw error(field(), .truncated(needed: UInt64(count), available: UInt64(bytesLeft)))
    }
    defer { position += count }
    return bytes[position..<position + count]
  }

  // Names of fields are made for errors alone: a directory may have a million of them.
  mutating func readInteger<T: FixedWidthInteger>(
    _ field: @autoclosure () -> String, as type: T.Type = T.self
  ) throws(FormatError) -> T {
    let slice = try readBytes(MemoryLayout<T>.size, field())
    return integer(bytes, at: slice.startIndex, as: T.self)
  }

  mutating func readCase<T: RawRepresentable<UInt8>>(_ field: @autoclosure () -> String)
    throws(FormatError) -> T
  {
    let number: UInt8 = try readInteger(field())
    guard let value = T(rawValue: number) else {
      position -= 1
      throw error(field(), .unsupported(found: "\(number)", allowed: "those of version 1"))
    }
    return value
  }

  /// A relative path of plain components.
  mutating func readName(_ field: @autoclosure () -> String) throws(FormatError) -> ExactString {
    let count: UInt16 = try readInteger(field())
    let bytes = try readBytes(Int(count), field())
    if let fault = PackedName.fault(bytes) { throw error(field(), .malformed(fault)) }
    guard let name = ExactString(utf8: bytes) else {
      throw error(field(), .malformed("is not UTF-8"))
    }
    return name
  }
}
