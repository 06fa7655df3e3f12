import ByteIO

/// The end of a ZIP archive: where its directory lies.
struct ZIPEnd {
  var entryCount: UInt64
  var directoryOffset: UInt64
  var directoryByteCount: UInt64

  /// Finds the one end record whose comment ends with the file.
  ///
  ///     0  4  signature            10  2  entries
  ///     4  2  disk                 12  4  directory's byte count
  ///     6  2  directory's disk     16  4  directory's offset
  ///     8  2  entries on the disk  20  2  comment's byte count
  init(_ file: PositionalFile) throws(FormatError) {
    let tailByteCount = Int(
      min(file.byteCount, UInt64(ZIPFormat.endByteCount + ZIPFormat.maximumCommentByteCount)))
    let tail = try file.read(
      at: file.byteCount - UInt64(tailByteCount), count: tailByteCount, field: "zip.end")
    var found: [Int] = []
    var start = tailByteCount - ZIPFormat.endByteCount
    while start >= 0 {
      var header = tail[start...].prefix(ZIPFormat.endByteCount)
      if header.take(4) == UInt64(ZIPFormat.endSignature) {
        header = header.dropFirst(16)
        if Int(header.take(2)) == tailByteCount - start - ZIPFormat.endByteCount {
          found.append(start)
        }
      }
      start -= 1
    }
    guard let start = found.first else {
      throw FormatError(
        file: file.path, field: "zip.end",
        reason: .missing("the end record: the file is cut short, or something was appended to it"),
        advice: "the file may not be downloaded completely")
    }
    guard found.count == 1 else {
      throw FormatError(
        file: file.path, field: "zip.end", reason: .duplicate("end record, hidden in the comment"))
    }
    let endOffset = file.byteCount - UInt64(tailByteCount - start)
    var record = tail[start...].dropFirst(4)
    let disks = [record.take(2), record.take(2)]
    let counts = [record.take(2), record.take(2)]
    let byteCount = record.take(4)
    let offset = record.take(4)
    self.init(
      entryCount: counts[1], directoryOffset: offset, directoryByteCount: byteCount)
    var directoryEnd = endOffset
    var isOneFile = disks.allSatisfy { $0 == 0 || $0 == 0xFFFF } && counts[0] == counts[1]
    if let wide = try Self.zip64(file, endOffset: endOffset) {
      // A number that fits stands in both records and has to be the same.
      guard counts[1] == 0xFFFF || counts[1] == wide.end.entryCount,
        byteCount == 0xFFFF_FFFF || byteCount == wide.end.directoryByteCount,
        offset == 0xFFFF_FFFF || offset == wide.end.directoryOffset
      else {
        throw FormatError(
          file: file.path, fileOffset: endOffset, field: "zip.end",
          reason: .inconsistent("the two end records differ"))
      }
      self = wide.end
      directoryEnd = wide.offset
      isOneFile = isOneFile && wide.isOneFile
    } else {
      isOneFile = isOneFile && disks.allSatisfy { $0 == 0 }
    }
    guard isOneFile else {
      throw FormatError(
        file: file.path, fileOffset: endOffset, field: "zip.end.disk",
        reason: .unsupported(found: "an archive over several disks", allowed: "one file"))
    }
    let (sum, overflow) = directoryOffset.addingReportingOverflow(directoryByteCount)
    guard !overflow, sum == directoryEnd else {
      throw FormatError(
        file: file.path, fileOffset: endOffset, field: "zip.end.directory offset",
        reason: .inconsistent(
          "directory of \(directoryByteCount) bytes from \(directoryOffset) does not end at "
            + "\(directoryEnd), where the end record starts"),
        advice: "the file may not be downloaded completely")
    }
  }

  private init(entryCount: UInt64, directoryOffset: UInt64, directoryByteCount: UInt64) {
    self.entryCount = entryCount
    self.directoryOffset = directoryOffset
    self.directoryByteCount = directoryByteCount
  }

  /// The 64-bit end record, if a locator stands directly before the end record.
  ///
  ///     locator  0  4  signature          end  0  4  signature         24  8  entries on the disk
  ///              4  4  disk                    4  8  bytes that follow  32  8  entries
  ///              8  8  offset of the end      12  4  versions           40  8  directory's byte count
  ///             16  4  disks                  16  4  disk               48  8  directory's offset
  ///                                           20  4  directory's disk
  private static func zip64(_ file: PositionalFile, endOffset: UInt64) throws(FormatError)
    -> (end: ZIPEnd, offset: UInt64, isOneFile: Bool)?
  {
    guard endOffset >= ZIPFormat.locatorByteCount else { return nil }
    let locatorOffset = endOffset - ZIPFormat.locatorByteCount
    var locator = FileCursor(file, from: locatorOffset, to: endOffset, windowByteCount: 32)
    let signature: UInt32 = try locator.readInteger("zip64.locator")
    guard signature == ZIPFormat.zip64LocatorSignature else { return nil }
    let disk: UInt32 = try locator.readInteger("zip64.locator.disk")
    let offset: UInt64 = try locator.readInteger("zip64.locator.offset")
    let diskCount: UInt32 = try locator.readInteger("zip64.locator.disks")
    guard offset <= locatorOffset, locatorOffset - offset >= ZIPFormat.zip64EndByteCount else {
      throw locator.error(
        "zip64.locator.offset",
        .outOfRange(found: "\(offset)", allowed: "a record before byte \(locatorOffset)"),
        at: locatorOffset)
    }
    var cursor = FileCursor(file, from: offset, to: locatorOffset, windowByteCount: 64)
    let endSignature: UInt32 = try cursor.readInteger("zip64.end")
    let byteCount: UInt64 = try cursor.readInteger("zip64.end.byte count")
    guard endSignature == ZIPFormat.zip64EndSignature, byteCount == locatorOffset - offset - 12
    else {
      throw cursor.error(
        "zip64.end", .malformed("no end record directly before the locator"), at: offset)
    }
    try cursor.skip(4, "zip64.end.version")
    let disks: [UInt32] = [
      try cursor.readInteger("zip64.end.disk"), try cursor.readInteger("zip64.end.disk"),
    ]
    let counts: [UInt64] = [
      try cursor.readInteger("zip64.end.entries"), try cursor.readInteger("zip64.end.entries"),
    ]
    let directoryByteCount: UInt64 = try cursor.readInteger("zip64.end.directory byte count")
    let directoryOffset: UInt64 = try cursor.readInteger("zip64.end.directory offset")
    return (
      ZIPEnd(
        entryCount: counts[1], directoryOffset: directoryOffset,
        directoryByteCount: directoryByteCount),
      offset, disk == 0 && diskCount <= 1 && disks == [0, 0] && counts[0] == counts[1]
    )
  }
}
