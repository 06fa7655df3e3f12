import ByteIO
import Synchronization
import Threads

/// Packs a file, or a folder with all that is in it.
public struct Packer: Sendable {
  public let input: String
  public let output: String
  public let options: PackingOptions
  public var threadCount: Int
  public var memoryLimit: UInt64

  private let files: PackingInput

  /// Lists the files and reads their headers.
  ///
  /// - Throws: `FormatError` about the input, `PackingRefusal` when options or output do not go with
  ///   it. Nothing was written then.
  public init(
    _ input: String, output: String, options: PackingOptions, threadCount: Int,
    memoryLimit: UInt64
  ) throws {
    self.input = input
    self.output = output
    self.options = options
    self.threadCount = threadCount
    self.memoryLimit = memoryLimit
    if let level = options.level, !options.levels.contains(level) {
      throw PackingRefusal(
        "--level \(level): \(options.codec.rawValue) has levels \(options.levels.lowerBound) to "
          + "\(options.levels.upperBound)")
    }
    let isFolder = DirectoryListing.isFolder(input)
    if options.format == .seekableZstd {
      if isFolder { throw PackingRefusal("--format seekable-zstd takes a file, not a folder") }
      if options.codec == .lz4 { throw PackingRefusal("--format seekable-zstd has no lz4") }
    }
    if OutputFile.isSameFile(input, output)
      || isFolder && OutputFile.isInside(output, folder: input)
    {
      throw PackingRefusal("the output \(printable(output)) would be packed, too: choose another")
    }
    files = try PackingInput(input, options)
  }

  public var contentByteCount: UInt64 { files.directory.contentByteCount }
  package var frameCount: Int { files.directory.frameCount }

  /// Writes the packed file, and gives it its name when it is complete.
  ///
  /// - Throws: `FormatError` about the input, `OutputError`, or `PackingCancelled`; no output is left
  ///   then, and an old file of that name is as it was.
  public func run(
    cancellation: CancellationFlag = CancellationFlag(),
    progress: (@Sendable (PackingProgress) -> Void)? = nil
  ) throws -> PackingSummary {
    let start = ContinuousClock.now
    let workerCount = try workerCount()
    let job = PackingJob(files, options, try OutputFile(output), cancellation, progress)
    do {
      WorkerThreads.run(count: workerCount) { _ in job.work() }
      if let failure = job.failure { throw failure }
      if cancellation.isCancelled { throw PackingCancelled() }
      try files.checkUnchanged()
      let byteCount = try job.finish()
      if cancellation.isCancelled { throw PackingCancelled() }
      try job.file.commit()
      return PackingSummary(
        output: output, contentByteCount: contentByteCount, byteCount: byteCount,
        fileCount: files.files.count { $0 != nil }, frameCount: files.directory.frameCount,
        elapsed: ContinuousClock.now - start)
    } catch {
      job.file.discard()
      throw error
    }
  }

  /// Thread stacks, allocator slack and the run-time library's own growth.
  private static let bytesPerThread = 512 << 10
  private static let slack: UInt64 = 4 << 20

  /// As many threads as the memory limit has room for.
  private func workerCount() throws -> Int {
    let wanted = max(1, min(threadCount, files.directory.frameCount))
    let used =
      ProcessMemory.residentByteCount + Self.slack
      + UInt64(files.directory.frameCount) * UInt64(PackingJob.bytesPerFrame)
    guard
      let count = WorkerMemory.workerCount(
        atMost: wanted, limit: memoryLimit, needed: { used + UInt64(byteCount(threads: $0)) })
    else {
      let level = options.level.map { " with --level \($0)" } ?? ""
      throw PackingRefusal(
        WorkerMemory.refusal(limit: memoryLimit, needed: used + UInt64(byteCount(threads: 1)))
          + level)
    }
    return count
  }

  /// Bytes that so many workers take: encoders, what they read into, and what unpacks an input that is
  /// packed itself.
  package func byteCount(threads: Int) -> Int {
    threads
      * (files.frameByteCount + PackingJob.encoderByteCount(options, files.frameByteCount)
        + Self.bytesPerThread) + FrameCache.byteCount(threadCount: threads)
  }
}

/// The division of a memory limit among the workers of a run.
enum WorkerMemory {
  /// The largest count up to a limit for which memory suffices; `nil` when one worker is too many.
  static func workerCount(
    atMost wanted: Int, limit: UInt64, needed: (Int) -> UInt64
  ) -> Int? {
    guard needed(1) <= limit else { return nil }
    var (low, high) = (1, max(1, wanted))
    while low < high {
      let middle = (low + high + 1) / 2
      if needed(middle) <= limit { low = middle } else { high = middle - 1 }
    }
    return low
  }

  static func refusal(limit: UInt64, needed: UInt64) -> String {
    "--memory-limit \(limit) bytes is too small: this needs about \((needed >> 20) + 1)MiB"
  }
}

/// What a finished run did.
public struct PackingSummary: Sendable {
  public var output: String
  public var contentByteCount: UInt64
  public var byteCount: UInt64
  public var fileCount: Int
  public var frameCount: Int
  public var elapsed: Duration
  public var peakResidentByteCount = ProcessMemory.peakResidentByteCount

  /// Packed bytes over content; 1 for no content.
  public var ratio: Double {
    contentByteCount > 0 ? Double(byteCount) / Double(contentByteCount) : 1
  }
}
