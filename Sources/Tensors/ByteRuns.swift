/// Runs of bytes of one length at one distance, as a strip of columns lies in a matrix.
///
///     start    start + stride    start + 2 · stride    …
///     [run]    [run]             [run]
public struct ByteRuns: Hashable, Sendable {
  /// First byte of the first run.
  public var start: Int
  /// Bytes of each run.
  public var byteCount: Int
  /// Number of runs.
  public var count: Int
  /// Bytes from the start of one run to the start of the next.
  public var stride: Int

  public init(start: Int, byteCount: Int, count: Int, stride: Int) {
    self.start = start
    self.byteCount = byteCount
    self.count = count
    self.stride = stride
  }

  /// One run.
  public init(start: Int, byteCount: Int) {
    self.init(start: start, byteCount: byteCount, count: 1, stride: byteCount)
  }

  /// First byte of run `index`.
  public func start(of index: Int) -> Int { start + index * stride }

  /// The same runs, counted from a place `distance` bytes earlier.
  public func moved(by distance: Int) -> ByteRuns {
    ByteRuns(start: start + distance, byteCount: byteCount, count: count, stride: stride)
  }

  /// Where run `index` stands in memory when all stand one behind the other.
  public func place(of index: Int, in buffer: UnsafeMutableRawBufferPointer)
    -> UnsafeMutableRawBufferPointer
  {
    UnsafeMutableRawBufferPointer(
      rebasing: buffer[(index * byteCount)..<((index + 1) * byteCount)])
  }
}
