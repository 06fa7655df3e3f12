import ByteIO
import Tensors

/// A weight of GPTQ or AWQ: the file holds the transpose, so a row of the logical weight is a
/// column of the codes.
///
///     weight[r, c] = (code[c, r] − zero[g, r]) · scale[g, r]        g: the group of column c
///
/// It is decoded in slabs of some rows and columns, so that every read of the file gets the codes
/// of many neighbouring rows at once.
struct TransposedWeight: Sendable {
  var logical: TensorDescriptor
  var codes: TensorDescriptor
  /// Groups by rows.
  var scales: TensorDescriptor
  /// Packed along the rows.
  var zeroPoints: TensorDescriptor
  var groupLength: Int
  var parameters: Parameters

  /// What all weights of one method share, and the group of each column.
  struct Parameters: Sendable {
    var packing: Packing
    var bits: Int
    /// Added to each stored zero point, modulo 2^bits: the first GPTQ format stores one too small.
    var zeroCorrection: UInt32
    /// `nil` where groups are runs of `groupLength` columns.
    var groupOfColumn: TensorDescriptor?
    /// For the note to the user.
    var method: String
  }

  private var packing: Packing { parameters.packing }
  private var bits: Int { parameters.bits }
  private var groupOfColumn: TensorDescriptor? { parameters.groupOfColumn }

  enum Packing: Hashable, Sendable {
    /// A word holds neighbouring columns of one row: `[columns · bits / 32, rows]`.
    case alongColumns
    /// A word holds eight neighbouring rows of one column, interleaved: `[columns, rows / 8]`.
    ///
    /// Row 8w+i lies in bits 4·p … 4·p+3, p = [0, 4, 1, 5, 2, 6, 3, 7][i].
    case interleavedRows
  }

  /// Position in a word of each of eight rows.
  private static let interleaving = [0, 4, 1, 5, 2, 6, 3, 7]

  var groupCount: Int { scales.shape.dimensions[0] }

  var summary: String {
    let order = groupOfColumn == nil ? "" : ", group of each column stored"
    let groups =
      groupCount == 1 ? "one scale per row" : "groups of \(groupLength)"
    return "\(parameters.method) \(bits) bits, \(groups)\(order)"
  }

  /// Decodes a rectangle into `rows × columns` values, row-major, in F32.
  func decode(
    rows: Range<Int>, columns: Range<Int>, from source: any TensorSource,
    _ scratch: inout DecodeScratch, into weights: UnsafeMutablePointer<Float>
  ) throws(FormatError) {
    let slots = try readGroups(of: columns, from: source, &scratch)
    try readScales(slots.groups, rows: rows, from: source, &scratch)
    try readZeroPoints(slots.groups, rows: rows, from: source, &scratch)
    try decodeCodes(rows: rows, columns: columns, from: source, &scratch, into: weights)

    let scales = scratch.scales.floats(slots.groups.count * rows.count)
    let zeros = scratch.zeroPoints.floats(slots.groups.count * rows.count)
    for row in 0..<rows.count {
      let line = weights + row * columns.count
      var column = 0
      // Runs of columns of one group; of one column where the order is free.
      while column < columns.count {
        let slot = slots.slotOfColumn[column]
        var end = column + 1
        while end < columns.count, slots.slotOfColumn[end] == slot { end += 1 }
        let scale = scales[slot * rows.count + row]
        let zero = zeros[slot * rows.count + row]
        for index in column..<end { line[index] = (line[index] - zero) * scale }
        column = end
      }
    }
  }

  /// The distinct groups of some columns, and which of them each column has.
  private struct Slots {
    var groups: [Int] = []
    var slotOfColumn: [Int] = []
  }

  private func readGroups(
    of columns: Range<Int>, from source: any TensorSource, _ scratch: inout DecodeScratch
  ) throws(FormatError) -> Slots {
    var slots = Slots()
    slots.slotOfColumn.reserveCapacity(columns.count)
    guard let groupOfColumn else {
      let first = columns.lowerBound / groupLength
      slots.groups = Array(first...(columns.upperBound - 1) / groupLength)
      for column in columns { slots.slotOfColumn.append(column / groupLength - first) }
      return slots
    }
    let groups = try source.readGroups(
      groupOfColumn, columns, groupCount: groupCount, &scratch)
    var slotOfGroup: [Int: Int] = [:]
    for index in 0..<columns.count {
      let group = Int(groups[index])
      let slot = slotOfGroup[group] ?? slots.groups.count
      if slot == slots.groups.count {
        slotOfGroup[group] = slot
        slots.groups.append(group)
      }
      slots.slotOfColumn.append(slot)
    }
    return slots
  }

  private func readScales(
    _ groups: [Int], rows: Range<Int>, from source: any TensorSource,
    _ scratch: inout DecodeScratch
  ) throws(FormatError) {
    let width = scales.type.bytesPerBlock
    let stored = scratch.stored.bytes(rows.count * width)
    let values = scratch.scales.floats(groups.count * rows.count)
    for (slot, group) in groups.enumerated() {
      try source.read(
        scales, at: (group * logical.rowCount + rows.lowerBound) * width, into: stored)
      scales.type.loadScales(
        UnsafeRawBufferPointer(stored), count: rows.count, into: values + slot * rows.count)
    }
  }

  private func readZeroPoints(
    _ groups: [Int], rows: Range<Int>, from source: any TensorSource,
    _ scratch: inout DecodeScratch
  ) throws(FormatError) {
    let values = scratch.zeroPoints.floats(groups.count * rows.count)
    let wordsPerRow = zeroPoints.columnCount
    // A word or three: the run of whole words in which no code crosses into the next.
    let unit = bits == 3 ? 3 : 1
    let codesPerUnit = unit * 32 / bits
    let words =
      rows.lowerBound / codesPerUnit
      * unit..<min(
        wordsPerRow, rows.upperBound.dividedUp(by: codesPerUnit) * unit)
    let stored = scratch.stored.bytes(words.count * 4)
    for (slot, group) in groups.enumerated() {
      try source.read(
        zeroPoints, at: (group * wordsPerRow + words.lowerBound) * 4, into: stored)
      let packed = PackedWords(bits: bits, stride: 1, firstWord: words.lowerBound, stored)
      for row in rows {
        let index =
          packing == .interleavedRows ? row / 8 * 8 + Self.interleaving[row % 8] : row
        let zero =
          (packed.code(index, lane: 0) &+ parameters.zeroCorrection) & UInt32(1 << bits - 1)
        values[slot * rows.count + row - rows.lowerBound] = Float(zero)
      }
    }
  }

  private func decodeCodes(
    rows: Range<Int>, columns: Range<Int>, from source: any TensorSource,
    _ scratch: inout DecodeScratch, into weights: UnsafeMutablePointer<Float>
  ) throws(FormatError) {
    switch packing {
    case .alongColumns:
      let wordRows =
        columns.lowerBound * bits / 32..<(columns.upperBound * bits).dividedUp(by: 32)
      let words = try readWords(
        wordRows, lanes: rows, laneCount: logical.rowCount, from: source, &scratch)
      let packed = PackedWords(
        bits: bits, stride: rows.count, firstWord: wordRows.lowerBound, words)
      for row in 0..<rows.count {
        let line = weights + row * columns.count
        for column in columns {
          line[column - columns.lowerBound] = Float(packed.code(column, lane: row))
        }
      }
    case .interleavedRows:
      let lanes = rows.lowerBound / 8..<rows.upperBound.dividedUp(by: 8)
      let words = try readWords(
        columns, lanes: lanes, laneCount: codes.columnCount, from: source, &scratch)
      for column in 0..<columns.count {
        for row in rows {
          let word = UInt32(
            littleEndian: words.loadUnaligned(
              fromByteOffset: (column * lanes.count + row / 8 - lanes.lowerBound) * 4,
              as: UInt32.self))
          let shift = UInt32(Self.interleaving[row % 8] * 4)
          weights[(row - rows.lowerBound) * columns.count + column] = Float(word >> shift & 15)
        }
      }
    }
  }

  /// Reads a rectangle of the words of the codes.
  private func readWords(
    _ wordRows: Range<Int>, lanes: Range<Int>, laneCount: Int, from source: any TensorSource,
    _ scratch: inout DecodeScratch
  ) throws(FormatError) -> UnsafeMutableRawBufferPointer {
    let width = lanes.count * 4
    let words = scratch.codes.bytes(wordRows.count * width)
    if lanes.count == laneCount {
      try source.read(codes, at: wordRows.lowerBound * width, into: words)
      return words
    }
    for row in wordRows {
      let start = (row - wordRows.lowerBound) * width
      try source.read(
        codes, at: (row * laneCount + lanes.lowerBound) * 4,
        into: UnsafeMutableRawBufferPointer(rebasing: words[start..<start + width]))
    }
    return words
  }
}
