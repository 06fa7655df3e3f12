import ByteIO
import Tensors

/// A weight whose codes and scales are, bit for bit, blocks of a GGML type in another order.
///
///     file      groups of 32 (MXFP4) or 16 (NVFP4) codes; byte i: code 2i low, code 2i + 1 high
///     archive   the same groups of g codes;               byte i: code i low, code i + g/2 high
///
///     MXFP4   32 weights in 17 bytes   scale of the group, its 16 bytes
///     NVFP4   64 weights in 36 bytes   scales of four groups, 8 bytes of each
///
/// Nothing is rounded: a block decodes to `code · scale of its group`. The second-level scale of
/// NVFP4 goes beside the blocks. Source: formats/quantized-inputs.md, "Blocks that are carried over"
struct CarriedBlocks: Sendable {
  /// As a tensor of blocks.
  let logical: TensorDescriptor
  let codes: TensorDescriptor
  private let scales: TensorDescriptor
  /// The second-level scale; `nil` for MXFP4.
  let global: ScaleGrid.Global?

  var type: TensorType { logical.type }
  /// Blocks that are repacked at a time.
  private static let tileBlockCount = 1 << 10

  /// `nil` when the codes or scales are no such blocks, or a row is no whole number of them.
  init?(_ weight: GridWeight) {
    guard case .e2m1 = weight.layout, weight.zeroPoints == nil, weight.groupOfColumn == nil,
      weight.factor == nil
    else { return nil }
    let grid = weight.scales
    let type: TensorType
    switch (grid.blockWidth, grid.tensor.type, grid.global) {
    case (32, .u8, nil), (32, .f8_E8M0, nil): type = .mxfp4
    // The second-level scale belongs to a whole matrix.
    case (16, .f8_E4M3, .some) where weight.logical.shape.rank == 2: type = .nvfp4
    default: return nil
    }
    let columnCount = weight.logical.columnCount
    guard columnCount > 0, columnCount % type.weightsPerBlock == 0,
      grid.columnCount == columnCount / grid.blockWidth,
      grid.tensor.elementCount == weight.logical.rowCount * grid.columnCount
    else { return nil }
    logical = TensorDescriptor(
      name: weight.logical.name, shape: weight.logical.shape, type: type,
      regions: weight.logical.regions)
    codes = weight.codes
    scales = grid.tensor
    global = grid.global
  }

  /// Bytes of one block's codes.
  var codeByteCount: Int { type.weightsPerBlock / 2 }
  private var scaleByteCount: Int { type == .mxfp4 ? 1 : 4 }

  /// Reads neighbouring blocks, counted over all rows.
  ///
  /// - Throws: what the source throws, and `FormatError` for a scale that is no number.
  func read(
    blocks: Range<Int>, from source: any TensorSource, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    precondition(buffer.count == blocks.count * type.bytesPerBlock)
    var codeScratch = ScratchBuffer()
    var scaleScratch = ScratchBuffer()
    var first = blocks.lowerBound
    while first < blocks.upperBound {
      let count = min(Self.tileBlockCount, blocks.upperBound - first)
      let codeBytes = codeScratch.bytes(count * codeByteCount)
      let scaleBytes = scaleScratch.bytes(count * scaleByteCount)
      try source.read(codes, at: first * codeByteCount, into: codeBytes)
      try source.read(scales, at: first * scaleByteCount, into: scaleBytes)
      let start = (first - blocks.lowerBound) * type.bytesPerBlock
      for block in 0..<count {
        try repack(
          UnsafeRawBufferPointer(
            rebasing: codeBytes[block * codeByteCount..<(block + 1) * codeByteCount]),
          UnsafeRawBufferPointer(
            rebasing: scaleBytes[block * scaleByteCount..<(block + 1) * scaleByteCount]),
          block: first + block, source,
          into: UnsafeMutableRawBufferPointer(
            rebasing: buffer[(start + block * type.bytesPerBlock)...].prefix(type.bytesPerBlock)))
      }
      first += count
    }
  }

  private func repack(
    _ codes: UnsafeRawBufferPointer, _ scales: UnsafeRawBufferPointer, block: Int,
    _ source: any TensorSource, into target: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    let groupBytes = codes.count / scales.count
    for group in 0..<scales.count {
      let scale = scales[group]
      let isNumber = type == .mxfp4 ? scale != 255 : scale & 0x7F != 0x7F
      guard isNumber else {
        throw source.error(
          self.scales,
          .outOfRange(found: "NaN as scale \(block * scales.count + group)", allowed: "numbers"),
          advice: "download the file again")
      }
      // Blocks have no sign in their scale: the codes take it.
      let isNegative = type == .nvfp4 && scale > 0x80
      target[group] = type == .nvfp4 ? scale & 0x7F : scale
      let flip: UInt8 = isNegative ? 0x88 : 0
      let (from, to) = (group * groupBytes, scales.count + group * groupBytes)
      for pair in 0..<groupBytes / 2 {
        let low = codes[from + pair]
        let high = codes[from + groupBytes / 2 + pair]
        target[to + 2 * pair] = (low & 15 | high << 4) ^ flip
        target[to + 2 * pair + 1] = (low >> 4 | high & 0xF0) ^ flip
      }
    }
  }
}
