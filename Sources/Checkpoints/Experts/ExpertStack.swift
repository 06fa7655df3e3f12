import ByteIO
import Tensors

/// One matrix of all experts of a layer, `[experts, rows, columns]`, and where it lies.
struct ExpertStack: Sendable {
  enum Content: Sendable {
    /// A tensor for each expert, in order; `[rows, columns]` each.
    case separate([TensorDescriptor])
    /// `[experts, columns, width]`, of which `rows` columns from `first` on are this matrix's rows.
    case transposed(TensorDescriptor, StridedView)
  }

  let descriptor: TensorDescriptor
  let content: Content

  /// A tensor for each expert.
  init(_ experts: [TensorDescriptor], descriptor: TensorDescriptor) {
    self.descriptor = descriptor
    content = .separate(experts)
  }

  /// - Parameters:
  ///   - tensor: `[experts, columns, width]`.
  ///   - first: the column of `tensor` that is the first row.
  ///   - descriptor: `[experts, rows, columns]`.
  init(transposed tensor: TensorDescriptor, first: Int, descriptor: TensorDescriptor) {
    self.descriptor = descriptor
    let width = tensor.type.bytesPerBlock
    let rowStride = tensor.columnCount * width
    let dimensions = descriptor.shape.dimensions
    content = .transposed(
      tensor,
      StridedView(
        start: UInt64(first * width), bytesPerElement: width, dimensions: dimensions,
        strides: [dimensions[2] * rowStride, width, rowStride]))
  }

  private var rowCount: Int { descriptor.shape.dimensions[1] }
  private var columnCount: Int { descriptor.shape.dimensions[2] }

  /// Bytes that are wanted of one source row at least, so that calls and disks are used well.
  private static let preferredRunByteCount = 512

  /// Rows of one expert that are cheapest to read together; 1 where rows lie together.
  var rowsReadTogether: Int {
    guard case .transposed(let source, _) = content else { return 1 }
    return min(rowCount, Self.preferredRunByteCount / source.type.bytesPerBlock)
  }

  // MARK: Reading

  /// Fills `buffer` with bytes of the stacked matrix from `byteOffset` on.
  func read(
    _ source: any TensorSource, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    precondition(byteOffset >= 0 && byteOffset <= descriptor.byteCount - buffer.count)
    switch content {
    case .separate(let experts):
      let whole = EqualParts(byteCount: experts[0].byteCount)
      try whole.forEach(in: byteOffset..<byteOffset + buffer.count) {
        (expert, offset, place) throws(FormatError) in
        try source.read(
          experts[expert], at: offset, into: UnsafeMutableRawBufferPointer(rebasing: buffer[place]))
      }
    case .transposed(let tensor, let entries):
      try entries.read(at: byteOffset, into: buffer) { runs, bytes throws(FormatError) in
        try source.read(tensor, runs: runs, into: bytes)
      }
    }
  }

  func prefetch(_ source: any TensorSource, at byteOffset: Int, byteCount: Int) {
    switch content {
    case .separate(let experts):
      let end = min(byteOffset + byteCount, descriptor.byteCount)
      let whole = EqualParts(byteCount: experts[0].byteCount)
      whole.forEach(in: byteOffset..<max(byteOffset, end)) { expert, offset, place in
        source.prefetch(experts[expert], at: offset, byteCount: place.count)
      }
    case .transposed(let tensor, _):
      // The first rows of an expert touch all its pages; they are asked for once.
      let expertByteCount = rowCount * columnCount * tensor.type.bytesPerBlock
      guard expertByteCount > 0, byteOffset % expertByteCount == 0 else { return }
      let slabByteCount = tensor.byteCount / descriptor.shape.dimensions[0]
      source.prefetch(
        tensor, at: byteOffset / expertByteCount * slabByteCount, byteCount: slabByteCount)
    }
  }
}
