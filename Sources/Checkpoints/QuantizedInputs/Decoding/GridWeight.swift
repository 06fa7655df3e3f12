import ByteIO
import Tensors

/// A weight whose codes lie row by row, with a grid of scales: most releases.
///
///     weight[r, c] = (code[r, c] − zero[g]) · scale[g] · factor        g: the rectangle of r, c
struct GridWeight: QuantizedWeight {
  var logical: TensorDescriptor
  var codes: TensorDescriptor
  var layout: CodeLayout
  var scales: ScaleGrid
  var zeroPoints: ZeroPoints?
  /// Group of each column, where columns were ordered by activation.
  var groupOfColumn: TensorDescriptor?
  /// Multiplied last.
  var factor: Float?

  /// Bytes of a row's codes.
  private var bytesPerRow: Int { codes.byteCount / max(1, logical.rowCount) }

  /// Numbers that stand for zero, one per scale.
  enum ZeroPoints: Sendable {
    /// Signed bytes, or floats, in the shape of the scales.
    case plain(TensorDescriptor)
    /// Packed along the rows: one word holds those of several rows, one per column of the grid.
    case packedRows(TensorDescriptor, bits: Int)
  }

  var summary: String {
    let kind =
      switch layout {
      case .e4m3: "FP8 E4M3"
      case .e5m2: "FP8 E5M2"
      case .int8: "INT8"
      case .packed(let bits): "INT\(bits)"
      case .e2m1: scales.blockWidth == 16 ? "NVFP4" : "MXFP4"
      }
    let order = groupOfColumn == nil ? "" : ", columns ordered by activation"
    return "\(kind)\(zeroPoints == nil ? "" : " with zero points"), \(scales.summary)\(order)"
  }

  func decode(
    rows: Range<Int>, columns: Range<Int>, from source: any TensorSource,
    _ scratch: inout DecodeScratch, into weights: UnsafeMutablePointer<Float>
  ) throws(FormatError) {
    try decodeCodes(rows: rows, columns: columns, from: source, &scratch, into: weights)
    let isWhole = columns.count == logical.columnCount
    if groupOfColumn != nil, !isWhole {
      try scaleByGroups(
        weights, columns, gridRow: scales.gridRow(rows.lowerBound), from: source, &scratch)
      if let factor { for index in 0..<columns.count { weights[index] *= factor } }
      return
    }
    let gridColumns =
      isWhole
      ? 0..<scales.columnCount
      : columns.lowerBound
        / scales.blockWidth..<columns.upperBound.dividedUp(
          by: scales.blockWidth)
    let firstGridRow = scales.gridRow(rows.lowerBound)
    let gridRows = firstGridRow..<scales.gridRow(rows.upperBound - 1) + 1
    let values = try scales.read(
      gridRows: gridRows, gridColumns: gridColumns, from: source, &scratch)
    let zeros = try readZeroPoints(
      gridRows: gridRows, gridColumns: gridColumns, from: source, &scratch)
    let groups = try readGroups(columns, from: source, &scratch)
    for row in rows {
      let line = weights + (row - rows.lowerBound) * columns.count
      let start = (scales.gridRow(row) - firstGridRow) * gridColumns.count
      if let groups {
        for index in 0..<columns.count {
          let group = start + Int(groups[index])
          line[index] = (line[index] - (zeros?[group] ?? 0)) * values[group]
        }
      } else {
        scale(
          line, columns, values + start, zeros.map { $0 + start }, from: gridColumns.lowerBound)
      }
      if let factor { for index in 0..<columns.count { line[index] *= factor } }
    }
  }

  /// Order of the columns of a tile by group, and the scales of one run of groups.
  var scratchByteCount: Int { groupOfColumn == nil ? 0 : 1 << 20 }

  /// Groups that may lie between two that are read together.
  private static let gapLimit = 16
  /// Groups that are read together.
  private static let runLimit = 1 << 15

  /// Scales a part of one row, whose groups lie anywhere, by reading those that occur.
  private func scaleByGroups(
    _ line: UnsafeMutablePointer<Float>, _ columns: Range<Int>, gridRow: Int,
    from source: any TensorSource, _ scratch: inout DecodeScratch
  ) throws(FormatError) {
    guard let groups = try readGroups(columns, from: source, &scratch) else { return }
    // Group in the high half, position in the tile in the low one.
    var order = (0..<columns.count).map { UInt64(groups[$0]) << 32 | UInt64($0) }
    order.sort()
    var start = 0
    while start < order.count {
      let first = Int(order[start] >> 32)
      var last = first
      var end = start + 1
      while end < order.count {
        let group = Int(order[end] >> 32)
        guard group - last <= Self.gapLimit, group - first < Self.runLimit else { break }
        last = group
        end += 1
      }
      let (gridRows, gridColumns) = (gridRow..<gridRow + 1, first..<last + 1)
      let values = try scales.read(
        gridRows: gridRows, gridColumns: gridColumns, from: source, &scratch)
      let zeros = try readZeroPoints(
        gridRows: gridRows, gridColumns: gridColumns, from: source, &scratch)
      for entry in order[start..<end] {
        let (index, slot) = (Int(entry & 0xFFFF_FFFF), Int(entry >> 32) - first)
        line[index] = (line[index] - (zeros?[slot] ?? 0)) * values[slot]
      }
      start = end
    }
  }

  private func scale(
    _ line: UnsafeMutablePointer<Float>, _ columns: Range<Int>,
    _ values: UnsafeMutablePointer<Float>, _ zeros: UnsafeMutablePointer<Float>?,
    from firstGroup: Int
  ) {
    var column = columns.lowerBound
    while column < columns.upperBound {
      let group = column / scales.blockWidth
      let end = min(columns.upperBound, (group + 1) * scales.blockWidth)
      let value = values[group - firstGroup]
      let run = line + (column - columns.lowerBound)
      if let zeros {
        let zero = zeros[group - firstGroup]
        for index in 0..<end - column { run[index] = (run[index] - zero) * value }
      } else {
        for index in 0..<end - column { run[index] *= value }
      }
      column = end
    }
  }

  private func decodeCodes(
    rows: Range<Int>, columns: Range<Int>, from source: any TensorSource,
    _ scratch: inout DecodeScratch, into weights: UnsafeMutablePointer<Float>
  ) throws(FormatError) {
    // A part of a row is one row, so what is read is one run in every case.
    let range = layout.byteRange(columns)
    let bytes = scratch.codes.bytes(rows.count == 1 ? range.count : rows.count * bytesPerRow)
    try source.read(
      codes, at: rows.lowerBound * bytesPerRow + range.lowerBound, into: bytes)
    guard let start = bytes.baseAddress else { return }
    for row in 0..<rows.count {
      layout.decode(
        start + row * bytesPerRow, columns: columns, into: weights + row * columns.count)
    }
  }

  private func readZeroPoints(
    gridRows: Range<Int>, gridColumns: Range<Int>, from source: any TensorSource,
    _ scratch: inout DecodeScratch
  ) throws(FormatError) -> UnsafeMutablePointer<Float>? {
    guard let zeroPoints else { return nil }
    let count = gridRows.count * gridColumns.count
    let zeros = scratch.zeroPoints.floats(count)
    switch zeroPoints {
    case .plain(let tensor):
      let width = tensor.type.bytesPerBlock
      let stored = scratch.stored.bytes(count * width)
      try source.read(
        tensor, at: (gridRows.lowerBound * scales.columnCount + gridColumns.lowerBound) * width,
        into: stored)
      if tensor.type == .i8 {
        for index in 0..<count { zeros[index] = Float(Int8(bitPattern: stored[index])) }
      } else {
        tensor.type.loadScales(UnsafeRawBufferPointer(stored), count: count, into: zeros)
      }
    case .packedRows(let tensor, let bits):
      let firstWord = gridRows.lowerBound * bits / 32
      let wordRows = firstWord..<(gridRows.upperBound * bits).dividedUp(by: 32)
      let width = gridColumns.count
      let stored = scratch.stored.bytes(wordRows.count * width * 4)
      // All columns are one run, some of them one per row of words.
      let runCount = width == scales.columnCount ? 1 : wordRows.count
      let runLength = stored.count / runCount
      for run in 0..<runCount {
        try source.read(
          tensor, at: ((firstWord + run) * scales.columnCount + gridColumns.lowerBound) * 4,
          into: UnsafeMutableRawBufferPointer(
            rebasing: stored[run * runLength..<(run + 1) * runLength]))
      }
      let words = PackedWords(bits: bits, stride: width, firstWord: firstWord, stored)
      for row in gridRows {
        let line = zeros + (row - gridRows.lowerBound) * gridColumns.count
        for column in gridColumns {
          line[column - gridColumns.lowerBound] =
            Float(words.code(row, lane: column - gridColumns.lowerBound))
            - Float(1 << (bits - 1))
        }
      }
    }
    return zeros
  }

  private func readGroups(
    _ columns: Range<Int>, from source: any TensorSource, _ scratch: inout DecodeScratch
  ) throws(FormatError) -> UnsafePointer<Int32>? {
    guard let groupOfColumn else { return nil }
    return try source.readGroups(
      groupOfColumn, columns, groupCount: scales.columnCount, &scratch)
  }
}

/// Codes packed along the first dimension of a matrix of little-endian 32-bit words.
///
/// Code `i` of a lane lies in bits `i·n…` of that lane's words, taken from top to bottom.
struct PackedWords {
  var bits: Int
  /// Words of one row, one per lane.
  var stride: Int
  /// Row of the matrix that `bytes` begins with.
  var firstWord: Int
  private var bytes: UnsafeRawBufferPointer

  init(bits: Int, stride: Int, firstWord: Int, _ bytes: UnsafeMutableRawBufferPointer) {
    self.bits = bits
    self.stride = stride
    self.firstWord = firstWord
    self.bytes = UnsafeRawBufferPointer(bytes)
  }

  func code(_ index: Int, lane: Int) -> UInt32 {
    let bit = index * bits
    let shift = bit % 32
    let row = bit / 32 - firstWord
    var value = word(row, lane) >> UInt32(shift)
    if shift + bits > 32 { value |= word(row + 1, lane) << UInt32(32 - shift) }
    return value & UInt32(1 << bits - 1)
  }

  @inline(__always)
  private func word(_ row: Int, _ lane: Int) -> UInt32 {
    UInt32(
      littleEndian: bytes.loadUnaligned(
        fromByteOffset: (row * stride + lane) * 4, as: UInt32.self))
  }
}

extension TensorSource {
  /// Reads which group each of some columns belongs to.
  ///
  /// - Throws: `FormatError` for a group that no scale exists for.
  func readGroups(
    _ tensor: TensorDescriptor, _ columns: Range<Int>, groupCount: Int,
    _ scratch: inout DecodeScratch
  ) throws(FormatError) -> UnsafePointer<Int32> {
    let bytes = scratch.groups.bytes(columns.count * 4)
    try read(tensor, at: columns.lowerBound * 4, into: bytes)
    let groups = bytes.bindMemory(to: Int32.self)
    for index in 0..<columns.count {
      let group = Int32(littleEndian: groups[index])
      guard group >= 0, group < groupCount else {
        throw error(
          tensor,
          .outOfRange(
            found: "group \(group) for column \(columns.lowerBound + index)",
            allowed: "0 to \(groupCount - 1)"))
      }
      groups[index] = group
    }
    guard let start = groups.baseAddress else {
      preconditionFailure("no columns of \(tensor.name)")
    }
    return UnsafePointer(start)
  }
}
