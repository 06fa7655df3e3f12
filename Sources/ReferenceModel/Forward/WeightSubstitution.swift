import ByteIO
import Quantizers
import Tensors

/// Weights of some tensors as a quantizer would leave them, made while a pass reads them.
///
/// What the model's output moves by then is what quantizing those tensors costs; no archive is
/// written for it.
package struct WeightSubstitution: Sendable {
  /// A tensor, or the experts of one, in other types.
  package struct Choice: Sendable {
    package var role: WeightRole
    /// One for all, or one for each expert; blocks of them fill the rows.
    package var types: [TensorType]
    /// `[experts × columns]`; `nil` where the types can do without.
    package var importance: [Float]?

    package init(role: WeightRole, types: [TensorType], importance: [Float]?) {
      self.role = role
      self.types = types
      self.importance = importance
    }
  }

  /// What is stored in place of one matrix.
  fileprivate struct Target: Sendable {
    var type: TensorType
    var importance: [Float]?
    /// Where the matrix's own row of importance begins.
    var firstImportance: Int
  }

  private let targets: [WeightMatrix: Target]

  /// - Parameters:
  ///   - choices: of matrices, or of experts' matrices; an embedding that serves as output is both.
  ///   - model: has them.
  package init(_ choices: [Choice], of model: ReferenceModel) {
    var targets: [WeightMatrix: Target] = [:]
    for choice in choices {
      let experts = model.experts[choice.role]
      let matrices =
        experts.map { experts in (0..<experts.count).map { experts[$0] } }
        ?? [WeightMatrix(model.weight(choice.role))]
      precondition(choice.types.count == 1 || choice.types.count == matrices.count)
      for (index, matrix) in matrices.enumerated() {
        targets[matrix] = Target(
          type: choice.types.count == 1 ? choice.types[0] : choice.types[index],
          importance: choice.importance, firstImportance: index * matrix.columnCount)
      }
    }
    self.targets = targets
  }

  /// One tensor, with all of its experts, in one type.
  package init(_ role: WeightRole, of model: ReferenceModel, type: TensorType, importance: [Float]?)
  {
    self.init([Choice(role: role, types: [type], importance: importance)], of: model)
  }

  /// Whether parts of a row would be quantized differently than the whole row.
  func needsWholeRows(of matrix: WeightMatrix) -> Bool {
    targets[matrix].map { $0.type.needsWholeRows && $0.importance != nil } ?? false
  }

  /// Quantizes and restores runs of a matrix that were read, in place.
  ///
  /// - Parameters:
  ///   - weights: runs, one behind the other: parts of rows, or of columns.
  ///   - matrix: that they are of; nothing happens where nothing takes its place.
  ///   - columns: of the matrix, whole blocks.
  ///   - kernels: quantize and dequantize.
  func apply(
    to weights: MatrixView, of matrix: WeightMatrix, columns: Range<Int>, _ kernels: KernelTable
  ) {
    guard let target = targets[matrix] else { return }
    switch matrix.layout {
    case .rows:
      target.requantize(weights, columns, kernels)
    case .columns:
      let buffer = FloatBuffer(count: weights.rowCount * weights.columnCount)
      withExtendedLifetime(buffer) {
        let turned = buffer.matrix(rows: weights.columnCount, columns: weights.rowCount)
        for row in 0..<turned.rowCount {
          for column in 0..<turned.columnCount {
            turned.row(row)[column] = weights.row(column)[row]
          }
        }
        target.requantize(turned, columns, kernels)
        for row in 0..<turned.rowCount {
          for column in 0..<turned.columnCount {
            weights.row(column)[row] = turned.row(row)[column]
          }
        }
      }
    }
  }
}

extension WeightSubstitution.Target {
  fileprivate func requantize(_ rows: MatrixView, _ columns: Range<Int>, _ kernels: KernelTable) {
    let count = rows.rowCount * rows.columnCount
    guard let byteCount = type.byteCount(weightCount: count) else {
      preconditionFailure("part of a block of \(type)")
    }
    let blocks = UnsafeMutableRawPointer.allocate(byteCount: max(1, byteCount), alignment: 64)
    defer { blocks.deallocate() }
    func quantize(_ importance: UnsafePointer<Float>?) {
      kernels.quantize(
        type, rows: rows.start, rowCount: rows.rowCount, columnCount: rows.columnCount,
        importance: importance, into: blocks)
    }
    if let importance {
      importance.withUnsafeBufferPointer { all in
        quantize(all.baseAddress.map { $0 + firstImportance + columns.lowerBound })
      }
    } else {
      quantize(nil)
    }
    kernels.dequantize(type, blocks: blocks, weightCount: count, into: rows.start)
  }
}
