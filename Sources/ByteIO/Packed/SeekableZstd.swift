/// A file in the seekable format of Zstandard: frames, and a table of them at the end.
///
///     frames   of Zstandard, one behind the other; stock tools unpack them
///     table    a skippable frame:
///                4  0x184D2A5E
///                4  byte count of what follows
///                   entries: packed byte count, content byte count, checksum (if there are), 4 each
///                4  number of frames
///                1  0x80: entries have checksums, the low halves of XXH64 of the content
///                4  0x8F92EAB1
///
/// Source: formats/packed-archive.md, and zstd's contrib/seekable_format.
package final class SeekableZstd: FramedContent {
  package static let skippableMagic: UInt32 = 0x184D_2A5E
  package static let footerMagic: UInt32 = 0x8F92_EAB1
  package static let footerByteCount: UInt64 = 9
  package static let checksumFlag: UInt8 = 0x80
  /// Frames that others wrote may be larger than ours; beyond this, ranges would cost too much.
  package static let frameByteLimit: UInt32 = 16 << 20
  /// Longest frame without content that decoders do not skip.
  static let emptyFrameByteLimit = 64 << 10
  package static let frameCountLimit = 1 << 21
  package static var contentByteLimit: UInt64 { UInt64(frameCountLimit) * UInt64(frameByteLimit) }

  package let file: PositionalFile
  package let archiveNumber: UInt64
  package let contentByteCount: UInt64
  private let table: SeekTable

  /// Whether a file may begin with this number; of empty content there is only the table.
  static func mayBegin(_ magic: UInt32) -> Bool {
    magic == ZstdFrame.magic || ZstdFrame.isSkippable(magic)
  }

  /// Whether a file that begins like Zstandard ends like a seek table.
  static func isIn(_ file: PositionalFile) throws(FormatError) -> Bool {
    guard file.byteCount >= footerByteCount + 8 else { return false }
    let end = try file.read(at: file.byteCount - 4, count: 4, field: "seek table.magic")
    return integer(end, at: 0, as: UInt32.self) == footerMagic
  }

  /// Whether a file begins with Zstandard and has no seek table.
  package static func isCutOff(_ file: PositionalFile) throws(FormatError) -> Bool {
    guard file.byteCount >= 4 else { return false }
    let start = try file.read(at: 0, count: 4, field: "magic")
    guard mayBegin(integer(start, at: 0, as: UInt32.self)) else { return false }
    return try !isIn(file)
  }

  init(_ file: PositionalFile) throws(FormatError) {
    self.file = file
    let footerOffset = file.byteCount - Self.footerByteCount
    var cursor = FileCursor(file, from: footerOffset, windowByteCount: 1 << 16)
    let count: UInt32 = try cursor.readInteger("seek table.frame count")
    let descriptor: UInt8 = try cursor.readInteger("seek table.descriptor")
    guard descriptor & 0x7C == 0 else {
      throw cursor.error(
        "seek table.descriptor", .unsupported(found: "\(descriptor)", allowed: "0 and 128"),
        at: footerOffset + 4)
    }
    let hasChecksums = descriptor & Self.checksumFlag != 0
    let entryByteCount: UInt64 = hasChecksums ? 12 : 8
    let tableByteCount = UInt64(count) * entryByteCount + Self.footerByteCount
    guard tableByteCount + 8 <= file.byteCount, count <= Self.frameCountLimit else {
      throw cursor.error(
        "seek table.frame count",
        .outOfRange(
          found: "\(count)", allowed: "what the file has room for, at most \(Self.frameCountLimit)"),
        at: footerOffset)
    }
    let tableOffset = file.byteCount - tableByteCount - 8
    cursor = FileCursor(file, from: tableOffset, windowByteCount: 1 << 16)
    let magic: UInt32 = try cursor.readInteger("seek table.skippable magic")
    guard magic == Self.skippableMagic else {
      throw cursor.error("seek table.skippable magic", .malformed("is not there"), at: tableOffset)
    }
    let declared: UInt32 = try cursor.readInteger("seek table.byte count")
    guard UInt64(declared) == tableByteCount else {
      throw cursor.error(
        "seek table.byte count", .inconsistent("is \(declared), its frames take \(tableByteCount)"),
        at: tableOffset + 4)
    }
    var table = SeekTable(frameCount: Int(count), hasChecksums: hasChecksums)
    for index in 0..<count {
      let packed: UInt32 = try cursor.readInteger("seek table")
      let byteCount: UInt32 = try cursor.readInteger("seek table")
      let checksum: UInt32 = hasChecksums ? try cursor.readInteger("seek table") : 0
      // What has no content is empty or skippable, and may have any size.
      guard
        byteCount <= Self.frameByteLimit, byteCount == 0 || packed <= 2 * Self.frameByteLimit
      else {
        throw cursor.error(
          "seek table.frame[\(index)]",
          .unsupported(
            found: "a frame of \(byteCount) bytes in \(packed)",
            allowed: "frames of at most \(Self.frameByteLimit) bytes"),
          advice: "unpack the file with zstd -d")
      }
      // Memory is taken by what the table says, before the frame is looked at.
      guard UInt64(byteCount) <= ZstdFrame.contentByteLimit(packedByteCount: packed) else {
        throw cursor.error(
          "seek table.frame[\(index)]",
          .inconsistent("holds more than \(packed) bytes can: \(byteCount)"))
      }
      guard packed > 0, UInt64(packed) <= tableOffset - table.end.place else {
        throw cursor.error(
          "seek table.frame[\(index)]",
          .outOfRange(found: "\(packed) bytes", allowed: "1 to \(tableOffset - table.end.place)"))
      }
      table.append(packedByteCount: packed, byteCount: byteCount, checksum: checksum)
    }
    guard table.end.place == tableOffset else {
      throw cursor.error(
        "seek table",
        .inconsistent("its frames end at \(table.end.place), the table begins at \(tableOffset)"))
    }
    self.table = table
    contentByteCount = table.end.content
    frameByteLimit = table.frameByteLimit
    archiveNumber = FrameCache.shared.makeArchiveNumber(frameByteLimit: frameByteLimit)
  }

  deinit { FrameCache.shared.remove(archive: archiveNumber) }

  /// Those without content are counted, too.
  package var frameCount: Int { table.frameCount }
  package let frameByteLimit: Int

  package func frame(holding contentOffset: UInt64) -> ContentFrame {
    let frame = table.frame(holding: contentOffset)
    return ContentFrame(index: frame.index, content: frame.content)
  }

  package func contentFrame(_ index: Int) -> ContentFrame {
    ContentFrame(index: index, content: table[index].content)
  }

  package func place(of frame: ContentFrame) -> Range<UInt64> { table[frame.index].place }

  package func unpack(_ frame: ContentFrame, into buffer: UnsafeMutableRawBufferPointer)
    throws(FormatError)
  {
    let stored = table[frame.index]
    if stored.content.isEmpty, try isSkippable(stored) { return }
    let packedByteCount = Int(stored.place.upperBound - stored.place.lowerBound)
    // An empty frame is a header and an empty block; what is larger is not read for nothing, and no
    // memory was counted for it.
    guard !stored.content.isEmpty || packedByteCount <= Self.emptyFrameByteLimit else {
      throw error(
        stored,
        .unsupported(
          found: "no content in \(packedByteCount) bytes",
          allowed: "at most \(Self.emptyFrameByteLimit) bytes"))
    }
    let fault = try FrameDecoderPool.shared.withDecoder { decoder throws(FormatError) -> String? in
      let packed = decoder.packedBuffer(packedByteCount)
      try file.read(at: stored.place.lowerBound, into: packed, field: "frame[\(frame.index)]")
      return decoder.unpackZstd(
        UnsafeRawBufferPointer(packed), into: buffer, declaresByteCount: false)
    }
    if let fault { throw error(stored, .malformed(fault)) }
    if let checksum = stored.checksum,
      UInt32(truncatingIfNeeded: XXH64Hash.hash(UnsafeRawBufferPointer(buffer))) != checksum
    {
      throw error(
        stored, .inconsistent("its content does not have the checksum of the seek table"))
    }
  }

  /// Whether a frame without content is one that decoders skip, of exactly its size.
  private func isSkippable(_ frame: SeekTable.Frame) throws(FormatError) -> Bool {
    let byteCount = frame.place.upperBound - frame.place.lowerBound
    guard byteCount >= 8 else { return false }
    let header = try file.read(
      at: frame.place.lowerBound, count: 8, field: "frame[\(frame.index)]")
    return ZstdFrame.isSkippable(integer(header, at: 0, as: UInt32.self))
      && UInt64(integer(header, at: 4, as: UInt32.self)) == byteCount - 8
  }

  private func error(_ frame: SeekTable.Frame, _ reason: FormatError.Reason) -> FormatError {
    FormatError(
      file: file.path, fileOffset: frame.place.lowerBound, field: "frame[\(frame.index)]",
      reason: reason, advice: PackedTrailer.advice)
  }
}
