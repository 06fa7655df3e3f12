import Tensors

/// What one worker needs to multiply a tile of weights, or to attend.
final class WorkerBuffers: @unchecked Sendable {
  /// Bytes of a tile as its file holds it.
  let stored: UnsafeMutableRawBufferPointer
  /// The same in F32; or scores of queries.
  let weights: FloatBuffer
  /// Products of a tile of the up matrix, which wait for their gates.
  let product: FloatBuffer
  /// Part of a bias.
  let bias: FloatBuffer

  struct Sizes: Hashable {
    var stored = 1
    var weights: Int
    var product = 1
    var bias = 1

    var byteCount: Int { stored + (weights + product + bias) * 4 }

    init(_ models: [ReferenceModel], tokenCount: Int, contextLength: Int, tiling: ForwardTiling) {
      weights = tiling.queries(contextLength: contextLength) * contextLength
      for (role, tensor) in models.lazy.flatMap(\.weights) {
        if tensor.shape.rank == 1 {
          bias = max(bias, min(tiling.rowCount, tensor.elementCount))
          keep(tensor.type, tensor.elementCount)
          continue
        }
        keep(WeightMatrix(tensor), role, tokenCount, tiling)
        if role == .tokenEmbedding { keep(tensor.type, tensor.columnCount) }
      }
      for (role, matrices) in models.lazy.flatMap(\.experts) {
        for matrix in matrices.kinds { keep(matrix, role, tokenCount, tiling) }
      }
    }

    /// Makes room for a tile of a matrix.
    private mutating func keep(
      _ matrix: WeightMatrix, _ role: WeightRole, _ tokenCount: Int, _ tiling: ForwardTiling
    ) {
      let rows = min(tiling.rowCount(matrix.layout), matrix.rowCount)
      // One whole row at least, for types that cannot be cut.
      let tile = max(
        matrix.columnCount, rows * min(tiling.columnCount(matrix.layout), matrix.columnCount))
      weights = max(weights, tile)
      keep(matrix.type, tile)
      guard case .layer(_, let weight) = role else { return }
      if [.up, .sharedUp, .expertUp].contains(weight) {
        // Wider tiles get fewer tokens at a time.
        let tokens = min(tiling.tokenCount, tokenCount)
        product = max(product, rows, tokens * min(rows, tiling.rowCount))
      }
    }

    /// F32 is read where it is wanted.
    private mutating func keep(_ type: TensorType, _ weightCount: Int) {
      guard type != .f32 else { return }
      stored = max(stored, type.byteCount(weightCount: weightCount) ?? 0)
    }
  }

  init(_ sizes: Sizes) {
    stored = .allocate(byteCount: sizes.stored, alignment: 64)
    weights = FloatBuffer(count: sizes.weights)
    product = FloatBuffer(count: sizes.product)
    bias = FloatBuffer(count: sizes.bias)
  }

  deinit { stored.deallocate() }

  var byteCount: Int { stored.count + (weights.count + product.count + bias.count) * 4 }
}
