import ByteIO
import Tensors

/// Scales of a weight, each of which holds for a rectangle of it.
///
///     one for the tensor   [] or [1]
///     one per row          [rows] or [rows, 1]
///     one per group        [rows, ⌈columns / size⌉]
///     one per block        [⌈rows / height⌉, ⌈columns / width⌉]
///
/// Leading dimensions, those of experts, are the same in both. The last block of a row or column
/// may be ragged.
struct ScaleGrid: Sendable {
  /// Types that scales may have.
  static let types: [TensorType] = [.f32, .f16, .bf16, .f8_E4M3, .u8, .f8_E8M0]

  var tensor: TensorDescriptor
  /// Scales of one row of the grid.
  var columnCount: Int
  /// Columns of the weight that share a scale.
  var blockWidth: Int
  /// Rows of the weight that share a scale.
  private var blockHeight: Int
  /// Rows of one matrix of the weight.
  private var matrixRowCount: Int
  /// Rows of the grid for one matrix.
  private var gridRowCount: Int
  /// A second scale for the whole tensor.
  var global: Global?

  enum Global: Hashable, Sendable {
    case divide(Float), multiply(Float)
  }

  /// Which rectangles a configuration asks for.
  enum Granularity: Hashable, Sendable {
    case tensor, row, group(Int), block(height: Int, width: Int)
    /// One per row, one per column or one for all, whatever the shape says.
    case byShape
  }

  /// Fits scales to a weight; `nil` when their shape does not.
  init?(_ tensor: TensorDescriptor, for weight: MatrixShape, _ granularity: Granularity) {
    guard Self.types.contains(tensor.type) else { return nil }
    self.tensor = tensor
    matrixRowCount = max(1, weight.rowCount)
    let dimensions = tensor.shape.dimensions
    switch granularity.resolved(tensor, weight) {
    case .tensor:
      guard tensor.elementCount == 1 else { return nil }
      // One scale for all matrices: they count as one.
      matrixRowCount = max(1, weight.rowCount * weight.matrixCount)
      (columnCount, gridRowCount, blockHeight) = (1, 1, matrixRowCount)
      blockWidth = max(1, weight.columnCount)
    case .row where dimensions == [weight.rowCount] && weight.matrixCount == 1:
      (columnCount, gridRowCount, blockHeight) = (1, matrixRowCount, 1)
      blockWidth = max(1, weight.columnCount)
    case .block(let height, let width):
      guard height > 0, width > 0, let grid = MatrixShape(tensor.shape),
        grid.matrixCount == weight.matrixCount,
        grid.rowCount == weight.rowCount.dividedUp(by: height),
        grid.columnCount == weight.columnCount.dividedUp(by: width)
      else { return nil }
      (columnCount, gridRowCount) = (grid.columnCount, grid.rowCount)
      (blockWidth, blockHeight) = (width, height)
    default: return nil
    }
  }

  /// What shares a scale, for the note to the user.
  var summary: String {
    let all = (blockHeight >= matrixRowCount, columnCount == 1)
    switch all {
    case (true, true): return "one scale per tensor"
    case (false, true) where blockHeight == 1: return "one scale per row"
    case (true, false) where blockWidth == 1: return "one scale per column"
    case _ where blockHeight == 1: return "groups of \(blockWidth)"
    default: return "blocks of \(blockHeight)×\(blockWidth)"
    }
  }

  /// Row of the grid that a row of the weight belongs to.
  func gridRow(_ row: Int) -> Int {
    row / matrixRowCount * gridRowCount + row % matrixRowCount / blockHeight
  }

  /// Reads the scales of some rows: all columns of the grid, or some of one row's.
  ///
  /// - Returns: `gridRows × gridColumns` values in `scratch.scales`.
  func read(
    gridRows: Range<Int>, gridColumns: Range<Int>, from source: any TensorSource,
    _ scratch: inout DecodeScratch
  ) throws(FormatError) -> UnsafeMutablePointer<Float> {
    let count = gridRows.count * gridColumns.count
    let width = tensor.type.bytesPerBlock
    let stored = scratch.stored.bytes(count * width)
    try source.read(
      tensor, at: (gridRows.lowerBound * columnCount + gridColumns.lowerBound) * width,
      into: stored)
    let values = scratch.scales.floats(count)
    tensor.type.loadScales(UnsafeRawBufferPointer(stored), count: count, into: values)
    switch global {
    case nil: break
    case .divide(let divisor): for index in 0..<count { values[index] /= divisor }
    case .multiply(let factor): for index in 0..<count { values[index] *= factor }
    }
    return values
  }
}

extension Int {
  /// Quotient rounded up; both at least 0, the divisor above.
  func dividedUp(by divisor: Int) -> Int { self / divisor + (self % divisor == 0 ? 0 : 1) }
}

extension ScaleGrid.Granularity {
  /// As rectangles of a certain size, where the shape of the scales or the weight decides it.
  fileprivate func resolved(_ scales: TensorDescriptor, _ weight: MatrixShape) -> Self {
    let height = max(1, weight.rowCount)
    let width = max(1, weight.columnCount)
    switch self {
    case .tensor, .block: return self
    case .row: return scales.shape.rank == 1 ? .row : .block(height: 1, width: width)
    case .group(let size): return .block(height: 1, width: size)
    case .byShape:
      if scales.elementCount == 1 { return .tensor }
      guard let grid = MatrixShape(scales.shape) else { return .row }
      // A dimension of one scale is shared; any other length has one scale per entry.
      return .block(
        height: grid.rowCount == 1 ? height : 1, width: grid.columnCount == 1 ? width : 1)
    }
  }
}
