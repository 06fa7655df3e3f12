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
  private static let frameCountLimit = 1 << 21

  package let file: PositionalFile
  package let archiveNumber: UInt64
  package let contentByteCount: UInt64
  /// Frames with content.
  private let frames: [Frame]

  private struct Frame: Sendable {
    var place: UInt64
    var packedByteCount: UInt32
    var byteCount: UInt32
    var contentStart: UInt64
    var checksum: UInt32?
  }

  /// Whether a file may begin with this number; of empty content there is only the table.
  static func mayBegin(_ magic: UInt32) -> Bool {
    magic == ZstdFrame.magic || magic == skippableMagic
  }

  /// Whether a file that begins like Zstandard ends like a seek table.
  static func isIn(_ file: PositionalFile) throws(FormatError) -> Bool {
    guard file.byteCount >= footerByteCount + 8 else { return false }
    let end = try file.read(at: file.byteCount - 4, count: 4, field: "seek table.magic")
    return integer(end, at: 0, as: UInt32.self) == footerMagic
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
    var frames: [Frame] = []
    frames.reserveCapacity(Int(count))
    var place: UInt64 = 0
    var content: UInt64 = 0
    for index in 0..<count {
      let field = "seek table.frame[\(index)]"
      let packed: UInt32 = try cursor.readInteger(field)
      let byteCount: UInt32 = try cursor.readInteger(field)
      let checksum: UInt32? = hasChecksums ? try cursor.readInteger(field) : nil
      guard byteCount <= Self.frameByteLimit, packed <= 2 * Self.frameByteLimit else {
        throw cursor.error(
          field,
          .unsupported(
            found: "a frame of \(byteCount) bytes in \(packed)",
            allowed: "frames of at most \(Self.frameByteLimit) bytes"),
          advice: "unpack the file with zstd -d")
      }
      guard packed > 0, UInt64(packed) <= tableOffset - place else {
        throw cursor.error(
          field, .outOfRange(found: "\(packed) bytes", allowed: "1 to \(tableOffset - place)"))
      }
      if byteCount > 0 {
        frames.append(
          Frame(
            place: place, packedByteCount: packed, byteCount: byteCount, contentStart: content,
            checksum: checksum))
      }
      place += UInt64(packed)
      content += UInt64(byteCount)
    }
    guard place == tableOffset else {
      throw cursor.error(
        "seek table",
        .inconsistent("its frames end at \(place), the table begins at \(tableOffset)"))
    }
    self.frames = frames
    contentByteCount = content
    frameByteLimit = frames.map { Int(max($0.byteCount, $0.packedByteCount)) }.max() ?? 0
    archiveNumber = FrameCache.shared.makeArchiveNumber(frameByteLimit: frameByteLimit)
  }

  deinit { FrameCache.shared.remove(archive: archiveNumber) }

  package var frameCount: Int { frames.count }
  package let frameByteLimit: Int

  package func frame(holding contentOffset: UInt64) -> ContentFrame {
    var low = 0
    var high = frames.count - 1
    while low < high {
      let middle = (low + high + 1) / 2
      if frames[middle].contentStart <= contentOffset { low = middle } else { high = middle - 1 }
    }
    return contentFrame(low)
  }

  package func contentFrame(_ index: Int) -> ContentFrame {
    let start = frames[index].contentStart
    return ContentFrame(index: index, content: start..<start + UInt64(frames[index].byteCount))
  }

  package func place(of frame: ContentFrame) -> Range<UInt64> {
    let stored = frames[frame.index]
    return stored.place..<stored.place + UInt64(stored.packedByteCount)
  }

  package func unpack(_ frame: ContentFrame, into buffer: UnsafeMutableRawBufferPointer)
    throws(FormatError)
  {
    let stored = frames[frame.index]
    let fault = try FrameDecoderPool.shared.withDecoder { decoder throws(FormatError) -> String? in
      let packed = decoder.packedBuffer(Int(stored.packedByteCount))
      try file.read(at: stored.place, into: packed, field: "frame[\(frame.index)]")
      return decoder.unpackZstd(
        UnsafeRawBufferPointer(packed), into: buffer, declaresByteCount: false)
    }
    if let fault { throw error(frame, .malformed(fault)) }
    if let checksum = stored.checksum,
      UInt32(truncatingIfNeeded: XXH64Hash.hash(UnsafeRawBufferPointer(buffer))) != checksum
    {
      throw error(
        frame, .inconsistent("its content does not have the checksum of the seek table"))
    }
  }

  private func error(_ frame: ContentFrame, _ reason: FormatError.Reason) -> FormatError {
    FormatError(
      file: file.path, fileOffset: frames[frame.index].place, field: "frame[\(frame.index)]",
      reason: reason, advice: PackedTrailer.advice)
  }
}
