import Tensors

/// One matrix of every expert of a layer.
package struct ExpertMatrices: Hashable, Sendable {
  enum Storage: Hashable, Sendable {
    /// `[experts, rows, columns]`.
    case stacked(TensorDescriptor)
    /// `[experts, columns, width]`: `rows` neighbours from `first` on in every column.
    case transposed(TensorDescriptor, first: Int)
    /// A tensor `[rows, columns]` for each expert, of a type of its own.
    case separate([TensorDescriptor])
  }

  let storage: Storage
  package let count: Int
  let rowCount: Int
  let columnCount: Int

  /// - Parameters:
  ///   - storage: holds tensors of the shapes that it says.
  ///   - shape: `[experts, rows, columns]`.
  init(_ storage: Storage, shape: Shape) {
    precondition(shape.rank == 3)
    self.storage = storage
    count = shape.dimensions[0]
    rowCount = shape.dimensions[1]
    columnCount = shape.dimensions[2]
  }

  package subscript(expert: Int) -> WeightMatrix {
    precondition(expert >= 0 && expert < count)
    switch storage {
    case .stacked(let tensor):
      return WeightMatrix(
        tensor, firstElement: expert * rowCount * columnCount, rowCount: rowCount,
        columnCount: columnCount, layout: .rows)
    case .transposed(let tensor, let first):
      let width = tensor.columnCount
      return WeightMatrix(
        tensor, firstElement: expert * columnCount * width + first, rowCount: rowCount,
        columnCount: columnCount, layout: .columns(stride: width))
    case .separate(let tensors):
      return WeightMatrix(tensors[expert])
    }
  }

  /// Kinds of matrices among them, for buffers: one, unless each has its own type.
  var kinds: [WeightMatrix] {
    guard case .separate(let tensors) = storage else { return count > 0 ? [self[0]] : [] }
    var types: Set<TensorType> = []
    return tensors.filter { types.insert($0.type).inserted }.map(WeightMatrix.init)
  }
}
