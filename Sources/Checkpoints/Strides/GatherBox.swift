import ByteIO
import Tensors

/// Entries at regular distances along every axis, wanted in row-major order.
struct GatherBox {
  /// One axis: entries, bytes between them in the file, bytes between them in memory.
  private struct Axis {
    var count: Int
    var fileStride: Int
    var memoryStride: Int
  }

  /// Bytes from entry to entry up to which what lies between them is read along.
  private static let largestReadStride = 4096
  /// Most bytes of a run that is read to be turned: the scratch area then holds so many runs that
  /// whole cache lines are written.
  private static let longestTurnedRun = 2048

  private let start: Int
  private let width: Int
  /// The axis along which the file is read; the one of the smallest step, of those the longest.
  private let inner: Axis
  /// Of what stands together in the file and apart in memory, the axis along which the next such run
  /// is found: a transposed matrix has its columns read as runs and turned into rows.
  private let across: Axis?
  /// The others that step through the file.
  private let outer: [Axis]
  /// Those along which every entry is the same, as in expanded tensors.
  private let repeated: [Axis]

  init(start: Int, width: Int, counts: [Int], strides: [Int]) {
    self.start = start
    self.width = width
    var axes: [Axis] = []
    var memoryStride = width
    for (count, stride) in zip(counts, strides).reversed() {
      axes.append(Axis(count: count, fileStride: stride, memoryStride: memoryStride))
      memoryStride *= count
    }
    repeated = axes.filter { $0.fileStride == 0 && $0.count > 1 }
    var stepping = axes.filter { $0.fileStride != 0 && $0.count > 1 }
    func isBetter(_ a: Axis, _ b: Axis) -> Bool {
      a.fileStride == b.fileStride ? a.count > b.count : a.fileStride < b.fileStride
    }
    if let smallest = stepping.indices.min(by: { isBetter(stepping[$0], stepping[$1]) }) {
      inner = stepping.remove(at: smallest)
    } else {
      inner = Axis(count: 1, fileStride: width, memoryStride: width)
    }
    // Neighbours in the file one after the other.
    stepping.sort { $0.fileStride < $1.fileStride }
    across =
      inner.fileStride == width && inner.memoryStride != width && !stepping.isEmpty
      ? stepping.removeFirst() : nil
    outer = stepping
  }

  /// Fills `buffer`, which holds exactly the box.
  func read(
    into buffer: UnsafeMutableRawBufferPointer, by reading: StridedView.Reading
  ) throws(FormatError) {
    let scratch = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(StridedView.scratchByteCount, width), alignment: 16)
    defer { scratch.deallocate() }
    var indices = [Int](repeating: 0, count: outer.count)
    repeat {
      var (fileStart, memoryStart) = (0, 0)
      for (axis, index) in zip(outer, indices) {
        fileStart += index * axis.fileStride
        memoryStart += index * axis.memoryStride
      }
      if let across {
        try readTurned(across, from: fileStart, to: memoryStart, buffer, scratch, reading)
      } else {
        try readRun(from: fileStart, to: memoryStart, buffer, scratch, reading)
      }
    } while Self.advance(&indices, outer)
    let stepping = [inner, across].compactMap(\.self) + outer
    for (number, axis) in repeated.enumerated() {
      fill(axis, others: stepping + repeated[..<number], buffer)
    }
  }

  /// One run along the inner axis, in pieces that fit the scratch area.
  private func readRun(
    from fileStart: Int, to memoryStart: Int, _ buffer: UnsafeMutableRawBufferPointer,
    _ scratch: UnsafeMutableRawBufferPointer, _ reading: StridedView.Reading
  ) throws(FormatError) {
    let isDense = inner.fileStride == width && inner.memoryStride == width
    // Entries that lie far apart come one by one: what is between them is more than a read costs.
    let perPiece =
      isDense
      ? inner.count
      : inner.fileStride > Self.largestReadStride
        ? 1 : 1 + (scratch.count - width) / max(inner.fileStride, width)
    var first = 0
    while first < inner.count {
      let count = min(perPiece, inner.count - first)
      let position = start + fileStart + first * inner.fileStride
      let target = memoryStart + first * inner.memoryStride
      if isDense {
        try reading(
          ByteRuns(start: position, byteCount: count * width),
          UnsafeMutableRawBufferPointer(rebasing: buffer[target..<target + count * width]))
      } else {
        let span = (count - 1) * inner.fileStride + width
        let piece = UnsafeMutableRawBufferPointer(rebasing: scratch[..<span])
        try reading(ByteRuns(start: position, byteCount: span), piece)
        copyElements(
          count, width, UnsafeRawBufferPointer(piece), 0, inner.fileStride, buffer, target,
          inner.memoryStride)
      }
      first += count
    }
  }

  /// Runs along the inner axis, side by side along another, turned in the scratch area.
  private func readTurned(
    _ across: Axis, from fileStart: Int, to memoryStart: Int,
    _ buffer: UnsafeMutableRawBufferPointer, _ scratch: UnsafeMutableRawBufferPointer,
    _ reading: StridedView.Reading
  ) throws(FormatError) {
    let perRun = min(inner.count, Self.longestTurnedRun / width)
    for first in stride(from: 0, to: inner.count, by: perRun) {
      let entryCount = min(perRun, inner.count - first)
      let runsAtOnce = scratch.count / (entryCount * width)
      for firstRun in stride(from: 0, to: across.count, by: runsAtOnce) {
        let runs = ByteRuns(
          start: start + fileStart + first * width + firstRun * across.fileStride,
          byteCount: entryCount * width, count: min(runsAtOnce, across.count - firstRun),
          stride: across.fileStride)
        let block = UnsafeMutableRawBufferPointer(
          rebasing: scratch[..<(runs.count * runs.byteCount)])
        try reading(runs, block)
        turnElements(
          runs, width, UnsafeRawBufferPointer(block), buffer,
          memoryStart + first * inner.memoryStride + firstRun * across.memoryStride,
          entryStride: inner.memoryStride, runStride: across.memoryStride)
      }
    }
  }

  /// Copies what stands at the first entry of a repeated axis to all others.
  private func fill(_ axis: Axis, others: [Axis], _ buffer: UnsafeMutableRawBufferPointer) {
    var indices = [Int](repeating: 0, count: others.count)
    repeat {
      let start = zip(others, indices).reduce(0) { $0 + $1.0.memoryStride * $1.1 }
      copyElements(
        axis.count - 1, width, UnsafeRawBufferPointer(buffer), start, 0, buffer,
        start + axis.memoryStride, axis.memoryStride)
    } while Self.advance(&indices, others)
  }

  /// Counts up, first index fastest; `false` when all combinations were there.
  private static func advance(_ indices: inout [Int], _ axes: [Axis]) -> Bool {
    for position in indices.indices {
      indices[position] += 1
      if indices[position] < axes[position].count { return true }
      indices[position] = 0
    }
    return false
  }
}
