import ByteIO
import Quantizers
import Tensors

/// Weights of one tensor as a quantizer would leave them, made while a pass reads them.
///
/// What the model's output moves by then is what quantizing that tensor alone costs.
package struct WeightSubstitution: Sendable {
  package let type: TensorType
  /// Which expert each matrix is of; 0 where there is one.
  private let matrices: [WeightMatrix: Int]
  /// `[experts × columns]`, or `nil`.
  private let importance: [Float]?

  /// - Parameters:
  ///   - role: of a matrix, or of experts' matrices; an embedding that serves as output is both.
  ///   - model: has it.
  ///   - type: blocks of it fill the rows.
  ///   - importance: one row per expert; `nil` where the type can do without.
  package init(
    _ role: WeightRole, of model: ReferenceModel, type: TensorType, importance: [Float]?
  ) {
    self.type = type
    self.importance = importance
    if let experts = model.experts[role] {
      matrices = Dictionary(uniqueKeysWithValues: (0..<experts.count).map { (experts[$0], $0) })
    } else {
      matrices = [WeightMatrix(model.weight(role)): 0]
    }
  }

  func expert(of matrix: WeightMatrix) -> Int? { matrices[matrix] }

  /// Quantizes and restores runs of a matrix that were read, in place.
  ///
  /// - Parameters:
  ///   - weights: runs, one behind the other: parts of rows, or of columns.
  ///   - columns: of the matrix, whole blocks.
  func apply(
    to weights: MatrixView, layout: WeightMatrix.Layout, columns: Range<Int>, expert: Int,
    columnCount: Int, _ kernels: KernelTable
  ) {
    switch layout {
    case .rows:
      requantize(weights, columns, expert * columnCount, kernels)
    case .columns:
      let buffer = FloatBuffer(count: weights.rowCount * weights.columnCount)
      withExtendedLifetime(buffer) {
        let turned = buffer.matrix(rows: weights.columnCount, columns: weights.rowCount)
        for row in 0..<turned.rowCount {
          for column in 0..<turned.columnCount {
            turned.row(row)[column] = weights.row(column)[row]
          }
        }
        requantize(turned, columns, expert * columnCount, kernels)
        for row in 0..<turned.rowCount {
          for column in 0..<turned.columnCount {
            weights.row(column)[row] = turned.row(row)[column]
          }
        }
      }
    }
  }

  private func requantize(
    _ rows: MatrixView, _ columns: Range<Int>, _ firstImportance: Int, _ kernels: KernelTable
  ) {
    let count = rows.rowCount * rows.columnCount
    guard let byteCount = type.byteCount(weightCount: count) else {
      preconditionFailure("part of a block of \(type)")
    }
    let blocks = UnsafeMutableRawPointer.allocate(byteCount: max(1, byteCount), alignment: 64)
    defer { blocks.deallocate() }
    if let importance {
      importance.withUnsafeBufferPointer { all in
        kernels.quantize(
          type, rows: rows.start, rowCount: rows.rowCount, columnCount: rows.columnCount,
          importance: all.baseAddress.map { $0 + firstImportance + columns.lowerBound },
          into: blocks)
      }
    } else {
      kernels.quantize(
        type, rows: rows.start, rowCount: rows.rowCount, columnCount: rows.columnCount,
        importance: nil, into: blocks)
    }
    kernels.dequantize(type, blocks: blocks, weightCount: count, into: rows.start)
  }
}
