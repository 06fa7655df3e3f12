/// The last 64 bytes of a packed archive.
///
///     offset  bytes  field
///          0      8  frame table offset
///          8      8  frame count
///         16      8  directory offset
///         24      8  directory byte count
///         32      8  content byte count: of all files together
///         40      8  directory checksum, XXH3-64
///         48      8  trailer checksum: XXH3-64 of the header and the 48 bytes before
///         56      8  "INGOTEND"
package struct PackedTrailer: Hashable, Sendable {
  package var frameTableOffset: UInt64
  package var frameCount: UInt64
  package var directoryOffset: UInt64
  package var directoryByteCount: UInt64
  package var contentByteCount: UInt64
  package var directoryChecksum: UInt64

  package init(
    frameTableOffset: UInt64, frameCount: UInt64, directoryOffset: UInt64,
    directoryByteCount: UInt64, contentByteCount: UInt64, directoryChecksum: UInt64
  ) {
    self.frameTableOffset = frameTableOffset
    self.frameCount = frameCount
    self.directoryOffset = directoryOffset
    self.directoryByteCount = directoryByteCount
    self.contentByteCount = contentByteCount
    self.directoryChecksum = directoryChecksum
  }

  /// The 16 bytes that an archive begins with.
  package static let header: [UInt8] =
    PackedFormat.magic + littleEndian(PackedFormat.version) + littleEndian(UInt32(0))

  package var bytes: [UInt8] {
    var bytes: [UInt8] = []
    for number in [
      frameTableOffset, frameCount, directoryOffset, directoryByteCount, contentByteCount,
      directoryChecksum,
    ] {
      bytes += littleEndian(number)
    }
    bytes += littleEndian(XXH3.hash64(Self.header + bytes))
    return bytes + PackedFormat.endMagic
  }

  /// Reads and checks header and trailer.
  init(_ file: PositionalFile) throws(FormatError) {
    var cursor = FileCursor(file, windowByteCount: 64)
    let header = try cursor.readBytes(PackedFormat.headerByteCount, "header")
    guard header.starts(with: PackedFormat.magic) else {
      throw cursor.error("header.magic", .malformed("no packed archive"), at: 0)
    }
    let version = integer(header, at: 8, as: UInt32.self)
    guard version == PackedFormat.version else {
      throw cursor.error(
        "header.version",
        .unsupported(found: "version \(version)", allowed: "version \(PackedFormat.version)"), at: 8
      )
    }
    let flags = integer(header, at: 12, as: UInt32.self)
    guard flags == 0 else {
      throw cursor.error("header.flags", .unsupported(found: "\(flags)", allowed: "0"), at: 12)
    }
    let least = PackedFormat.headerByteCount + PackedFormat.trailerByteCount
    guard file.byteCount >= least else {
      throw cursor.error(
        "trailer", .truncated(needed: least, available: file.byteCount), advice: Self.advice)
    }
    let start = file.byteCount - PackedFormat.trailerByteCount
    let bytes = try file.read(
      at: start, count: Int(PackedFormat.trailerByteCount), field: "trailer")
    guard bytes[56...].elementsEqual(PackedFormat.endMagic) else {
      throw cursor.error(
        "trailer.magic", .malformed("the end of a packed archive is not there"), at: start + 56,
        advice: Self.advice)
    }
    guard XXH3.hash64(header + bytes[..<48]) == integer(bytes, at: 48, as: UInt64.self) else {
      throw cursor.error(
        "trailer.checksum", .inconsistent("is not the checksum of header and trailer"),
        at: start + 48, advice: Self.advice)
    }
    func number(_ index: Int) -> UInt64 { integer(bytes, at: index * 8, as: UInt64.self) }
    self.init(
      frameTableOffset: number(0), frameCount: number(1), directoryOffset: number(2),
      directoryByteCount: number(3), contentByteCount: number(4), directoryChecksum: number(5))
    try checkPlaces(end: start, file.path)
  }

  static let advice = "the file may not be copied or downloaded completely"

  /// Frame table and directory fill what lies between the frames and the trailer.
  private func checkPlaces(end: UInt64, _ path: String) throws(FormatError) {
    func error(_ field: String, _ offset: UInt64, _ text: String) -> FormatError {
      FormatError(
        file: path, fileOffset: end + offset, field: "trailer." + field, reason: .inconsistent(text)
      )
    }
    guard directoryByteCount <= PackedFormat.directoryByteLimit, directoryByteCount <= end,
      directoryOffset == end - directoryByteCount
    else {
      throw error(
        "directory", 16,
        "\(directoryByteCount) bytes at \(directoryOffset) do not end where the trailer begins")
    }
    // The count is bounded by the file before it is multiplied.
    guard frameCount <= end / 16, frameTableOffset >= PackedFormat.headerByteCount,
      frameCount > 0 || frameTableOffset == PackedFormat.headerByteCount,
      frameTableOffset <= directoryOffset,
      directoryOffset - frameTableOffset == pageCount * UInt64(PackedFormat.pageByteCount)
    else {
      throw error(
        "frame table", 0,
        "the table of \(frameCount) frames at \(frameTableOffset) does not end where the "
          + "directory begins")
    }
  }

  package var pageCount: UInt64 {
    let perPage = UInt64(PackedFormat.framesPerPage)
    return frameCount / perPage + (frameCount % perPage > 0 ? 1 : 0)
  }
}

/// The bytes of a number, lowest first.
package func littleEndian(_ number: some FixedWidthInteger) -> [UInt8] {
  withUnsafeBytes(of: number.littleEndian) { Array($0) }
}

/// The little-endian number at `offset`; `bytes` are known to be long enough.
package func integer<T: FixedWidthInteger>(_ bytes: [UInt8], at offset: Int, as type: T.Type) -> T {
  bytes.withUnsafeBytes {
    T(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: T.self))
  }
}
