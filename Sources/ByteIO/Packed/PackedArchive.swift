/// A packed file or folder whose header, trailer and directory were checked.
///
/// Frames and their checksums are checked when they are read. Source: formats/packed-archive.md
package final class PackedArchive: FramedContent {
  package let file: PositionalFile
  package let trailer: PackedTrailer
  package let directory: PackedDirectory
  package let archiveNumber: UInt64

  package var contentByteCount: UInt64 { directory.contentByteCount }
  package var frameCount: Int { directory.frameCount }
  package let frameByteLimit: Int

  init(_ file: PositionalFile) throws(FormatError) {
    self.file = file
    trailer = try PackedTrailer(file)
    directory = try PackedDirectory(file, trailer)
    frameByteLimit = directory.regions.lazy.map(\.frameByteCount).max() ?? 0
    archiveNumber = FrameCache.shared.makeArchiveNumber(frameByteLimit: frameByteLimit)
  }

  deinit { FrameCache.shared.remove(archive: archiveNumber) }

  /// A frame of the archive as the frame table has it.
  package struct Frame: Hashable, Sendable {
    package var index: Int
    package var place: Range<UInt64>
    /// XXH3-64 of the content.
    package var checksum: UInt64
  }

  // MARK: Frame table

  /// The place and checksum of a frame.
  package func frame(_ index: Int) throws(FormatError) -> Frame {
    let (number, slot) = index.quotientAndRemainder(dividingBy: PackedFormat.framesPerPage)
    let page = try page(number)
    let start = page.integer(at: 16 * slot - (slot == 0 ? 0 : 8), as: UInt64.self)
    return Frame(
      index: index, place: start..<page.integer(at: 8 + 16 * slot, as: UInt64.self),
      checksum: page.integer(at: 16 + 16 * slot, as: UInt64.self))
  }

  private func page(_ number: Int) throws(FormatError) -> CachedBytes {
    let key = FrameCache.Key(archive: archiveNumber, index: -1 - number)
    return try FrameCache.shared.bytes(key) { () throws(FormatError) in try readPage(number) }
  }

  private func pageOffset(_ number: Int) -> UInt64 {
    trailer.frameTableOffset + UInt64(number) * UInt64(PackedFormat.pageByteCount)
  }

  /// Reads a page; its frames lie one behind the other, between those of the pages beside it.
  private func readPage(_ number: Int) throws(FormatError) -> CachedBytes {
    let offset = pageOffset(number)
    let field = "frame table page[\(number)]"
    let page = try CachedBytes(byteCount: PackedFormat.pageByteCount) { bytes throws(FormatError) in
      try file.read(at: offset, into: bytes, field: field)
    }
    func error(_ member: String, _ position: Int, _ reason: FormatError.Reason) -> FormatError {
      FormatError(
        file: file.path, fileOffset: offset + UInt64(position), field: "\(field).\(member)",
        reason: reason)
    }
    let checked = UnsafeRawBufferPointer(rebasing: page.bytes[..<PackedFormat.pageChecksumOffset])
    guard
      XXH3.hash64(checked) == page.integer(at: PackedFormat.pageChecksumOffset, as: UInt64.self)
    else {
      throw error(
        "checksum", PackedFormat.pageChecksumOffset,
        .inconsistent("is not the checksum of the page"))
    }
    let firstFrame = number * PackedFormat.framesPerPage
    let count = min(PackedFormat.framesPerPage, directory.frameCount - firstFrame)
    var end = page.integer(at: 0, as: UInt64.self)
    let expected =
      number == 0 ? PackedFormat.headerByteCount : try endOfPage(number - 1)
    guard end == expected else {
      throw error(
        "start", 0,
        .inconsistent("is \(end), but the frame before ends at \(expected)"))
    }
    for slot in 0..<count {
      let region = directory.region(ofFrame: firstFrame + slot)
      let content = region.content(of: firstFrame + slot)
      let limit = PackedFormat.frameByteLimit(
        content: Int(content.upperBound - content.lowerBound), region.layout)
      let next = page.integer(at: 8 + 16 * slot, as: UInt64.self)
      guard next > end, next <= trailer.frameTableOffset, next - end <= UInt64(limit) else {
        throw error(
          "frame[\(firstFrame + slot)].end", 8 + 16 * slot,
          .outOfRange(
            found: "\(next)",
            allowed: "\(end + 1) to \(min(trailer.frameTableOffset, end + UInt64(limit)))"))
      }
      end = next
    }
    let isLast = firstFrame + count == directory.frameCount
    guard !isLast || end == trailer.frameTableOffset else {
      throw error(
        "end", 8 + 16 * (count - 1),
        .inconsistent(
          "the last frame ends at \(end), the frame table begins at \(trailer.frameTableOffset)"))
    }
    let unused = page.bytes[(8 + 16 * count)..<PackedFormat.pageChecksumOffset]
    guard unused.allSatisfy({ $0 == 0 }) else {
      throw error("unused", 8 + 16 * count, .malformed("is not zero"))
    }
    return page
  }

  /// Where the last frame of a full page ends.
  private func endOfPage(_ number: Int) throws(FormatError) -> UInt64 {
    let last = 8 + 16 * (PackedFormat.framesPerPage - 1)
    let bytes = try file.read(
      at: pageOffset(number) + UInt64(last), count: 8, field: "frame table page[\(number)]")
    return integer(bytes, at: 0, as: UInt64.self)
  }

  // MARK: Frames

  package func frame(holding contentOffset: UInt64) -> ContentFrame {
    let region = directory.region(holding: contentOffset)
    let index =
      region.firstFrame
      + Int((contentOffset - region.contentStart) / UInt64(region.frameByteCount))
    return ContentFrame(index: index, content: region.content(of: index))
  }

  package func contentFrame(_ index: Int) -> ContentFrame {
    ContentFrame(index: index, content: directory.region(ofFrame: index).content(of: index))
  }

  package func place(of frame: ContentFrame) throws(FormatError) -> Range<UInt64> {
    try self.frame(frame.index).place
  }

  package func unpack(_ frame: ContentFrame, into buffer: UnsafeMutableRawBufferPointer)
    throws(FormatError)
  {
    let stored = try self.frame(frame.index)
    let layout = directory.region(ofFrame: frame.index).layout
    try FrameDecoderPool.shared.withDecoder { decoder throws(FormatError) in
      let packed = decoder.packedBuffer(Int(stored.place.upperBound - stored.place.lowerBound))
      try file.read(at: stored.place.lowerBound, into: packed, field: "frame[\(frame.index)]")
      do throws(FrameDecoder.Fault) {
        try decoder.unpack(UnsafeRawBufferPointer(packed), layout, into: buffer)
      } catch {
        throw self.error(stored, error)
      }
    }
    guard XXH3.hash64(UnsafeRawBufferPointer(buffer)) == stored.checksum else {
      throw FormatError(
        file: file.path, fileOffset: stored.place.lowerBound, field: fieldName(frame.index),
        reason: .inconsistent("its content does not have the checksum of the frame table"),
        advice: PackedTrailer.advice)
    }
  }

  /// The headers of a frame's planes; what is in them is not looked at.
  package func planes(ofFrame index: Int) throws(FormatError) -> [PackedPlane] {
    let stored = try frame(index)
    let region = directory.region(ofFrame: index)
    let content = region.content(of: index)
    let frameByteCount = Int(stored.place.upperBound - stored.place.lowerBound)
    let bytes = try file.read(
      at: stored.place.lowerBound,
      count: min(PackedFormat.planeHeaderByteCount(region.layout), frameByteCount),
      field: "frame[\(index)]")
    var result: Result<[PackedPlane], FrameDecoder.Fault> = .success([])
    bytes.withUnsafeBytes { bytes in
      do throws(FrameDecoder.Fault) {
        result = .success(
          try FrameDecoder.headers(
            bytes, region.layout,
            contentByteCount: Int(content.upperBound - content.lowerBound),
            frameByteCount: frameByteCount))
      } catch {
        result = .failure(error)
      }
    }
    do throws(FrameDecoder.Fault) {
      return try result.get()
    } catch {
      throw self.error(stored, error)
    }
  }

  private func error(_ frame: Frame, _ fault: FrameDecoder.Fault) -> FormatError {
    FormatError(
      file: file.path, fileOffset: frame.place.lowerBound + UInt64(fault.offset),
      field: fieldName(frame.index, ".\(fault.field)"), reason: fault.reason,
      advice: PackedTrailer.advice)
  }

  /// A frame for errors, in a packed folder with the file whose content it holds: that one is
  /// damaged, and not the others.
  private func fieldName(_ frame: Int, _ part: String = "") -> String {
    guard directory.kind == .folder else { return "frame[\(frame)]\(part)" }
    let content = directory.region(ofFrame: frame).content(of: frame)
    let entry = directory.entries[directory.indexOfEntry(holding: content.lowerBound)]
    let name = "\(OutputFile.name(of: file.path))/\(entry.name.string)"
    let start = content.lowerBound - entry.contentStart
    let end = content.upperBound - entry.contentStart
    return "frame[\(frame)]\(part), bytes \(start) to \(end) of \(name)"
  }
}
