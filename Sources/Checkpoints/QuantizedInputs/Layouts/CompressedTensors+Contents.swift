import ByteIO
import Tensors

/// What only the contents of the tensors beside a weight tell, looked at before anything is decoded.
extension QuantizedAssembly {
  /// Refuses zero points of a symmetric weight that are not zero: I32 in words, or any plain type.
  ///
  ///     bit p of a lane of words   set where p is the highest bit of a code: 2^(n−1) stands for zero
  func checkAllZero(
    _ tensor: TensorDescriptor, _ matrix: MatrixShape, _ grid: ScaleGrid,
    _ arithmetic: CompressedTensorsScheme.Arithmetic
  ) throws(FormatError) {
    let bits = arithmetic.bits
    let bitCount = matrix.rowCount * bits
    let width = grid.columnCount
    let isPacked =
      arithmetic.format == .packed && tensor.type == .i32
      && tensor.shape.dimensions == [bitCount.dividedUp(by: 32), width]
    try forEachPiece(of: tensor) { (offset, bytes) throws(FormatError) in
      var isZero = true
      if isPacked {
        var row = -1
        var (expected, mask): (UInt32, UInt32) = (0, 0)
        for index in 0..<bytes.count / 4 {
          if (offset / 4 + index) / width != row {
            row = (offset / 4 + index) / width
            (expected, mask) = (0, 0)
            // What lies behind the last code means nothing.
            for bit in 32 * row..<min(32 * row + 32, bitCount) {
              mask |= 1 << UInt32(bit % 32)
              if bit % bits == bits - 1 { expected |= 1 << UInt32(bit % 32) }
            }
          }
          let word = UInt32(
            littleEndian: bytes.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self))
          isZero = isZero && word & mask == expected
        }
      } else {
        isZero = bytes.allSatisfy { $0 == 0 }
      }
      guard isZero else {
        throw error(
          tensor,
          .inconsistent("holds zero points that are not zero, but its group says symmetric"))
      }
    }
  }

  /// The group of each column; `nil` where there is no tensor of them or it says −1 throughout.
  func groupOfColumn(
    _ base: String, _ matrix: MatrixShape, _ grid: ScaleGrid,
    _ arithmetic: CompressedTensorsScheme.Arithmetic
  ) throws(FormatError) -> TensorDescriptor? {
    guard let tensor = tensor("\(base).weight_g_idx") else { return nil }
    try check(tensor, types: [.i32], rank: 1)
    let columnCount = tensor.elementCount
    let missingCount = try checkGroups(tensor, groupCount: grid.columnCount)
    // What the library begins with and leaves where the order is that of the file.
    if missingCount == columnCount, columnCount == matrix.columnCount { return nil }
    guard missingCount == 0 else {
      throw error(
        tensor,
        .inconsistent("gives no group, -1, to \(missingCount) of \(columnCount) columns"))
    }
    guard columnCount == matrix.columnCount, case .group = arithmetic.granularity else {
      throw error(
        tensor,
        .inconsistent(
          "\(columnCount) entries for \(matrix.columnCount) columns with "
            + arithmetic.granularity.description))
    }
    return tensor
  }

  /// Looks at the group of every column, through one buffer.
  ///
  /// - Returns: how many columns have none, which is written as −1.
  /// - Throws: `FormatError` for a group that there is not.
  func checkGroups(
    _ tensor: TensorDescriptor, groupCount: Int
  ) throws(FormatError) -> Int {
    var missingCount = 0
    try forEachPiece(of: tensor) { (offset, bytes) throws(FormatError) in
      for index in 0..<bytes.count / 4 {
        let group = Int32(
          littleEndian: bytes.loadUnaligned(fromByteOffset: index * 4, as: Int32.self))
        if group == -1 { missingCount += 1 }
        guard group >= -1, group < groupCount else {
          throw error(
            tensor,
            .outOfRange(
              found: "group \(group) for column \(offset / 4 + index)",
              allowed: "0 to \(groupCount - 1)"))
        }
      }
    }
    return missingCount
  }

  /// Reads a tensor of any size through one buffer; pieces are whole 32-bit words, but the last.
  private func forEachPiece(
    of tensor: TensorDescriptor,
    _ body: (_ byteOffset: Int, UnsafeRawBufferPointer) throws(FormatError) -> Void
  ) throws(FormatError) {
    var scratch = ScratchBuffer()
    var offset = 0
    while offset < tensor.byteCount {
      let bytes = scratch.bytes(min(1 << 16, tensor.byteCount - offset))
      try source.read(tensor, at: offset, into: bytes)
      try body(offset, UnsafeRawBufferPointer(bytes))
      offset += bytes.count
    }
  }
}
