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
    _ source: any TensorSource, _ held: HeldStrips, at byteOffset: Int,
    into buffer: UnsafeMutableRawBufferPointer
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
      let limit = held.byteLimit.load(ordering: .relaxed)
      var rest = buffer
      while !rest.isEmpty {
        let start = byteOffset + buffer.count - rest.count
        let strip =
          limit > 0
          ? strip(of: tensor, first: Int(entries.start), holding: start, byteLimit: limit) : nil
        let piece = UnsafeMutableRawBufferPointer(
          rebasing: rest[..<min(rest.count, strip.map { $0.end - start } ?? rest.count)])
        func read(_ strip: HeldStrip?) throws(FormatError) {
          try entries.read(at: start, into: piece) { runs, bytes throws(FormatError) in
            if let strip, strip.holds(runs) {
              try strip.read(runs, into: bytes, from: source)
            } else {
              try source.read(tensor, runs: runs, into: bytes)
            }
          }
        }
        if let strip { try held.withStrip(strip.key, read) } else { try read(nil) }
        rest = UnsafeMutableRawBufferPointer(rebasing: rest[piece.count...])
      }
    }
  }

  /// The part of the source's rows that a byte of the stacked matrix comes from, and where the bytes
  /// of the stacked matrix that come from it end.
  ///
  /// - Returns: `nil` where a strip would spare nothing.
  private func strip(
    of source: TensorDescriptor, first: Int, holding byteOffset: Int, byteLimit: Int
  ) -> (key: HeldStrip.Key, end: Int)? {
    let width = source.type.bytesPerBlock
    let columnByteCount = columnCount * width
    guard columnByteCount > 0,
      let rowsPerStrip = rowsPerStrip(columnByteCount: columnByteCount, byteLimit: byteLimit)
    else { return nil }
    let (expert, row) = (byteOffset / columnByteCount).quotientAndRemainder(dividingBy: rowCount)
    let firstRow = row / rowsPerStrip * rowsPerStrip
    let endRow = min(firstRow + rowsPerStrip, rowCount)
    let stride = source.columnCount * width
    let key = HeldStrip.Key(
      tensor: source,
      runs: ByteRuns(
        start: expert * columnCount * stride + first + firstRow * width,
        byteCount: (endRow - firstRow) * width, count: columnCount, stride: stride))
    return (key, (expert * rowCount + endRow) * columnByteCount)
  }

  /// As many as fit, in strips of about one size whose borders are those of most chunks.
  private func rowsPerStrip(columnByteCount: Int, byteLimit: Int) -> Int? {
    let most = byteLimit / columnByteCount
    guard most < rowCount else { return rowCount }
    let unit = rowsReadTogether
    guard most >= 2 * unit else { return nil }
    let count = (rowCount + most - 1) / most
    let even = ((rowCount + count - 1) / count + unit - 1) / unit * unit
    return even <= most ? even : most / unit * unit
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
