import Quantizers
import Tensors
import Testing

/// Every kernel gives the bytes of the scalar one, whatever the rows and their number.
struct KernelEqualityTests {
  @Test(arguments: KernelTable.runnableHere.dropFirst(), quantizedTypes)
  func matchesScalarOnAdversarialRows(_ kernels: KernelTable, _ type: TensorType) {
    for (name, rows) in adversarialRows {
      let scalar = KernelTable.scalar.blocks(type, rows, columnCount: 512)
      #expect(kernels.blocks(type, rows, columnCount: 512) == scalar, "\(name)")
      #expect(
        kernels.weights(type, scalar).map(\.bitPattern)
          == KernelTable.scalar.weights(type, scalar).map(\.bitPattern), "\(name)")
      for (importanceName, importance) in adversarialImportance {
        #expect(
          kernels.blocks(type, rows, columnCount: 512, importance: importance)
            == KernelTable.scalar.blocks(type, rows, columnCount: 512, importance: importance),
          "\(name), importance \(importanceName)")
      }
    }
  }

  /// A lane that is left over must not change a block.
  ///
  /// Rows cut off one by one are the reference here: a block knows only its row.
  @Test(arguments: KernelTable.runnableHere, quantizedTypes)
  func blocksDoNotDependOnTheNumberOfRows(_ kernels: KernelTable, _ type: TensorType) {
    var random = Random(seed: 7)
    // Empty sub-blocks, which IQ3_S closes up after the block is written.
    let rows = (0..<37 * 256).map { $0 / 32 % 5 == 4 ? 0 : random.bell() }
    let importance = (0..<256).map { _ in random.uniform() }
    for weights in [nil, importance] {
      let apart = (0..<37).flatMap { row in
        kernels.blocks(
          type, Array(rows[row * 256..<row * 256 + 256]), columnCount: 256, importance: weights)
      }
      for rowCount in [1, 2, 3, 5, 8, 15, 16, 17, 37] {
        let together = kernels.blocks(
          type, Array(rows[..<(rowCount * 256)]), columnCount: 256, importance: weights)
        #expect(together == Array(apart[..<together.count]), "\(rowCount) rows")
      }
    }
  }

  /// Pointers into a file's bytes have any alignment.
  @Test(arguments: KernelTable.runnableHere, quantizedTypes)
  func writesInsideItsBlocksAtAnyAlignment(_ kernels: KernelTable, _ type: TensorType) throws {
    let rows = adversarialRows[0].weights
    let importance = [Float](repeating: 1, count: 512)
    let expected = kernels.blocks(type, rows, columnCount: 512, importance: importance)
    for shift in 1...3 {
      var bytes = [UInt8](repeating: 0xA5, count: expected.count + 8)
      bytes.withUnsafeMutableBytes { buffer in
        if let base = buffer.baseAddress {
          kernels.quantize(
            type, rows: rows, rowCount: 3, columnCount: 512, importance: importance,
            into: base + shift)
        }
      }
      #expect(bytes[..<shift].allSatisfy { $0 == 0xA5 })
      #expect(Array(bytes[shift..<shift + expected.count]) == expected)
      #expect(bytes[(shift + expected.count)...].allSatisfy { $0 == 0xA5 })

      var weights = [Float](repeating: -1, count: rows.count + 1)
      bytes.withUnsafeBytes { buffer in
        if let base = buffer.baseAddress {
          kernels.dequantize(
            type, blocks: base + shift, weightCount: rows.count, into: &weights)
        }
      }
      #expect(weights.last == -1)
      #expect(Array(weights.dropLast()) == kernels.weights(type, expected))
    }
  }

  @Test(arguments: KernelTable.runnableHere, quantizedTypes)
  func importanceOfZeroLeavesFiniteScales(_ kernels: KernelTable, _ type: TensorType) {
    let blocks = kernels.blocks(
      type, adversarialRows[0].weights, columnCount: 512,
      importance: [Float](repeating: 0, count: 512))
    #expect(kernels.firstInvalidBlock(type, blocks) == nil)
  }
}
