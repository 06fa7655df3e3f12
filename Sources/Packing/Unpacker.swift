import ByteIO
import Synchronization
import Threads

/// Restores what was packed, or only checks that it could be.
public struct Unpacker: Sendable {
  public let input: String
  public var threadCount: Int
  public var memoryLimit: UInt64

  private let packed: OpenedPacked

  /// Opens a packed file; everything but the frames is checked.
  public init(_ input: String, threadCount: Int, memoryLimit: UInt64) throws {
    self.input = input
    self.threadCount = threadCount
    self.memoryLimit = memoryLimit
    if let inner = try PackedPath(input), inner.name != "", inner.exists {
      throw FormatError(
        file: input, field: "file",
        reason: .unsupported(found: "a part of a packed folder", allowed: "packed files, whole"),
        advice: "every other command reads it where it is; 'ingot unpack' restores all of "
          + printable(inner.container))
    }
    let file = try PositionalFile(plain: input)
    guard let packed = try OpenedPacked(file) else {
      if try SeekableZstd.isCutOff(file) {
        throw FormatError(
          file: input, fileOffset: file.byteCount, field: "seek table",
          reason: .missing("the table of frames, without which Zstandard cannot be read in part"),
          advice: "it may not be copied or downloaded completely; 'zstd -d' restores what is whole")
      }
      throw FormatError(
        file: input, fileOffset: 0, field: "magic",
        reason: .unsupported(
          found: "no packed file", allowed: "what 'ingot pack' writes, and seekable Zstandard"),
        advice: "stock tools restore what stock tools packed")
    }
    self.packed = packed
  }

  public var contentByteCount: UInt64 { packed.content.contentByteCount }

  /// Whether a folder was packed.
  public var isFolder: Bool { packed.singleFile == nil }

  /// Unpacks to a file or a folder of this name, which appears when it is complete.
  ///
  /// - Parameters:
  ///   - output: of a packed folder it must not exist, or be empty; `nil`: nothing is written, but
  ///     every frame is unpacked and its checksum compared.
  ///   - cancellation: looked at between frames.
  ///   - progress: called from any thread.
  /// - Returns: what was done.
  /// - Throws: `FormatError` about the packed file, `OutputError`, or `PackingCancelled`; nothing is
  ///   left then, and an old file of that name is as it was.
  public func run(
    to output: String?, cancellation: CancellationFlag = CancellationFlag(),
    progress: (@Sendable (PackingProgress) -> Void)? = nil
  ) throws -> UnpackingSummary {
    let start = ContinuousClock.now
    if let output, OutputFile.isSameFile(input, output) {
      throw PackingRefusal("the output \(printable(output)) is the packed file itself")
    }
    let workers = try workerCount()
    let target = try target(output)
    do {
      let job = UnpackingJob(packed.content, target, cancellation, progress)
      WorkerThreads.run(count: workers) { _ in job.work() }
      if let failure = job.failure { throw failure }
      if cancellation.isCancelled { throw PackingCancelled() }
      try packed.content.file.checkUnchanged()
      try target.commit()
    } catch {
      target.discard()
      throw error
    }
    return UnpackingSummary(
      output: output, contentByteCount: contentByteCount,
      byteCount: packed.content.file.byteCount, fileCount: fileCount,
      frameCount: packed.content.frameCount, elapsed: ContinuousClock.now - start)
  }

  /// As many threads as the memory limit has room for.
  private func workerCount() throws -> Int {
    let used = ProcessMemory.residentByteCount + (4 << 20)
    func needed(_ threads: Int) -> UInt64 {
      used + UInt64(FrameCache.byteCount(threadCount: threads) + threads * (512 << 10))
    }
    let wanted = min(threadCount, packed.content.frameCount)
    guard
      let count = WorkerMemory.workerCount(atMost: wanted, limit: memoryLimit, needed: needed)
    else { throw PackingRefusal(WorkerMemory.refusal(limit: memoryLimit, needed: needed(1))) }
    return count
  }

  private var fileCount: Int {
    if case .archive(let archive) = packed {
      archive.directory.entries.count { $0.kind == .file }
    } else {
      1
    }
  }

  private func target(_ output: String?) throws -> any UnpackingTarget {
    guard let output else { return DiscardingTarget() }
    if let free = OutputFile.freeByteCount(inFolderOf: output), free < contentByteCount {
      throw OutputError(
        path: output, step: .freeSpace,
        reason: "needs \(contentByteCount) bytes, \(free) are free")
    }
    if case .archive(let archive) = packed, archive.directory.kind == .folder {
      return try FolderTarget(archive.directory, OutputFolder(output))
    }
    let file = try OutputFile(output)
    try file.setByteCount(contentByteCount)
    return FileTarget(file: file)
  }
}

/// What a finished run did.
public struct UnpackingSummary: Sendable {
  /// `nil` when nothing was to be written.
  public var output: String?
  public var contentByteCount: UInt64
  /// Of the packed file.
  public var byteCount: UInt64
  public var fileCount: Int
  public var frameCount: Int
  public var elapsed: Duration
  public var peakResidentByteCount = ProcessMemory.peakResidentByteCount
}

/// What the workers of one unpacking run share.
private final class UnpackingJob: Sendable {
  private let content: any FramedContent
  private let target: any UnpackingTarget
  private let cancellation: CancellationFlag
  private let progress: (@Sendable (PackingProgress) -> Void)?
  private let nextFrame = Atomic(0)
  private let finishedByteCount = Atomic(0)
  private let firstFailure = Guarded<(frame: Int, error: any Error)?>(nil)

  init(
    _ content: any FramedContent, _ target: any UnpackingTarget, _ cancellation: CancellationFlag,
    _ progress: (@Sendable (PackingProgress) -> Void)?
  ) {
    self.content = content
    self.target = target
    self.cancellation = cancellation
    self.progress = progress
  }

  var failure: (any Error)? { firstFailure.withLock { $0?.error } }

  private static let prefetchedByteCount: UInt64 = 16 << 20

  /// Has the window after the next read ahead when a frame begins a new one.
  private func prefetch(behind frame: ContentFrame) {
    let window = Self.prefetchedByteCount
    let number = frame.content.lowerBound / window
    guard
      frame.index == 0
        || frame.content.lowerBound > 0 && (frame.content.lowerBound - 1) / window != number
    else { return }
    let start = frame.index == 0 ? 0 : (number + 1) * window
    content.prefetch(at: start, byteCount: Int(frame.index == 0 ? 2 * window : window))
  }

  func work() {
    var buffer = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    defer { buffer.deallocate() }
    while true {
      let index = nextFrame.wrappingAdd(1, ordering: .relaxed).oldValue
      guard index < content.frameCount, !cancellation.isCancelled,
        firstFailure.withLock({ $0.map { index < $0.frame } ?? true })
      else { return }
      let frame = content.contentFrame(index)
      if buffer.count < frame.byteCount {
        buffer.deallocate()
        buffer = .allocate(byteCount: frame.byteCount, alignment: 64)
      }
      do {
        prefetch(behind: frame)
        let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer[..<frame.byteCount])
        try content.unpack(frame, into: bytes)
        try target.write(UnsafeRawBufferPointer(bytes), at: frame.content.lowerBound)
      } catch {
        firstFailure.withLock { failure in
          if let known = failure, known.frame <= index { return }
          failure = (index, error)
        }
        return
      }
      let done = finishedByteCount.wrappingAdd(frame.byteCount, ordering: .relaxed).newValue
      progress?(
        PackingProgress(
          finishedByteCount: UInt64(done), totalByteCount: content.contentByteCount))
    }
  }
}
