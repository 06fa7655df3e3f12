import ByteIO
import Tensors

extension ForwardPass {
  /// Reads a part of one row, or of a vector, in F32.
  func read(
    _ tensor: TensorDescriptor, row: Int, columns: Range<Int>, _ buffers: WorkerBuffers,
    into target: UnsafeMutablePointer<Float>
  ) throws(FormatError) {
    try read(
      tensor, WeightMatrix(tensor).runs(rows: row..<row + 1, columns: columns), buffers,
      into: target)
  }

  /// Reads runs of weights, whole blocks, in F32, one behind the other.
  private func read(
    _ tensor: TensorDescriptor, _ runs: WeightMatrix.Runs, _ buffers: WorkerBuffers,
    into target: UnsafeMutablePointer<Float>
  ) throws(FormatError) {
    let type = tensor.type
    let count = runs.count * runs.length
    guard let byteCount = type.byteCount(weightCount: count) else {
      preconditionFailure("part of a block of \(type)")
    }
    if type == .f32 {
      let bytes = UnsafeMutableRawBufferPointer(start: target, count: byteCount)
      try model.source.read(tensor, runs, into: bytes)
    } else {
      let bytes = UnsafeMutableRawBufferPointer(rebasing: buffers.stored[..<byteCount])
      try model.source.read(tensor, runs, into: bytes)
      guard let blocks = bytes.baseAddress else { return }
      kernels.dequantize(type, blocks: blocks, weightCount: count, into: target)
    }
    if let scale = model.scales[tensor.name] {
      for index in 0..<count { target[index] *= scale }
    }
  }

  /// `output = input · Wᵀ`, or added to it, for some rows of a weight matrix.
  func multiply(
    _ input: MatrixView, by matrix: WeightMatrix, rows: Range<Int>, into output: MatrixView,
    adds: Bool, _ library: MatrixLibrary, _ buffers: WorkerBuffers
  ) throws {
    if matrix.columnCount > scratch.tiling.columnCount(matrix.layout),
      substitution?.needsWholeRows(of: matrix) == true
    {
      // A tile of fewer rows, but whole ones.
      let rowLimit = max(1, buffers.weights.count / matrix.columnCount)
      for index in 0..<rows.count.partCount(of: rowLimit) {
        let part = rows.count.part(index, of: rowLimit)
        try multiply(
          input, by: matrix,
          tile: (
            rows.lowerBound + part.lowerBound..<rows.lowerBound + part.upperBound,
            0..<matrix.columnCount
          ),
          into: output[columns: part], adds: adds, library, buffers)
      }
      return
    }
    let partWidth = scratch.tiling.columnCount(matrix.layout)
    for index in 0..<matrix.columnCount.partCount(of: partWidth) {
      try multiply(
        input, by: matrix, tile: (rows, matrix.columnCount.part(index, of: partWidth)),
        into: output, adds: adds || index > 0, library, buffers)
    }
  }

  /// The same for some columns, all of which have room in the buffers.
  private func multiply(
    _ input: MatrixView, by matrix: WeightMatrix, tile: (rows: Range<Int>, columns: Range<Int>),
    into output: MatrixView, adds: Bool, _ library: MatrixLibrary, _ buffers: WorkerBuffers
  ) throws {
    let columns = tile.columns
    let runs = matrix.runs(rows: tile.rows, columns: columns)
    let weights = buffers.weights.matrix(rows: runs.count, columns: runs.length)
    try read(matrix.tensor, runs, buffers, into: weights.start)
    substitute(matrix, columns: columns, in: weights)
    // What lies column by column is multiplied as it lies.
    switch matrix.layout {
    case .rows:
      library.multiply(input[columns: columns], transposed: weights, into: output, adds: adds)
    case .columns:
      library.multiply(input[columns: columns], weights, into: output, adds: adds)
    }
  }

  /// Makes weights that were read what the substitution, if it is about them, would store.
  func substitute(_ matrix: WeightMatrix, columns: Range<Int>, in weights: MatrixView) {
    substitution?.apply(to: weights, of: matrix, columns: columns, kernels)
  }

  /// Adds a part of a bias to the columns that belong to it, if the model has that bias.
  func addBias(
    _ role: WeightRole, rows: Range<Int>, to output: MatrixView, _ buffers: WorkerBuffers
  ) throws {
    guard let tensor = model.weights[role] else { return }
    try read(tensor, row: 0, columns: rows, buffers, into: buffers.bias.start)
    VectorMath.add(buffers.bias.start, toRowsOf: output)
  }

  func prefetch(_ matrix: WeightMatrix, rows: Range<Int>) {
    matrix.prefetch(rows: rows, from: model.source)
  }
}
