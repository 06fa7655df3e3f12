import ByteIO
import Tensors

/// A matrix that activations are multiplied with, and how it lies in its tensor.
///
/// A row holds the weights of one output, a column those of one input:
///
///     rows        row 0, row 1, …           as linear layers and archives have them
///     columns     column 0, column 1, …     as fused experts have them; other matrices may lie
///                                            between one column and the next
package struct WeightMatrix: Hashable, Sendable {
  package enum Layout: Hashable, Sendable {
    case rows
    /// Elements from the beginning of one column to that of the next.
    case columns(stride: Int)
  }

  /// Parts of equal length that lie at equal distances in a tensor.
  package struct Runs: Hashable, Sendable {
    /// Element at which the first one begins.
    package var first: Int
    package var count: Int
    /// Elements of one.
    package var length: Int
    /// Elements from one to the next.
    package var stride: Int
  }

  package let tensor: TensorDescriptor
  /// Element of the tensor at which the matrix begins.
  package let firstElement: Int
  package let rowCount: Int
  package let columnCount: Int
  package let layout: Layout

  /// All of a tensor; a vector is one row.
  package init(_ tensor: TensorDescriptor) {
    self.init(
      tensor, firstElement: 0, rowCount: tensor.rowCount, columnCount: tensor.columnCount,
      layout: .rows)
  }

  init(
    _ tensor: TensorDescriptor, firstElement: Int, rowCount: Int, columnCount: Int, layout: Layout
  ) {
    self.tensor = tensor
    self.firstElement = firstElement
    self.rowCount = rowCount
    self.columnCount = columnCount
    self.layout = layout
  }

  package var type: TensorType { tensor.type }
  package var elementCount: Int { rowCount * columnCount }
  package var byteCount: Int { type.byteCount(weightCount: elementCount) ?? 0 }

  /// Where some rows, or a part of them, lie.
  ///
  /// In the layout of rows each run is a part of a row, else a part of a column.
  package func runs(rows: Range<Int>, columns: Range<Int>) -> Runs {
    precondition(rows.lowerBound >= 0 && rows.upperBound <= rowCount)
    precondition(columns.lowerBound >= 0 && columns.upperBound <= columnCount)
    switch layout {
    case .rows:
      return Runs(
        first: firstElement + rows.lowerBound * columnCount + columns.lowerBound,
        count: rows.count, length: columns.count, stride: columnCount)
    case .columns(let stride):
      return Runs(
        first: firstElement + columns.lowerBound * stride + rows.lowerBound, count: columns.count,
        length: rows.count, stride: stride)
    }
  }

  /// Has the source read some rows ahead; where columns lie together, all with the first ones.
  func prefetch(rows: Range<Int>, from source: any TensorSource) {
    var span = runs(rows: rows, columns: 0..<columnCount)
    if layout != .rows {
      guard rows.lowerBound == 0 else { return }
      span = runs(rows: 0..<rowCount, columns: 0..<columnCount)
    }
    let count = (span.count - 1) * span.stride + span.length
    guard count > 0, let offset = type.byteCount(weightCount: span.first),
      let byteCount = type.byteCount(weightCount: count)
    else { return }
    source.prefetch(tensor, at: offset, byteCount: byteCount)
  }
}

extension TensorSource {
  /// Fills `buffer` with runs of a tensor, one behind the other.
  ///
  /// - Precondition: runs begin and end with whole blocks, and the buffer has their size.
  package func read(
    _ tensor: TensorDescriptor, _ runs: WeightMatrix.Runs,
    into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    func bytes(_ weightCount: Int) -> Int {
      guard let bytes = tensor.type.byteCount(weightCount: weightCount) else {
        preconditionFailure("part of a block of \(tensor.type)")
      }
      return bytes
    }
    precondition(buffer.count == bytes(runs.count * runs.length))
    if runs.stride == runs.length || runs.count == 1 {
      try read(tensor, at: bytes(runs.first), into: buffer)
      return
    }
    let length = bytes(runs.length)
    for run in 0..<runs.count {
      try read(
        tensor, at: bytes(runs.first + run * runs.stride),
        into: UnsafeMutableRawBufferPointer(rebasing: buffer[run * length..<(run + 1) * length]))
    }
  }
}
