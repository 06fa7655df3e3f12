import ByteIO
import Quantizers
import ReferenceModel
import Tensors

/// Some rows of a pair, whole heads where rows are permuted.
struct ComparisonChunk: Hashable, Sendable {
  /// Index into the pairs.
  var pair: Int
  /// Of the candidate.
  var rows: Range<Int>

  /// Most weights of a chunk, unless a single head or row has more.
  static let preferredWeightCount = 1 << 18

  /// Rows of a chunk.
  static func rowCount(_ pair: TensorPair) -> Int {
    let unit = pair.rowsReadTogether
    return max(1, preferredWeightCount / max(1, pair.columnCount * unit)) * unit
  }

  /// Cuts all pairs.
  static func all(_ pairs: [TensorPair]) -> [ComparisonChunk] {
    var chunks: [ComparisonChunk] = []
    for (index, pair) in pairs.enumerated() {
      let wanted = rowCount(pair)
      for start in stride(from: 0, to: pair.rowCount, by: wanted) {
        chunks.append(
          ComparisonChunk(pair: index, rows: start..<min(start + wanted, pair.rowCount)))
      }
    }
    return chunks
  }
}

/// What comparing some rows gave.
struct ComparisonSums: Sendable {
  /// a is the candidate, b the reference.
  var products = VectorPair()
  var blocks = BlockFaults()

  static func += (sums: inout ComparisonSums, other: ComparisonSums) {
    sums.products += other.products
    sums.blocks.merge(other.blocks)
  }
}

/// Blocks that are worse than quantizing their source gives.
struct BlockFaults: Sendable {
  var count = 0
  /// The first one.
  var row = 0
  var column = 0
  /// Its relative RMS error, and that of the source quantized again.
  var error = 0.0
  var expectedError = 0.0

  mutating func merge(_ other: BlockFaults) {
    guard other.count > 0 else { return }
    let total = count + other.count
    if count == 0 || (other.row, other.column) < (row, column) { self = other }
    count = total
  }
}

/// One thread's buffers and the comparison of one chunk.
final class ComparisonWorker {
  private let reference: ReferenceModel
  private let candidate: ReferenceModel
  private let kernels: KernelTable
  private var bytes: [UInt8] = []
  /// Weights of the candidate.
  private(set) var a: [Float] = []
  /// Weights of the reference, rows in the candidate's order.
  private(set) var b: [Float] = []
  private var unordered: [Float] = []
  /// Columns that lie together, before they are turned.
  private var turned: [Float] = []
  private var quantized: [UInt8] = []
  private var restored: [Float] = []
  private var uniform: [Float] = []

  init(reference: ReferenceModel, candidate: ReferenceModel, kernels: KernelTable) {
    self.reference = reference
    self.candidate = candidate
    self.kernels = kernels
  }

  /// Compares a chunk, and looks at suspicious blocks again.
  func compare(_ pair: TensorPair, _ chunk: ComparisonChunk) throws -> ComparisonSums {
    try read(pair, rows: chunk.rows)
    var sums = ComparisonSums()
    kernels.compare(a, b, count: a.count, into: &sums.products)
    findFaultyBlocks(pair, rows: chunk.rows, &sums)
    return sums
  }

  /// Fills `a` and `b` with some rows.
  func read(_ pair: TensorPair, rows: Range<Int>, order: TensorPair.RowOrder? = nil) throws {
    try read(pair.candidate, candidate, rows, columns: pair.columnCount, into: &a)
    let order = order ?? pair.rows
    if order == .same {
      try read(pair.reference, reference, rows, columns: pair.columnCount, into: &b)
      return
    }
    // Whole heads: their rows are permuted among themselves.
    let period = order.period
    precondition(rows.lowerBound % period == 0 && rows.count % period == 0)
    try read(pair.reference, reference, rows, columns: pair.columnCount, into: &unordered)
    if b.count != unordered.count { b = unordered }
    let columns = pair.columnCount
    unordered.withUnsafeBufferPointer { from in
      b.withUnsafeMutableBufferPointer { to in
        guard let from = from.baseAddress, let to = to.baseAddress else { return }
        for row in rows {
          let source = order.referenceRow(row) - rows.lowerBound
          (to + (row - rows.lowerBound) * columns).update(
            from: from + source * columns, count: columns)
        }
      }
    }
  }

  /// Fills `b` with rows of another matrix of the reference.
  func readReference(_ matrix: WeightMatrix, rows: Range<Int>, columns: Int) throws {
    try read(matrix, reference, rows, columns: columns, into: &b)
  }

  /// Bytes that comparing a pair takes: source bytes, both sides in F32, and once more in the
  /// order of the source.
  static func byteCount(_ pair: TensorPair) -> Int {
    let rows = min(pair.rowCount, ComparisonChunk.rowCount(pair))
    return rows * pair.columnCount * (8 + 3 * 4)
  }

  private func read(
    _ matrix: WeightMatrix, _ model: ReferenceModel, _ rows: Range<Int>, columns: Int,
    into weights: inout [Float]
  ) throws {
    let count = rows.count * columns
    // Of some vectors each entry counts as a row.
    let runs =
      matrix.columnCount == columns
      ? matrix.runs(rows: rows, columns: 0..<columns) : matrix.runs(rows: 0..<1, columns: rows)
    guard let byteCount = matrix.type.byteCount(weightCount: count) else {
      preconditionFailure("rows of partial blocks of \(matrix.tensor.name)")
    }
    if bytes.count < byteCount { bytes = [UInt8](repeating: 0, count: byteCount) }
    if weights.count != count { weights = [Float](repeating: 0, count: count) }
    if matrix.layout != .rows {
      if turned.count < count { turned = [Float](repeating: 0, count: count) }
      try read(matrix.tensor, model, runs, into: &turned)
      Self.turn(turned, columns: columns, rows: rows.count, into: &weights)
    } else {
      try read(matrix.tensor, model, runs, into: &weights)
    }
  }

  /// Makes rows of columns that lie one behind the other.
  private static func turn(
    _ turned: [Float], columns: Int, rows: Int, into weights: inout [Float]
  ) {
    turned.withUnsafeBufferPointer { from in
      weights.withUnsafeMutableBufferPointer { to in
        for row in 0..<rows {
          for column in 0..<columns { to[row * columns + column] = from[column * rows + row] }
        }
      }
    }
  }

  /// Reads whole runs, one behind the other, for which there is room.
  private func read(
    _ tensor: TensorDescriptor, _ model: ReferenceModel, _ runs: WeightMatrix.Runs,
    into weights: inout [Float]
  ) throws {
    let count = runs.count * runs.length
    let byteCount = tensor.type.byteCount(weightCount: count) ?? 0
    var failure: FormatError?
    bytes.withUnsafeMutableBytes { bytes in
      let target = UnsafeMutableRawBufferPointer(rebasing: bytes[..<byteCount])
      do throws(FormatError) {
        try model.source.read(tensor, runs, into: target)
      } catch {
        failure = error
        return
      }
      weights.withUnsafeMutableBufferPointer { weights in
        guard let from = UnsafeRawPointer(target.baseAddress), let to = weights.baseAddress else {
          return
        }
        kernels.dequantize(tensor.type, blocks: from, weightCount: count, into: to)
      }
    }
    if let failure { throw failure }
    if let scale = model.scales[tensor.name] {
      for index in 0..<count { weights[index] *= scale }
    }
  }

  /// Compares one of the rows that were read.
  func compareRow(_ row: Int, columns: Int, into products: inout VectorPair) {
    a.withUnsafeBufferPointer { a in
      b.withUnsafeBufferPointer { b in
        guard let a = a.baseAddress, let b = b.baseAddress else { return }
        kernels.compare(
          a + row * columns, b + row * columns, count: columns, into: &products)
      }
    }
  }

  // MARK: Blocks

  /// Most blocks of a chunk that are quantized again: where more are bad, the tensor is.
  private static let suspectLimit = 64

  private func findFaultyBlocks(
    _ pair: TensorPair, rows: Range<Int>, _ sums: inout ComparisonSums
  ) {
    let type = pair.candidate.type
    let length = type.weightsPerBlock
    guard length > 1, let band = ErrorBand.unsuspicious(type), !a.isEmpty else { return }
    // Blocks of next to nothing may be all error.
    let floor = 1e-6 * sums.products.bb / Double(a.count) * Double(length)
    var suspects = 0
    for start in stride(from: 0, to: a.count, by: length) where suspects < Self.suspectLimit {
      var products = VectorPair()
      a.withUnsafeBufferPointer { a in
        b.withUnsafeBufferPointer { b in
          guard let a = a.baseAddress, let b = b.baseAddress else { return }
          kernels.compare(a + start, b + start, count: length, into: &products)
        }
      }
      // Written so that what is no number is looked at.
      if products.dd <= band * band * max(products.bb, floor) { continue }
      suspects += 1
      let expected = quantizedAgain(type, start: start, count: length)
      let allowed = ErrorBand.blockFactor * ErrorBand.blockFactor * max(expected.dd, floor)
      if products.dd <= allowed { continue }
      sums.blocks.merge(
        BlockFaults(
          count: 1, row: rows.lowerBound + start / pair.columnCount,
          column: start % pair.columnCount, error: products.relativeError,
          expectedError: expected.relativeError))
    }
  }

  /// How far some of the reference's weights are from themselves after a plain quantization.
  func quantizedAgain(_ type: TensorType, start: Int, count: Int) -> VectorPair {
    guard kernels.canQuantize(type), let byteCount = type.byteCount(weightCount: count) else {
      return VectorPair()
    }
    if quantized.count < byteCount { quantized = [UInt8](repeating: 0, count: byteCount) }
    if restored.count < count { restored = [Float](repeating: 0, count: count) }
    if uniform.count < count { uniform = [Float](repeating: 1, count: count) }
    var products = VectorPair()
    b.withUnsafeBufferPointer { b in
      quantized.withUnsafeMutableBytes { blocks in
        restored.withUnsafeMutableBufferPointer { restored in
          uniform.withUnsafeBufferPointer { uniform in
            guard let rows = b.baseAddress, let target = blocks.baseAddress,
              let weights = restored.baseAddress
            else { return }
            kernels.quantize(
              type, rows: rows + start, rowCount: 1, columnCount: count,
              importance: kernels.canQuantizeWithoutImportance(type) ? nil : uniform.baseAddress,
              into: target)
            kernels.dequantize(type, blocks: target, weightCount: count, into: weights)
            kernels.compare(weights, rows + start, count: count, into: &products)
          }
        }
      }
    }
    return products
  }
}
