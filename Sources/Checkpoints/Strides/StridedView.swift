import ByteIO
import Tensors

/// How the entries of one tensor lie where they are read: first byte, shape and strides.
struct StridedView: Hashable, Sendable {
  /// Fills a buffer with runs of bytes, one behind the other.
  typealias Reading = (ByteRuns, UnsafeMutableRawBufferPointer) throws(FormatError) -> Void

  /// Bytes that are read at once of entries that do not lie together.
  static let scratchByteCount = 1 << 16

  let start: UInt64
  let bytesPerElement: Int
  let dimensions: [Int]
  /// In bytes.
  let strides: [Int]
  /// Whether the entries stand as they are wanted.
  let isContiguous: Bool
  /// From the first byte to the end of the last entry.
  let spanByteCount: Int

  /// - Parameters:
  ///   - start: position of the first entry.
  ///   - bytesPerElement: 1, 2, 4 or 8.
  ///   - all: dimensions, row-major.
  ///   - allStrides: bytes from entry to entry along each of them.
  init(start: UInt64, bytesPerElement: Int, dimensions all: [Int], strides allStrides: [Int]) {
    self.start = start
    self.bytesPerElement = bytesPerElement
    let isEmpty = all.contains(0)
    // Of a dimension with one entry the stride says nothing.
    var dimensions: [Int] = []
    var strides: [Int] = []
    for (dimension, stride) in zip(all, allStrides) where dimension != 1 {
      let byteStride = isEmpty ? 0 : stride
      // Two dimensions that follow each other without a step are one.
      if let last = strides.last, let outer = dimensions.last, !isEmpty,
        last == byteStride.multipliedReportingOverflow(by: dimension).partialValue, last != 0
      {
        dimensions[dimensions.count - 1] = outer * dimension
        strides[strides.count - 1] = byteStride
      } else {
        dimensions.append(dimension)
        strides.append(byteStride)
      }
    }
    self.dimensions = dimensions
    self.strides = strides
    isContiguous = isEmpty || dimensions.isEmpty || strides == [bytesPerElement]
    spanByteCount =
      isEmpty
      ? 0 : zip(dimensions, strides).reduce(bytesPerElement) { $0 + ($1.0 - 1) * $1.1 }
  }
}

extension StridedView {
  /// Fills `buffer` with the bytes of the logical tensor from `byteOffset` on.
  ///
  /// Memory beyond the buffer is one scratch area, whatever the strides.
  func read(
    at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer, by reading: Reading
  ) throws(FormatError) {
    guard !isContiguous else {
      try reading(ByteRuns(start: Int(start) + byteOffset, byteCount: buffer.count), buffer)
      return
    }
    let width = bytesPerElement
    var position = byteOffset
    var rest = buffer
    // An element that is cut at either end is read alone.
    while !rest.isEmpty {
      let (element, cut) = position.quotientAndRemainder(dividingBy: width)
      let byteCount: Int
      if cut != 0 || rest.count < width {
        byteCount = min(width - cut, rest.count)
        let target = UnsafeMutableRawBufferPointer(rebasing: rest[..<byteCount])
        try reading(
          ByteRuns(start: Int(start) + distance(to: element) + cut, byteCount: byteCount), target)
      } else {
        byteCount = rest.count / width * width
        let target = UnsafeMutableRawBufferPointer(rebasing: rest[..<byteCount])
        try gather(element..<element + byteCount / width, into: target, by: reading)
      }
      position += byteCount
      rest = UnsafeMutableRawBufferPointer(rebasing: rest[byteCount...])
    }
  }

  /// Bytes from the first entry to entry `element` of the row-major order.
  private func distance(to element: Int) -> Int {
    var (rest, distance) = (element, 0)
    for axis in dimensions.indices.reversed() {
      let (quotient, index) = rest.quotientAndRemainder(dividingBy: dimensions[axis])
      distance += index * strides[axis]
      rest = quotient
    }
    return distance
  }

  /// Cuts a run of entries into boxes, largest first, and reads each.
  private func gather(
    _ elements: Range<Int>, into buffer: UnsafeMutableRawBufferPointer, by reading: Reading
  ) throws(FormatError) {
    var next = elements.lowerBound
    while next < elements.upperBound {
      // The outermost axis at whose start the run stands, and of which one entry still fits.
      var axis = dimensions.count - 1
      var entryCount = 1
      while axis > 0, next % (entryCount * dimensions[axis]) == 0,
        entryCount * dimensions[axis] <= elements.upperBound - next
      {
        entryCount *= dimensions[axis]
        axis -= 1
      }
      let index = next / entryCount % dimensions[axis]
      let count = min(dimensions[axis] - index, (elements.upperBound - next) / entryCount)
      let place = (next - elements.lowerBound) * bytesPerElement
      let byteCount = count * entryCount * bytesPerElement
      let box = GatherBox(
        start: Int(start) + distance(to: next), width: bytesPerElement,
        counts: [count] + dimensions[(axis + 1)...], strides: Array(strides[axis...]))
      try box.read(
        into: UnsafeMutableRawBufferPointer(rebasing: buffer[place..<place + byteCount]),
        by: reading)
      next += count * entryCount
    }
  }
}
