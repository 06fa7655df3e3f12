import ByteIO
import Synchronization
import Threads

/// What the workers of one packing run share.
///
/// Each takes the next frame, reads and packs it, waits until the frames before have a place, takes
/// the place behind them and writes there. So the bytes do not depend on who was faster.
final class PackingJob: Sendable {
  let file: OutputFile
  private let files: PackingInput
  private let options: PackingOptions
  private let cancellation: CancellationFlag
  private let progress: (@Sendable (PackingProgress) -> Void)?

  private let nextFrame = Atomic(0)
  private let finishedByteCount = Atomic(0)
  private let turnstile = Turnstile()
  private let placed = Guarded(Placed())
  private let firstFailure = Guarded<(frame: Int, error: any Error)?>(nil)

  /// Where frames ended so far, and what the tables need of them.
  private struct Placed: Sendable {
    var end: UInt64 = 0
    var ends: [UInt64] = []
    var checksums: [UInt64] = []
    var writtenBack: UInt64 = 0
  }
  static let bytesPerFrame = 16
  private static let writeBackByteCount: UInt64 = 32 << 20
  private static let prefetchedByteCount: UInt64 = 8 << 20

  init(
    _ files: PackingInput, _ options: PackingOptions, _ file: OutputFile,
    _ cancellation: CancellationFlag, _ progress: (@Sendable (PackingProgress) -> Void)?
  ) {
    self.files = files
    self.options = options
    self.file = file
    self.cancellation = cancellation
    self.progress = progress
    let frameCount = files.directory.frameCount
    let start = options.format == .ingot ? PackedFormat.headerByteCount : 0
    placed.withLock { placed in
      placed.end = start
      placed.ends.reserveCapacity(frameCount)
      placed.checksums.reserveCapacity(frameCount)
    }
  }

  var failure: (any Error)? { firstFailure.withLock { $0?.error } }

  private func fail(_ frame: Int, _ error: any Error) {
    firstFailure.withLock { failure in
      if let known = failure, known.frame <= frame { return }
      failure = (frame, error)
    }
    turnstile.stop()
  }

  /// Packs frames until there are none left.
  func work() {
    let directory = files.directory
    let buffer = UnsafeMutableRawBufferPointer.allocate(
      byteCount: files.frameByteCount, alignment: 64)
    defer { buffer.deallocate() }
    var frame = 0
    do {
      let encoder: any ContentEncoder =
        options.format == .ingot
        ? try FrameEncoder(options, contentByteLimit: files.frameByteCount)
        : try SeekableEncoder(options, contentByteLimit: files.frameByteCount)
      while true {
        frame = nextFrame.wrappingAdd(1, ordering: .relaxed).oldValue
        guard frame < directory.frameCount else { return }
        // A frame before the failed one is still tried: it may fail too, and comes first.
        guard firstFailure.withLock({ $0.map { frame < $0.frame } ?? true }) else { return }
        if cancellation.isCancelled {
          turnstile.stop()
          return
        }
        let region = directory.region(ofFrame: frame)
        let range = region.content(of: frame)
        let content = UnsafeMutableRawBufferPointer(
          rebasing: buffer[..<Int(range.upperBound - range.lowerBound)])
        try read(range, into: content)
        try pack(UnsafeRawBufferPointer(content), frame, region, encoder)
      }
    } catch {
      fail(frame, error)
    }
  }

  /// Bytes that the encoder of one worker allocates.
  static func encoderByteCount(_ options: PackingOptions, _ frameByteCount: Int) -> Int {
    options.format == .ingot
      ? FrameEncoder.byteCount(options, contentByteLimit: frameByteCount)
      : SeekableEncoder.byteCount(options, contentByteLimit: frameByteCount)
  }

  private func read(_ range: Range<UInt64>, into content: UnsafeMutableRawBufferPointer) throws {
    let index = files.directory.indexOfEntry(holding: range.lowerBound)
    let entry = files.directory.entries[index]
    let file = try files.file(index)
    let offset = range.lowerBound - entry.contentStart
    // Each window is asked for by the frame that begins the one before.
    let window = Self.prefetchedByteCount
    if offset == 0 || (offset - 1) / window != offset / window {
      let next = offset == 0 ? 0 : (offset / window + 1) * window
      file.prefetch(at: next, byteCount: Int(offset == 0 ? 2 * window : window))
    }
    try file.read(at: offset, into: content)
  }

  private func pack(
    _ content: UnsafeRawBufferPointer, _ frame: Int, _ region: PackedDirectory.Region,
    _ encoder: any ContentEncoder
  ) throws {
    let packed = try encoder.pack(content, region)
    let checksum =
      options.format == .ingot ? XXH3.hash64(content) : XXH64Hash.hash(content) & 0xFFFF_FFFF
    let place = turnstile.pass(frame) {
      placed.withLock { placed in
        let place = placed.end
        placed.end += UInt64(packed.count)
        placed.ends.append(placed.end)
        placed.checksums.append(checksum)
        return place
      }
    }
    guard let place else { return }
    try file.write(packed, at: place)
    startWriteBack(upTo: place)
    let done = finishedByteCount.wrappingAdd(content.count, ordering: .relaxed).newValue
    progress?(
      PackingProgress(
        finishedByteCount: UInt64(done), totalByteCount: files.directory.contentByteCount))
  }

  /// Has what lies some distance behind written to disk, so that the last sync has less to wait for.
  private func startWriteBack(upTo place: UInt64) {
    let start: UInt64? = placed.withLock { placed in
      guard place >= placed.writtenBack + 2 * Self.writeBackByteCount else { return nil }
      defer { placed.writtenBack += Self.writeBackByteCount }
      return placed.writtenBack
    }
    if let start { file.startWriteBack(at: start, byteCount: Self.writeBackByteCount) }
  }

  /// Writes what follows the frames.
  ///
  /// - Returns: bytes of the whole file.
  func finish() throws -> UInt64 {
    switch options.format {
    case .ingot: try writeTables()
    case .seekableZstd: try writeSeekTable()
    }
  }

  private func writeTables() throws -> UInt64 {
    let placed = placed.withLock { $0 }
    let directory = files.directory
    try file.write(PackedTrailer.header, at: 0)
    var offset = placed.end
    var start = PackedFormat.headerByteCount
    for first in stride(from: 0, to: placed.ends.count, by: PackedFormat.framesPerPage) {
      let last = min(first + PackedFormat.framesPerPage, placed.ends.count)
      var page = littleEndian(start)
      page.reserveCapacity(PackedFormat.pageByteCount)
      for frame in first..<last {
        page += littleEndian(placed.ends[frame]) + littleEndian(placed.checksums[frame])
      }
      page += [UInt8](repeating: 0, count: PackedFormat.pageChecksumOffset - page.count)
      page += littleEndian(XXH3.hash64(page))
      try file.write(page, at: offset)
      offset += UInt64(page.count)
      start = placed.ends[last - 1]
    }
    let bytes = directory.bytes
    let trailer = PackedTrailer(
      frameTableOffset: placed.end, frameCount: UInt64(placed.ends.count),
      directoryOffset: offset, directoryByteCount: UInt64(bytes.count),
      contentByteCount: directory.contentByteCount, directoryChecksum: XXH3.hash64(bytes))
    try file.write(bytes + trailer.bytes, at: offset)
    return offset + UInt64(bytes.count) + PackedFormat.trailerByteCount
  }

  /// Writes the table piece by piece: a large file's has tens of megabytes.
  private func writeSeekTable() throws -> UInt64 {
    let placed = placed.withLock { $0 }
    let byteCount = UInt64(placed.ends.count) * 12 + SeekableZstd.footerByteCount
    var offset = placed.end
    var piece = littleEndian(SeekableZstd.skippableMagic) + littleEndian(UInt32(byteCount))
    var start: UInt64 = 0
    for frame in placed.ends.indices {
      let content = files.directory.region(ofFrame: frame).content(of: frame)
      piece += littleEndian(UInt32(placed.ends[frame] - start))
      piece += littleEndian(UInt32(content.upperBound - content.lowerBound))
      piece += littleEndian(UInt32(truncatingIfNeeded: placed.checksums[frame]))
      start = placed.ends[frame]
      if piece.count >= Self.tablePieceByteCount {
        try file.write(piece, at: offset)
        offset += UInt64(piece.count)
        piece.removeAll(keepingCapacity: true)
      }
    }
    piece +=
      littleEndian(UInt32(placed.ends.count)) + [SeekableZstd.checksumFlag]
      + littleEndian(SeekableZstd.footerMagic)
    try file.write(piece, at: offset)
    return offset + UInt64(piece.count)
  }

  private static let tablePieceByteCount = 64 << 10
}
