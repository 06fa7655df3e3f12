import ByteIO

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

  private let start: UInt64
  private let width: Int
  /// The axis along which the file is read; the one of the smallest step, of those the longest.
  private let inner: Axis
  /// The others that step through the file.
  private let outer: [Axis]
  /// Those along which every entry is the same, as in expanded tensors.
  private let repeated: [Axis]

  init(start: UInt64, width: Int, counts: [Int], strides: [Int]) {
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
    outer = stepping.sorted { $0.fileStride < $1.fileStride }
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
      try readRun(from: fileStart, to: memoryStart, buffer, scratch, reading)
    } while Self.advance(&indices, outer)
    for (number, axis) in repeated.enumerated() {
      fill(axis, others: [inner] + outer + repeated[..<number], buffer)
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
      let position = start + UInt64(fileStart + first * inner.fileStride)
      let target = memoryStart + first * inner.memoryStride
      if isDense {
        try reading(
          position,
          UnsafeMutableRawBufferPointer(rebasing: buffer[target..<target + count * width]))
      } else {
        let span = (count - 1) * inner.fileStride + width
        let piece = UnsafeMutableRawBufferPointer(rebasing: scratch[..<span])
        try reading(position, piece)
        copyElements(
          count, width, UnsafeRawBufferPointer(piece), 0, inner.fileStride, buffer, target,
          inner.memoryStride)
      }
      first += count
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

/// Copies `count` elements of `width` bytes between regular distances.
private func copyElements(
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
