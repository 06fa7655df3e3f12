import ByteIO
import Tensors

extension ForwardPass {
  /// Reads a part of one row, or of a vector, in F32.
  func read(
    _ tensor: TensorDescriptor, row: Int, columns: Range<Int>, _ buffers: WorkerBuffers,
    into target: UnsafeMutablePointer<Float>
  ) throws(FormatError) {
    try read(
      tensor, from: row * tensor.columnCount + columns.lowerBound, count: columns.count, buffers,
      into: target)
  }

  /// Reads neighbouring weights, whole blocks, in F32.
  private func read(
    _ tensor: TensorDescriptor, from first: Int, count: Int, _ buffers: WorkerBuffers,
    into target: UnsafeMutablePointer<Float>
  ) throws(FormatError) {
    let type = tensor.type
    let (offset, byteCount) = (Self.bytes(type, first), Self.bytes(type, count))
    if type == .f32 {
      let bytes = UnsafeMutableRawBufferPointer(start: target, count: byteCount)
      try model.source.read(tensor, at: offset, into: bytes)
    } else {
      let bytes = UnsafeMutableRawBufferPointer(rebasing: buffers.stored[..<byteCount])
      try model.source.read(tensor, at: offset, into: bytes)
      guard let blocks = bytes.baseAddress else { return }
      kernels.dequantize(type, blocks: blocks, weightCount: count, into: target)
    }
    if let scale = model.scales[tensor.name] {
      for index in 0..<count { target[index] *= scale }
    }
  }

  /// `output = input · Wᵀ`, or added to it, for some rows of a weight matrix.
  func multiply(
    _ input: MatrixView, by tensor: TensorDescriptor, rows: Range<Int>, into output: MatrixView,
    adds: Bool, _ library: MatrixLibrary, _ buffers: WorkerBuffers
  ) throws {
    let width = tensor.columnCount
    let partWidth = scratch.tiling.columnCount
    for index in 0..<width.partCount(of: partWidth) {
      let columns = width.part(index, of: partWidth)
      let weights = buffers.weights.matrix(rows: rows.count, columns: columns.count)
      if columns.count == width {
        try read(
          tensor, from: rows.lowerBound * width, count: rows.count * width, buffers,
          into: weights.start)
      } else {
        for row in 0..<rows.count {
          try read(
            tensor, row: rows.lowerBound + row, columns: columns, buffers, into: weights.row(row))
        }
      }
      library.multiply(
        input[columns: columns], transposed: weights, into: output, adds: adds || index > 0)
    }
  }

  /// Adds a part of a bias to the columns that belong to it, if the model has that bias.
  func addBias(
    _ role: WeightRole, rows: Range<Int>, to output: MatrixView, _ buffers: WorkerBuffers
  ) throws {
    guard let tensor = model.weights[role] else { return }
    try read(tensor, row: 0, columns: rows, buffers, into: buffers.bias.start)
    VectorMath.add(buffers.bias.start, toRowsOf: output)
  }

  func prefetch(_ tensor: TensorDescriptor, rows: Range<Int>) {
    model.source.prefetch(
      tensor, at: rows.lowerBound * tensor.bytesPerRow, byteCount: rows.count * tensor.bytesPerRow)
  }

  private static func bytes(_ type: TensorType, _ weightCount: Int) -> Int {
    guard let bytes = type.byteCount(weightCount: weightCount) else {
      preconditionFailure("part of a block of \(type)")
    }
    return bytes
  }
}
