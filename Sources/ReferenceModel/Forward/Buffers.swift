/// Numbers that the workers of a forward pass share.
///
/// Sendable because whoever hands out work gives every worker a part of its own to write.
final class FloatBuffer: @unchecked Sendable {
  let start: UnsafeMutablePointer<Float>
  let count: Int

  /// - Precondition: `count` is at least 1.
  init(count: Int) {
    precondition(count > 0)
    self.count = count
    start = UnsafeMutableRawPointer.allocate(byteCount: count * 4, alignment: 64)
      .bindMemory(to: Float.self, capacity: count)
  }

  deinit { UnsafeMutableRawPointer(start).deallocate() }

  /// A row-major matrix whose first entry is number `offset`.
  func matrix(rows: Int, columns: Int, at offset: Int = 0) -> MatrixView {
    precondition(offset >= 0 && rows * columns <= count - offset)
    return MatrixView(start: start + offset, rowCount: rows, columnCount: columns, stride: columns)
  }
}

/// A row-major matrix inside a buffer that outlives it; `FloatBuffer` says why it is Sendable.
struct MatrixView: @unchecked Sendable {
  let start: UnsafeMutablePointer<Float>
  let rowCount: Int
  let columnCount: Int
  /// Entries from one row to the next.
  let stride: Int

  var isEmpty: Bool { rowCount == 0 }

  subscript(rows rows: Range<Int>) -> MatrixView {
    precondition(rows.lowerBound >= 0 && rows.upperBound <= rowCount)
    return MatrixView(
      start: start + rows.lowerBound * stride, rowCount: rows.count, columnCount: columnCount,
      stride: stride)
  }

  subscript(columns columns: Range<Int>) -> MatrixView {
    precondition(columns.lowerBound >= 0 && columns.upperBound <= columnCount)
    return MatrixView(
      start: start + columns.lowerBound, rowCount: rowCount, columnCount: columns.count,
      stride: stride)
  }

  func row(_ index: Int) -> UnsafeMutablePointer<Float> { start + index * stride }
}
