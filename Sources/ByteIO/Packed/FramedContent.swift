/// Content that is stored in frames of bounded size, each of which is unpacked by itself.
package protocol FramedContent: AnyObject, Sendable {
  /// The packed file as it lies on disk.
  var file: PositionalFile { get }
  /// Tells its frames from those of others in the cache.
  var archiveNumber: UInt64 { get }
  var contentByteCount: UInt64 { get }
  var frameCount: Int { get }
  /// Content of the largest frame.
  var frameByteLimit: Int { get }

  /// A frame by its number.
  func contentFrame(_ index: Int) -> ContentFrame

  /// The frame that a byte of the content lies in.
  ///
  /// - Precondition: the byte is there.
  func frame(holding contentOffset: UInt64) -> ContentFrame

  /// Unpacks a frame and compares its checksum; `buffer` has exactly its size.
  func unpack(_ frame: ContentFrame, into buffer: UnsafeMutableRawBufferPointer)
    throws(FormatError)

  /// Where a frame lies in the file.
  func place(of frame: ContentFrame) throws(FormatError) -> Range<UInt64>
}

/// One frame and the content that it holds.
package struct ContentFrame: Hashable, Sendable {
  package var index: Int
  /// Counted in the content of the whole packed file.
  package var content: Range<UInt64>

  package var byteCount: Int { Int(content.upperBound - content.lowerBound) }
}

extension FramedContent {
  /// Fills `buffer` with content from `offset` on.
  ///
  /// Frames that are wanted whole go straight to their place; of others the cache keeps the rest.
  ///
  /// - Precondition: the content reaches so far.
  func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(FormatError) {
    var done = 0
    while done < buffer.count {
      let position = offset + UInt64(done)
      let frame = frame(holding: position)
      let skipped = Int(position - frame.content.lowerBound)
      let count = min(frame.byteCount - skipped, buffer.count - done)
      let target = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
      let key = FrameCache.Key(archive: archiveNumber, index: frame.index)
      if let bytes = FrameCache.shared.find(key) {
        target.copyMemory(from: .init(rebasing: bytes.bytes[skipped..<skipped + count]))
      } else if count == frame.byteCount {
        try unpack(frame, into: target)
      } else {
        let bytes = try CachedBytes(byteCount: frame.byteCount) { bytes throws(FormatError) in
          try unpack(frame, into: bytes)
        }
        FrameCache.shared.insert(bytes, key)
        target.copyMemory(from: .init(rebasing: bytes.bytes[skipped..<skipped + count]))
      }
      done += count
    }
  }

  /// Has the frames of a range read ahead.
  package func prefetch(at offset: UInt64, byteCount: Int) {
    guard offset < contentByteCount, byteCount > 0 else { return }
    let last = min(offset + UInt64(byteCount), contentByteCount) - 1
    guard let start = try? place(of: frame(holding: offset)).lowerBound,
      let end = try? place(of: frame(holding: last)).upperBound, end > start
    else { return }
    file.prefetch(at: start, byteCount: Int(end - start))
  }
}

/// A run of framed content that is one file's: what `PositionalFile` reads in place of bytes on disk.
package struct PackedContent: Sendable {
  let content: any FramedContent
  let start: UInt64
  let byteCount: UInt64
}
