import ByteIO
import Tensors

/// Neighbouring columns of a matrix as it lies in a file, in memory.
///
///     file     row 0    ·······[ strip ]·······   block 0
///              row 1    ·······[       ]·······
///              row 2    ·······[       ]·······   block 1
///              …
///
/// Filled block by block, each by the first thread that wants it.
final class HeldStrip: Sendable {
  /// The strip's part of each row of a tensor.
  struct Key: Hashable, Sendable {
    var tensor: TensorDescriptor
    var runs: ByteRuns

    var byteCount: Int { runs.byteCount * runs.count }
  }

  let key: Key
  /// Somebody else's; each block is written by one thread under its lock, and read after it was found
  /// filled there.
  nonisolated(unsafe) private let storage: UnsafeMutableRawBufferPointer
  private let blocks: [Block]
  private let rowsPerBlock: Int

  private final class Block: Sendable { let isFilled = Guarded(false) }
  /// Enough for many threads to fill a strip together.
  private static let blockLimit = 64

  /// An empty strip in memory that is large enough and outlives it.
  init(_ key: Key, in storage: UnsafeMutableRawBufferPointer) {
    precondition(storage.count >= key.byteCount)
    self.key = key
    self.storage = storage
    rowsPerBlock = max(1, (key.runs.count + Self.blockLimit - 1) / Self.blockLimit)
    blocks = (0..<(key.runs.count + rowsPerBlock - 1) / rowsPerBlock).map { _ in Block() }
  }

  /// Whether all of `runs` is in the strip, with as many rows between them.
  func holds(_ runs: ByteRuns) -> Bool {
    let (row, column) = position(runs)
    return runs.start >= key.runs.start && (runs.stride == key.runs.stride || runs.count == 1)
      && column + runs.byteCount <= key.runs.byteCount && row + runs.count <= key.runs.count
  }

  private func position(_ runs: ByteRuns) -> (row: Int, column: Int) {
    let place = (runs.start - key.runs.start).quotientAndRemainder(dividingBy: key.runs.stride)
    return (place.quotient, place.remainder)
  }

  /// Fills `buffer` with runs that the strip holds; what is not there yet is read.
  func read(
    _ runs: ByteRuns, into buffer: UnsafeMutableRawBufferPointer, from source: any TensorSource
  ) throws(FormatError) {
    let (firstRow, column) = position(runs)
    var filled = -1
    for index in 0..<runs.count {
      let row = firstRow + index
      if row / rowsPerBlock != filled {
        filled = row / rowsPerBlock
        try require(filled, source)
      }
      let start = row * key.runs.byteCount + column
      runs.place(of: index, in: buffer).copyMemory(
        from: UnsafeRawBufferPointer(rebasing: storage[start..<start + runs.byteCount]))
    }
  }

  /// Returns when a block is filled.
  ///
  /// Where another thread fills it, the next one that nobody has begun is filled meanwhile.
  private func require(_ block: Int, _ source: any TensorSource) throws(FormatError) {
    if let result = tryFilling(block, source) {
      _ = try result.get()
      return
    }
    for other in blocks.indices.dropFirst(block + 1) {
      // A failure is found again by who wants that block.
      if case .success(true) = tryFilling(other, source) { break }
    }
    let result = blocks[block].isFilled.withLock {
      (isFilled: inout Bool) -> Result<Bool, FormatError> in
      fill(block, &isFilled, source)
    }
    _ = try result.get()
  }

  /// - Returns: whether there was something to do; `nil` where another thread is at it.
  private func tryFilling(_ block: Int, _ source: any TensorSource) -> Result<Bool, FormatError>? {
    blocks[block].isFilled.withLockIfAvailable {
      (isFilled: inout Bool) -> Result<Bool, FormatError> in
      fill(block, &isFilled, source)
    }
  }

  private func fill(
    _ block: Int, _ isFilled: inout Bool, _ source: any TensorSource
  ) -> Result<Bool, FormatError> {
    if isFilled { return .success(false) }
    let first = block * rowsPerBlock
    let runs = ByteRuns(
      start: key.runs.start(of: first), byteCount: key.runs.byteCount,
      count: min(rowsPerBlock, key.runs.count - first), stride: key.runs.stride)
    let place = first * runs.byteCount
    do throws(FormatError) {
      try source.read(
        key.tensor, runs: runs,
        into: UnsafeMutableRawBufferPointer(
          rebasing: storage[place..<place + runs.count * runs.byteCount]))
      isFilled = true
      return .success(true)
    } catch {
      return .failure(error)
    }
  }
}
