import ByteIO
import Tensors

/// One matrix of all experts of a layer, `[experts, rows, columns]`, and where it lies.
struct ExpertStack: Sendable {
  enum Content: Sendable {
    /// A tensor for each expert, in order; `[rows, columns]` each.
    case separate([TensorDescriptor])
    /// `[experts, columns, width]`, of which `rows` columns from `first` on are this matrix's rows.
    case transposed(TensorDescriptor, first: Int)
  }

  let descriptor: TensorDescriptor
  let content: Content

  private var rowCount: Int { descriptor.shape.dimensions[1] }
  private var columnCount: Int { descriptor.shape.dimensions[2] }

  /// Bytes that are wanted of one source row at least, so that calls and disks are used well.
  private static let preferredRunByteCount = 512

  /// Rows of one expert that are cheapest to read together; 1 where rows lie together.
  var rowsReadTogether: Int {
    guard case .transposed(let source, _) = content else { return 1 }
    return min(rowCount, Self.preferredRunByteCount / source.type.bytesPerBlock)
  }

  // MARK: Reading

  /// Fills `buffer` with bytes of the stacked matrix from `byteOffset` on.
  func read(
    _ source: any TensorSource, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    precondition(byteOffset >= 0 && byteOffset <= descriptor.byteCount - buffer.count)
    switch content {
    case .separate(let experts):
      let size = experts[0].byteCount
      var done = 0
      while done < buffer.count {
        let (expert, offset) = (byteOffset + done).quotientAndRemainder(dividingBy: size)
        let count = min(size - offset, buffer.count - done)
        try source.read(
          experts[expert], at: offset,
          into: UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count]))
        done += count
      }
    case .transposed(let tensor, let first):
      try readTransposed(tensor, first: first, source, at: byteOffset, into: buffer)
    }
  }

  /// Cuts the wanted range into blocks of whole rows and parts of single rows.
  private func readTransposed(
    _ tensor: TensorDescriptor, first: Int, _ source: any TensorSource, at byteOffset: Int,
    into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    let width = tensor.type.bytesPerBlock
    precondition(byteOffset % width == 0 && buffer.count % width == 0, "part of an element")
    var element = byteOffset / width
    let end = element + buffer.count / width
    let scratch = UnsafeMutableRawBufferPointer.allocate(
      byteCount: Self.scratchByteCount, alignment: 64)
    defer { scratch.deallocate() }
    while element < end {
      let (row, column) = element.quotientAndRemainder(dividingBy: columnCount)
      let (expert, inExpert) = row.quotientAndRemainder(dividingBy: rowCount)
      var rows = 1
      var columns = min(columnCount - column, end - element)
      if column == 0, columns == columnCount {
        rows = min(rowCount - inExpert, (end - element) / columnCount)
      } else {
        columns = min(columns, columnCount - column)
      }
      let start = (element * width) - byteOffset
      let block = Block(
        firstSource: (expert * columnCount + column) * tensor.columnCount + first + inExpert,
        sourceStride: tensor.columnCount, rows: rows, columns: columns, width: width)
      try block.read(
        tensor, source, scratch,
        into: UnsafeMutableRawBufferPointer(
          rebasing: buffer[start..<start + rows * columns * width]))
      element += rows * columns
    }
  }

  /// Room for some source rows before they are turned.
  static let scratchByteCount = 1 << 16

  func prefetch(_ source: any TensorSource, at byteOffset: Int, byteCount: Int) {
    switch content {
    case .separate(let experts):
      let size = experts[0].byteCount
      var done = 0
      while done < byteCount, size > 0 {
        let (expert, offset) = (byteOffset + done).quotientAndRemainder(dividingBy: size)
        guard expert < experts.count else { return }
        let count = min(size - offset, byteCount - done)
        source.prefetch(experts[expert], at: offset, byteCount: count)
        done += count
      }
    case .transposed(let tensor, _):
      // The first rows of an expert touch all its pages; they are asked for once.
      let expertByteCount = rowCount * columnCount * tensor.type.bytesPerBlock
      guard expertByteCount > 0, byteOffset % expertByteCount == 0 else { return }
      let slabByteCount = tensor.byteCount / descriptor.shape.dimensions[0]
      source.prefetch(
        tensor, at: byteOffset / expertByteCount * slabByteCount, byteCount: slabByteCount)
    }
  }
}

/// A rectangle of a transposed matrix.
///
///     source   columns × stride elements, of each of which `rows` neighbours are wanted
///     target   rows × columns elements without gaps
private struct Block {
  /// Element of the source tensor at which the rectangle begins.
  var firstSource: Int
  var sourceStride: Int
  var rows: Int
  var columns: Int
  /// Bytes of an element.
  var width: Int

  func read(
    _ tensor: TensorDescriptor, _ source: any TensorSource,
    _ scratch: UnsafeMutableRawBufferPointer, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    // Source rows that are hardly longer than what is wanted of them are read whole, many at once.
    let reads = rows * 4 > sourceStride ? sourceStride : rows
    let rowsAtOnce = reads == sourceStride ? max(1, scratch.count / (sourceStride * width)) : 1
    let runByteCount = rows * width
    if reads == sourceStride, sourceStride * width <= scratch.count {
      var column = 0
      while column < columns {
        let count = min(rowsAtOnce, columns - column)
        // The last one ends with what is wanted, which may be the end of the tensor.
        let span = ((count - 1) * sourceStride + rows) * width
        let piece = UnsafeMutableRawBufferPointer(rebasing: scratch[..<span])
        try source.read(
          tensor, at: (firstSource + column * sourceStride) * width, into: piece)
        for index in 0..<count {
          scatter(piece, from: index * sourceStride * width, rows, 0, column + index, buffer)
        }
        column += count
      }
      return
    }
    for column in 0..<columns {
      var done = 0
      while done < runByteCount {
        let count = min(scratch.count / width * width, runByteCount - done)
        let piece = UnsafeMutableRawBufferPointer(rebasing: scratch[..<count])
        try source.read(
          tensor, at: (firstSource + column * sourceStride) * width + done, into: piece)
        scatter(piece, from: 0, count / width, done / width, column, buffer)
        done += count
      }
    }
  }

  /// Writes `count` neighbours of the source into one column, from `firstRow` on.
  private func scatter(
    _ piece: UnsafeMutableRawBufferPointer, from start: Int, _ count: Int, _ firstRow: Int,
    _ column: Int, _ buffer: UnsafeMutableRawBufferPointer
  ) {
    func copy<T: BitwiseCopyable>(as type: T.Type) {
      guard let source = piece.baseAddress, let target = buffer.baseAddress else { return }
      let from = source + start
      let to = target + (firstRow * columns + column) * width
      for row in 0..<count {
        to.storeBytes(
          of: from.loadUnaligned(fromByteOffset: row * width, as: T.self),
          toByteOffset: row * columns * width, as: T.self)
      }
    }
    switch width {
    case 1: copy(as: UInt8.self)
    case 2: copy(as: UInt16.self)
    case 4: copy(as: UInt32.self)
    default: copy(as: UInt64.self)
    }
  }
}
