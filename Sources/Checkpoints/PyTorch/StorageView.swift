import ByteIO
import Tensors

/// How the entries of one tensor lie in a file: first byte, shape and strides.
struct StorageView: Hashable, Sendable {
  /// Bytes that are read at once of entries that do not lie together.
  static let scratchByteCount = 1 << 16

  /// Index of the record that the entries lie in.
  let record: Int
  let fileOffset: UInt64
  let bytesPerElement: Int
  let dimensions: [Int]
  /// In bytes.
  let strides: [Int]
  /// Whether the entries stand in the file as they are wanted.
  let isContiguous: Bool
  /// From the first byte to the end of the last entry.
  let spanByteCount: Int

  /// - Precondition: the view lies inside its storage, which the pickle reader checks.
  init(_ tensor: PickledTensor, record: Int, recordOffset: UInt64) {
    self.record = record
    bytesPerElement = tensor.type.bytesPerBlock
    let isEmpty = tensor.shape.dimensions.contains(0)
    fileOffset = recordOffset + UInt64(isEmpty ? 0 : tensor.firstElement * bytesPerElement)
    // Of a dimension with one entry the stride says nothing.
    var dimensions: [Int] = []
    var strides: [Int] = []
    for (dimension, stride) in zip(tensor.shape.dimensions, tensor.strides) where dimension != 1 {
      let byteStride = isEmpty ? 0 : stride * bytesPerElement
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

extension StorageView {
  /// Fills `buffer` with the bytes of the logical tensor from `byteOffset` on.
  ///
  /// Memory beyond the buffer is one scratch area, whatever the strides.
  func read(
    _ file: PositionalFile, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer,
    field: String
  ) throws(FormatError) {
    guard !isContiguous else {
      try file.read(at: fileOffset + UInt64(byteOffset), into: buffer, field: field)
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
        try file.read(
          at: fileOffset + UInt64(distance(to: element) + cut), into: target, field: field)
      } else {
        byteCount = rest.count / width * width
        let target = UnsafeMutableRawBufferPointer(rebasing: rest[..<byteCount])
        try gather(file, element..<element + byteCount / width, into: target, field: field)
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
    _ file: PositionalFile, _ elements: Range<Int>,
    into buffer: UnsafeMutableRawBufferPointer, field: String
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
      let start = (next - elements.lowerBound) * bytesPerElement
      let byteCount = count * entryCount * bytesPerElement
      let box = GatherBox(
        fileOffset: fileOffset + UInt64(distance(to: next)), width: bytesPerElement,
        counts: [count] + dimensions[(axis + 1)...], strides: Array(strides[axis...]))
      try box.read(
        file, into: UnsafeMutableRawBufferPointer(rebasing: buffer[start..<start + byteCount]),
        field: field)
      next += count * entryCount
    }
  }
}
