import ByteIO
import Tensors

/// A weight that bitsandbytes cut into blocks of its flat order, without regard to rows.
///
///     weight[i] = map[code[i]] · absmax[i / block]
///     code[2i] is the high half of byte i, code[2i+1] the low half
///
/// With double quantization a block's absmax is itself a code:
/// `nestedMap[absmax[j]] · nestedAbsmax[j / nestedBlock] + offset`.
struct BlockwiseWeight: QuantizedWeight {
  var logical: TensorDescriptor
  var codes: TensorDescriptor
  /// `nf4` or `fp4`.
  var kind: String
  /// 16 numbers.
  var map: [Float]
  var blockLength: Int
  var absmax: TensorDescriptor
  var nested: Nested?

  struct Nested: Sendable {
    /// 256 numbers.
    var map: [Float]
    var absmax: TensorDescriptor
    var blockLength: Int
    var offset: Float
  }

  var summary: String {
    "bitsandbytes \(kind.uppercased()), blocks of \(blockLength)"
      + (nested == nil ? "" : ", scales quantized too")
  }

  func decode(
    rows: Range<Int>, columns: Range<Int>, from source: any TensorSource,
    _ scratch: inout DecodeScratch, into weights: UnsafeMutablePointer<Float>
  ) throws(FormatError) {
    let first = rows.lowerBound * logical.columnCount + columns.lowerBound
    let range = first..<first + rows.count * columns.count
    let blocks = range.lowerBound / blockLength..<range.upperBound.dividedUp(by: blockLength)
    let scales = try readScales(blocks, from: source, &scratch)
    let byteRange = range.lowerBound / 2..<range.upperBound.dividedUp(by: 2)
    let bytes = scratch.codes.bytes(byteRange.count)
    try source.read(codes, at: byteRange.lowerBound, into: bytes)
    map.withUnsafeBufferPointer { map in
      var index = range.lowerBound
      while index < range.upperBound {
        let block = index / blockLength
        let end = min(range.upperBound, (block + 1) * blockLength)
        let scale = scales[block - blocks.lowerBound]
        while index < end {
          let byte = bytes[index / 2 - byteRange.lowerBound]
          let code = index & 1 == 0 ? byte >> 4 : byte & 15
          weights[index - range.lowerBound] = map[Int(code)] * scale
          index += 1
        }
      }
    }
  }

  private func readScales(
    _ blocks: Range<Int>, from source: any TensorSource, _ scratch: inout DecodeScratch
  ) throws(FormatError) -> UnsafeMutablePointer<Float> {
    let width = absmax.type.bytesPerBlock
    let stored = scratch.stored.bytes(blocks.count * width)
    try source.read(absmax, at: blocks.lowerBound * width, into: stored)
    let scales = scratch.scales.floats(blocks.count)
    guard let nested else {
      absmax.type.loadScales(UnsafeRawBufferPointer(stored), count: blocks.count, into: scales)
      return scales
    }
    let outer =
      blocks.lowerBound / nested.blockLength..<blocks.upperBound.dividedUp(by: nested.blockLength)
    let outerBytes = scratch.groups.bytes(outer.count * 4)
    try source.read(nested.absmax, at: outer.lowerBound * 4, into: outerBytes)
    let outerScales = scratch.zeroPoints.floats(outer.count)
    TensorType.f32.loadScales(
      UnsafeRawBufferPointer(outerBytes), count: outer.count, into: outerScales)
    for block in blocks {
      let index = block - blocks.lowerBound
      let scale = outerScales[block / nested.blockLength - outer.lowerBound]
      scales[index] = nested.map[Int(stored[index])] * scale + nested.offset
    }
    return scales
  }
}
