import ByteIO

/// The directory of a ZIP archive whose records are stored, not compressed.
///
/// The archive is read in one way only: the directory, the local headers and the descriptors have
/// to agree, and every byte of the file belongs to exactly one of them. What one reader would find
/// and another would not is refused.
///
///     local header, record, descriptor    per entry, from byte 0, no gap
///     directory                           one header per entry
///     zip64 end, zip64 locator            where numbers do not fit 32 bits, or always
///     end, comment                        up to the last byte of the file
///
/// Source: formats/pytorch.md
struct ZIPArchive: Sendable {
  /// In the order of their places in the file.
  let entries: [ZIPEntry]

  init(_ file: PositionalFile) throws(FormatError) {
    let end = try ZIPEnd(file)
    var entries = try Self.readDirectory(file, end)
    entries.sort { $0.headerOffset < $1.headerOffset }
    var names: Set<ExactString> = []
    for entry in entries where !names.insert(entry.name).inserted {
      throw FormatError(
        file: file.path, fileOffset: entry.headerOffset, field: "zip.name",
        reason: .duplicate("entry \(printable(entry.name.string, limit: 120))"))
    }
    var covered: UInt64 = 0
    for index in entries.indices {
      try entries[index].checkPlace(behind: covered, file: file)
      let next = index + 1 < entries.count ? entries[index + 1].headerOffset : end.directoryOffset
      covered = try entries[index].readLocalHeader(file, limit: next)
    }
    guard covered == end.directoryOffset else {
      throw FormatError(
        file: file.path, fileOffset: covered, field: "zip.directory",
        reason: .inconsistent(
          "starts at \(end.directoryOffset), the entries before it end at \(covered)"))
    }
    self.entries = entries
  }

  /// Reads the headers of the directory.
  private static func readDirectory(_ file: PositionalFile, _ end: ZIPEnd) throws(FormatError)
    -> [ZIPEntry]
  {
    var cursor = FileCursor(
      file, from: end.directoryOffset, to: end.directoryOffset + end.directoryByteCount,
      windowByteCount: 1 << 16)
    let mostEntries = end.directoryByteCount / ZIPFormat.directoryEntryByteCount
    guard end.entryCount <= min(mostEntries, ZIPFormat.maximumEntryCount) else {
      throw cursor.error(
        "zip.end.entries",
        .outOfRange(
          found: "\(end.entryCount)",
          allowed: "at most \(min(mostEntries, ZIPFormat.maximumEntryCount))"))
    }
    var entries: [ZIPEntry] = []
    entries.reserveCapacity(Int(end.entryCount))
    for _ in 0..<end.entryCount { entries.append(try ZIPEntry(directory: &cursor)) }
    guard cursor.bytesLeft == 0 else {
      throw cursor.error(
        "zip.directory",
        .inconsistent("\(cursor.bytesLeft) bytes are left behind its \(end.entryCount) entries"))
    }
    return entries
  }
}

extension ZIPEntry {
  /// Reads one header of the directory.
  ///
  ///     0  4  signature           20  4  stored byte count
  ///     4  2  made by             24  4  byte count
  ///     6  2  version needed      28  2  name's byte count
  ///     8  2  flags               30  2  extra fields' byte count
  ///    10  2  method              32  2  comment's byte count
  ///    12  4  time, date          34  2  disk
  ///    16  4  CRC-32              36  6  attributes
  ///                               42  4  local header's offset
  fileprivate init(directory cursor: inout FileCursor) throws(FormatError) {
    let start = cursor.offset
    let signature: UInt32 = try cursor.readInteger("zip.directory.signature")
    guard signature == ZIPFormat.directorySignature else {
      throw cursor.error("zip.directory.signature", .malformed("no directory header"), at: start)
    }
    try cursor.skip(4, "zip.directory.version")
    let flags: UInt16 = try cursor.readInteger("zip.directory.flags")
    let method: UInt16 = try cursor.readInteger("zip.directory.method")
    try cursor.skip(4, "zip.directory.time")
    let crc32: UInt32 = try cursor.readInteger("zip.directory.crc32")
    let stored32: UInt32 = try cursor.readInteger("zip.directory.stored byte count")
    let count32: UInt32 = try cursor.readInteger("zip.directory.byte count")
    let nameByteCount: UInt16 = try cursor.readInteger("zip.directory.name")
    let extraByteCount: UInt16 = try cursor.readInteger("zip.directory.extra")
    let commentByteCount: UInt16 = try cursor.readInteger("zip.directory.comment")
    let disk: UInt16 = try cursor.readInteger("zip.directory.disk")
    try cursor.skip(6, "zip.directory.attributes")
    let offset32: UInt32 = try cursor.readInteger("zip.directory.offset")
    let nameBytes = try cursor.readBytes(UInt64(nameByteCount), "zip.directory.name")
    let extra = try cursor.readBytes(UInt64(extraByteCount), "zip.directory.extra")
    try cursor.skip(UInt64(commentByteCount), "zip.directory.comment")

    guard let name = ExactString(utf8: nameBytes), !nameBytes.isEmpty, !nameBytes.contains(0) else {
      throw cursor.error(
        "zip.directory.name", .malformed("a name that is empty or no UTF-8 text"), at: start)
    }
    func refuse(_ found: String, _ allowed: String, advice: String? = nil) -> FormatError {
      cursor.error(
        "zip entry \(printable(name.string, limit: 120))",
        .unsupported(found: found, allowed: allowed), at: start, advice: advice)
    }
    guard flags & ~ZIPFormat.allowedFlags == 0 else {
      let what = flags & 1 != 0 ? "an encrypted entry" : "flags 0x\(String(flags, radix: 16))"
      throw refuse(what, "entries that are plain")
    }
    guard method == 0 else {
      throw refuse(
        "compression method \(method)", "stored entries, as torch.save writes them",
        advice: "unpack the archive and pack it again without compression (zip -0)")
    }
    let wide = try ZIPWideSizes(
      extra, wanted: [count32 == .max, stored32 == .max, offset32 == .max, disk == .max],
      cursor: cursor, at: start)
    guard disk == 0 || (disk == .max && wide.disk == 0) else {
      throw refuse("a part on disk \(disk)", "one file")
    }
    let byteCount = wide.byteCount ?? UInt64(count32)
    guard byteCount == wide.storedByteCount ?? UInt64(stored32) else {
      throw cursor.error(
        "zip entry \(printable(name.string, limit: 120))",
        .inconsistent("a stored entry of two different sizes"), at: start)
    }
    self.init(
      name: name, headerOffset: wide.headerOffset ?? UInt64(offset32), byteCount: byteCount,
      crc32: crc32, flags: flags)
  }

  /// Refuses entries that overlap, or that leave bytes which belong to none.
  fileprivate func checkPlace(behind covered: UInt64, file: PositionalFile) throws(FormatError) {
    guard headerOffset == covered else {
      throw FormatError(
        file: file.path, fileOffset: headerOffset,
        field: "zip entry \(printable(name.string, limit: 120))",
        reason: .inconsistent(
          headerOffset < covered
            ? "overlaps the entry before it, which ends at \(covered)"
            : "leaves a hole from byte \(covered)"))
    }
  }
}

/// The numbers of an extra field 1, which stand there when the 32-bit field is all ones.
struct ZIPWideSizes {
  var byteCount: UInt64?
  var storedByteCount: UInt64?
  var headerOffset: UInt64?
  var disk: UInt32?

  /// Walks through the extra fields: `u16 id, u16 byte count, data`.
  ///
  /// - Parameters:
  ///   - extra: the bytes of all extra fields of one header.
  ///   - wanted: which of the four numbers the header leaves to field 1, in the field's order.
  ///   - cursor: names the file in errors.
  ///   - offset: of the header, for errors.
  /// - Throws: `FormatError` when a number is not there, or the field is there twice.
  init(_ extra: [UInt8], wanted: [Bool], cursor: FileCursor, at offset: UInt64) throws(FormatError)
  {
    var rest = extra[...]
    var field: ArraySlice<UInt8>?
    while rest.count >= 4 {
      let id = UInt16(rest.take(2))
      let count = Int(rest.take(2))
      guard count <= rest.count else {
        throw cursor.error(
          "zip.extra",
          .truncated(needed: UInt64(count), available: UInt64(rest.count)), at: offset)
      }
      if id == ZIPFormat.zip64FieldID {
        guard field == nil else {
          throw cursor.error("zip.extra", .duplicate("zip64 field"), at: offset)
        }
        field = rest.prefix(count)
      }
      rest = rest.dropFirst(count)
    }
    guard wanted.contains(true) else { return }
    var numbers = field ?? []
    let needed = wanted.enumerated().reduce(0) { $0 + ($1.element ? $1.offset == 3 ? 4 : 8 : 0) }
    guard numbers.count >= needed else {
      throw cursor.error(
        "zip.extra", .missing("the zip64 field that holds the numbers of this entry"), at: offset)
    }
    if wanted[0] { byteCount = numbers.take(8) }
    if wanted[1] { storedByteCount = numbers.take(8) }
    if wanted[2] { headerOffset = numbers.take(8) }
    if wanted[3] { disk = UInt32(numbers.take(4)) }
  }
}

extension ArraySlice<UInt8> {
  /// Takes a little-endian number off the front.
  ///
  /// - Precondition: so many bytes are there.
  mutating func take(_ byteCount: Int) -> UInt64 {
    let value = prefix(byteCount).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    self = dropFirst(byteCount)
    return value
  }
}
