import ByteIO
import Tensors

/// A weight of Meta's Llama 3.2 in four bits, with what the running model does beside it taken in.
///
///     weight = (base + scale · B·A) · H
///
///     B·A   low-rank adaptor (QLoRA): A `[rank, columns]`, B `[rows, rank]`
///     H     Walsh–Hadamard matrix over all columns, divided by √columns (SpinQuant); the running
///           model multiplies the inputs by it, and H is its own transpose
///
/// Sums are in double precision with one rounding to F32 at the end.
struct AdaptedWeight: QuantizedWeight {
  var base: GridWeight
  var adaptor: Adaptor?
  var isRotated: Bool

  struct Adaptor: Sendable {
    var a: TensorDescriptor
    var b: TensorDescriptor
    var scale: Double
    var rank: Int { a.shape.dimensions[0] }
  }

  var logical: TensorDescriptor { base.logical }
  var codes: TensorDescriptor { base.codes }

  var summary: String {
    "INT4, \(base.scales.summary)" + (adaptor == nil ? "" : ", adaptors merged")
      + (isRotated ? ", rotation undone" : "")
  }

  var scratchByteCount: Int {
    let width = logical.columnCount
    return (adaptor.map { $0.rank * width * 8 } ?? 0) + width * 28
  }

  func decode(
    rows: Range<Int>, columns: Range<Int>, from source: any TensorSource,
    _ scratch: inout DecodeScratch, into weights: UnsafeMutablePointer<Float>
  ) throws(FormatError) {
    guard adaptor != nil || isRotated else {
      try base.decode(rows: rows, columns: columns, from: source, &scratch, into: weights)
      return
    }
    let width = logical.columnCount
    guard isRotated, columns.count < width else {
      try decodeRows(rows, columns, from: source, &scratch, into: weights)
      return
    }
    // A part of a rotated row needs all of it.
    let row = scratch.weights.floats(width)
    try decodeRows(rows, 0..<width, from: source, &scratch, into: row)
    weights.update(from: row + columns.lowerBound, count: columns.count)
  }

  private func decodeRows(
    _ rows: Range<Int>, _ columns: Range<Int>, from source: any TensorSource,
    _ scratch: inout DecodeScratch, into weights: UnsafeMutablePointer<Float>
  ) throws(FormatError) {
    try base.decode(rows: rows, columns: columns, from: source, &scratch, into: weights)
    let count = columns.count
    let sums = scratch.sums.doubles(count)
    let adaptor = try adaptor.map { adaptor throws(FormatError) in
      (
        scale: adaptor.scale, rank: adaptor.rank,
        a: try Self.read(
          adaptor.a, rows: 0..<adaptor.rank, columns: columns, from: source, &scratch.stored,
          into: &scratch.a),
        b: try Self.read(
          adaptor.b, rows: rows, columns: 0..<adaptor.rank, from: source, &scratch.stored,
          into: &scratch.b)
      )
    }
    for row in 0..<rows.count {
      let line = weights + row * count
      if let adaptor {
        for column in 0..<count { sums[column] = 0 }
        for index in 0..<adaptor.rank {
          let b = Double(adaptor.b[row * adaptor.rank + index])
          let a = adaptor.a + index * count
          for column in 0..<count { sums[column] += b * Double(a[column]) }
        }
        for column in 0..<count {
          sums[column] = Double(line[column]) + adaptor.scale * sums[column]
        }
      } else {
        for column in 0..<count { sums[column] = Double(line[column]) }
      }
      if isRotated { Self.rotate(sums, count: count) }
      for column in 0..<count { line[column] = Float(sums[column]) }
    }
  }

  /// Reads a rectangle in F32, row by row where it is not all columns.
  private static func read(
    _ tensor: TensorDescriptor, rows: Range<Int>, columns: Range<Int>,
    from source: any TensorSource, _ stored: inout ScratchBuffer,
    into values: inout ScratchBuffer
  ) throws(FormatError) -> UnsafeMutablePointer<Float> {
    let width = tensor.type.bytesPerBlock
    let result = values.floats(rows.count * columns.count)
    let isWhole = columns.count == tensor.columnCount
    let runCount = isWhole ? 1 : rows.count
    let runLength = rows.count * columns.count / runCount
    for run in 0..<runCount {
      let bytes = stored.bytes(runLength * width)
      let first = (rows.lowerBound + run) * tensor.columnCount + columns.lowerBound
      try source.read(tensor, at: first * width, into: bytes)
      tensor.type.loadScales(
        UnsafeRawBufferPointer(bytes), count: runLength, into: result + run * runLength)
    }
    return result
  }

  /// Multiplies a row by the Walsh–Hadamard matrix in its natural order, and by 1/√count.
  ///
  /// - Precondition: `count` is a power of two.
  static func rotate(_ values: UnsafeMutablePointer<Double>, count: Int) {
    precondition(count > 0 && count & (count - 1) == 0)
    var step = 1
    while step < count {
      for start in stride(from: 0, to: count, by: 2 * step) {
        for index in start..<start + step {
          let (x, y) = (values[index], values[index + step])
          values[index] = x + y
          values[index + step] = x - y
        }
      }
      step *= 2
    }
    let factor = 1 / Double(count).squareRoot()
    for index in 0..<count { values[index] *= factor }
  }
}
