import Tensors

/// Copies `count` elements of `width` bytes between regular distances.
func copyElements(
  _ count: Int, _ width: Int, _ source: UnsafeRawBufferPointer, _ sourceStart: Int,
  _ sourceStride: Int, _ target: UnsafeMutableRawBufferPointer, _ targetStart: Int,
  _ targetStride: Int
) {
  func copy<T: BitwiseCopyable>(as type: T.Type) {
    var (from, to) = (sourceStart, targetStart)
    for _ in 0..<count {
      target.storeBytes(
        of: source.loadUnaligned(fromByteOffset: from, as: T.self), toByteOffset: to, as: T.self)
      from += sourceStride
      to += targetStride
    }
  }
  switch width {
  case 1: copy(as: UInt8.self)
  case 2: copy(as: UInt16.self)
  case 4: copy(as: UInt32.self)
  default: copy(as: UInt64.self)
  }
}

/// Copies runs that stand one behind the other to where their entries belong.
///
/// - Parameters:
///   - runs: their length and number.
///   - width: bytes of an entry.
///   - source: the runs.
///   - target: where to.
///   - targetStart: where the first entry of the first run goes.
///   - entryStride: bytes in `target` from entry to entry of a run.
///   - runStride: bytes in `target` from run to run.
func turnElements(
  _ runs: ByteRuns, _ width: Int, _ source: UnsafeRawBufferPointer,
  _ target: UnsafeMutableRawBufferPointer, _ targetStart: Int, entryStride: Int, runStride: Int
) {
  func turn<T: BitwiseCopyable>(as type: T.Type) {
    let entryCount = runs.byteCount / width
    // Few runs at a time, so that the lines of all of them stay in the nearest cache.
    for firstRun in stride(from: 0, to: runs.count, by: 32) {
      let lastRun = min(firstRun + 32, runs.count)
      for entry in 0..<entryCount {
        var from = firstRun * runs.byteCount + entry * width
        var to = targetStart + entry * entryStride + firstRun * runStride
        for _ in firstRun..<lastRun {
          target.storeBytes(
            of: source.loadUnaligned(fromByteOffset: from, as: T.self), toByteOffset: to,
            as: T.self)
          from += runs.byteCount
          to += runStride
        }
      }
    }
  }
  switch width {
  case 1: turn(as: UInt8.self)
  case 2: turn(as: UInt16.self)
  case 4: turn(as: UInt32.self)
  default: turn(as: UInt64.self)
  }
}
