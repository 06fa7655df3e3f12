import ByteIO
import Tensors
import Threads

/// Ranges of files that are hashed side by side, each by one thread from its first byte to its last.
///
/// Whole files are ranges like others: SHA-256 cannot be put together from parts, so the bytes of a
/// tensor are read for it and for its file, the second time most often from memory.
struct HashedRanges: Sendable {
  private struct Entry: Sendable {
    var file: Int
    var range: Range<UInt64>
    var field: String
  }

  private let files: [PositionalFile]
  private var entries: [Entry] = []

  init(files: [PositionalFile]) { self.files = files }

  /// Adds a range inside a file; returns its index in the result of `run`.
  mutating func add(file: Int, _ range: Range<UInt64>, field: String = "file") -> Int {
    entries.append(Entry(file: file, range: range, field: field))
    return entries.count - 1
  }

  /// Adds a tensor's only region.
  mutating func add(_ region: TensorDescriptor.Region) -> Int {
    add(
      file: region.file, region.fileOffset..<region.fileOffset + UInt64(region.byteCount),
      field: "data")
  }

  /// Hashes all.
  ///
  /// - Parameters:
  ///   - threadCount: ranges at a time; each takes a buffer of 1 MiB.
  ///   - isCancelled: asked between tiles.
  /// - Returns: 64 hexadecimal digits for each; `nil` when it was cancelled.
  /// - Throws: the failure of the first range that cannot be read.
  func run(threadCount: Int, isCancelled: @escaping @Sendable () -> Bool = { false })
    throws(FormatError) -> [String]?
  {
    // The longest first: no thread is left alone with a whole file in the end.
    let order = entries.indices.sorted {
      (entries[$1].range.count, $0) < (entries[$0].range.count, $1)
    }
    let work = Guarded(Work(count: entries.count))
    WorkerThreads.run(count: max(1, min(threadCount, entries.count))) { _ in
      while let place = work.withLock({ $0.take() }) {
        let index = order[place]
        let entry = entries[index]
        do throws(FormatError) {
          let hash = try files[entry.file].sha256(
            of: [entry.range], field: entry.field, isCancelled: isCancelled)
          work.withLock { $0.finish(index, hash) }
        } catch {
          work.withLock { $0.fail(index, error) }
        }
      }
    }
    let (hashes, failure, isCancelled) = work.withLock {
      ($0.hashes, $0.failure, $0.isCancelled)
    }
    if let failure { throw failure.error }
    return isCancelled ? nil : hashes
  }

  /// What the threads share.
  private struct Work: Sendable {
    private(set) var hashes: [String]
    private(set) var failure: (index: Int, error: FormatError)?
    private(set) var isCancelled = false
    private var next = 0

    init(count: Int) { hashes = [String](repeating: "", count: count) }

    mutating func take() -> Int? {
      guard next < hashes.count, failure == nil, !isCancelled else { return nil }
      next += 1
      return next - 1
    }

    mutating func finish(_ index: Int, _ hash: String?) {
      if let hash { hashes[index] = hash } else { isCancelled = true }
    }

    mutating func fail(_ index: Int, _ error: FormatError) {
      if let failure, failure.index < index { return }
      failure = (index, error)
    }
  }
}
