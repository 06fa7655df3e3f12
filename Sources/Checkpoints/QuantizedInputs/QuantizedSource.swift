import ByteIO
import Tensors

/// Wraps a checkpoint's source where `config.json` says that its weights are quantized.
///
/// - Parameters:
///   - source: the tensors as the files have them.
///   - folder: the directory that holds `config.json`.
/// - Returns: what to read tensors from, and what the user should know.
/// - Throws: `FormatError` for a method that is not read, and for weights that contradict it.
package func dequantizedSource(
  _ source: any TensorSource, folder: String
) throws(FormatError) -> (source: any TensorSource, notes: [String]) {
  guard let configuration = try QuantizationConfiguration.read(folder: folder) else {
    return (source, [])
  }
  let quantized = try QuantizedSource(source, configuration)
  return (quantized, quantized.notes)
}

/// A source whose quantized weights are shown and read as if they had never been quantized.
///
/// `tensors` has the plain names and shapes; `read` decodes what it is asked for and keeps no more
/// than a few slabs. Wraps any source: only its descriptors and `read` are used.
package struct QuantizedSource: TensorSource {
  enum Content: Sendable {
    case plain
    case rows(any QuantizedWeight)
    case transposed(TransposedWeight, cacheID: Int)
    case blocks(CarriedBlocks)
  }

  let source: any TensorSource
  package internal(set) var tensors: [TensorDescriptor]
  var contents: [ExactString: Content]
  private let cache = SlabCache(byteLimit: Self.cacheByteLimit)
  /// What was decoded and what was left out, for the user.
  package let notes: [String]

  /// Most bytes of decoded slabs that are kept, for all threads together.
  package static let cacheByteLimit = 24 << 20
  /// Decoded and packed weights of one slab, and the scales of its groups.
  private static let slabScratchByteCount = 2 << 20
  /// Weights that are decoded at a time.
  private static let tileWeightCount = 1 << 15

  package var files: [String] { source.files }
  package var fileByteCounts: [UInt64] { source.fileByteCounts }

  /// Finds the quantized weights of `source`.
  ///
  /// - Parameters:
  ///   - source: the tensors as the files have them.
  ///   - configuration: what `config.json` says about them.
  /// - Throws: `FormatError` for a weight without its scales, shapes that contradict each other,
  ///   and what the configuration leaves open.
  package init(
    _ source: any TensorSource, _ configuration: QuantizationConfiguration
  ) throws(FormatError) {
    var assembly = QuantizedAssembly(source)
    try assembly.assemble(configuration)
    var tensors: [TensorDescriptor] = []
    var contents: [ExactString: Content] = [:]
    for (index, tensor) in source.tensors.enumerated() where !assembly.hidden.contains(index) {
      switch assembly.weights[index] {
      case nil:
        tensors.append(tensor)
        contents[tensor.name] = .plain
      case .rows(let weight):
        tensors.append(weight.logical)
        contents[weight.logical.name] = .rows(weight)
      case .transposed(let weight):
        tensors.append(weight.logical)
        contents[weight.logical.name] = .transposed(weight, cacheID: index)
      }
    }
    if contents.count < tensors.count {
      var seen: Set<ExactString> = []
      for tensor in tensors where !seen.insert(tensor.name).inserted {
        throw source.error(tensor, .duplicate("tensor: both plain and quantized"))
      }
    }
    self.source = source
    self.tensors = tensors
    self.contents = contents
    notes = assembly.notes(configuration)
  }

  package func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    switch contents[tensor.name] {
    case nil: preconditionFailure("no tensor \(tensor.name)")
    case .plain: try source.read(tensor, at: byteOffset, into: buffer)
    case .rows(let weight):
      let range = Self.elements(of: weight.logical, byteOffset, buffer)
      try readRows(weight, range, into: buffer)
    case .transposed(let weight, let cacheID):
      let range = Self.elements(of: weight.logical, byteOffset, buffer)
      try readSlabs(weight, cacheID, range, into: buffer)
    case .blocks(let blocks):
      let range = Self.elements(of: blocks.logical, byteOffset, buffer)
      try blocks.read(blocks: range, from: source, into: buffer)
    }
  }

  /// Elements, or blocks of them.
  ///
  /// - Precondition: the range lies inside the tensor and has whole elements or blocks.
  private static func elements(
    of tensor: TensorDescriptor, _ byteOffset: Int, _ buffer: UnsafeMutableRawBufferPointer
  ) -> Range<Int> {
    let width = tensor.type.bytesPerBlock
    precondition(byteOffset >= 0 && byteOffset <= tensor.byteCount - buffer.count)
    precondition(byteOffset % width == 0 && buffer.count % width == 0)
    return byteOffset / width..<(byteOffset + buffer.count) / width
  }

  /// Decodes tile by tile: whole rows where they fit, else parts of a row.
  private func readRows(
    _ weight: any QuantizedWeight, _ elements: Range<Int>,
    into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    guard let target = buffer.baseAddress else { return }
    var scratch = DecodeScratch()
    var weights = ScratchBuffer()
    let width = weight.logical.columnCount
    let type = weight.logical.type
    var position = elements.lowerBound
    while position < elements.upperBound {
      let (row, column) = position.quotientAndRemainder(dividingBy: width)
      let left = elements.upperBound - position
      var rows = row..<row + 1
      var columns = column..<min(width, column + min(left, Self.tileWeightCount))
      if column == 0, left >= width, width <= Self.tileWeightCount {
        rows = row..<row + min(left, Self.tileWeightCount) / width
        columns = 0..<width
      }
      let count = rows.count * columns.count
      let values = weights.floats(count)
      try weight.decode(rows: rows, columns: columns, from: source, &scratch, into: values)
      type.store(
        values, count: count,
        into: target + (position - elements.lowerBound) * type.bytesPerBlock)
      position += count
    }
  }

  package func prefetch(_ tensor: TensorDescriptor, at byteOffset: Int, byteCount: Int) {
    switch contents[tensor.name] {
    case nil: break
    case .plain: source.prefetch(tensor, at: byteOffset, byteCount: byteCount)
    case .rows(let weight):
      let (codes, logical) = (weight.codes, weight.logical)
      guard logical.rowCount > 0, logical.bytesPerRow > 0 else { return }
      let rowBytes = codes.byteCount / logical.rowCount
      source.prefetch(
        codes, at: byteOffset / logical.bytesPerRow * rowBytes,
        byteCount: byteCount.dividedUp(by: logical.bytesPerRow) * rowBytes)
    case .blocks(let blocks):
      let size = blocks.type.bytesPerBlock
      source.prefetch(
        blocks.codes, at: byteOffset / size * blocks.codeByteCount,
        byteCount: byteCount.dividedUp(by: size) * blocks.codeByteCount)
    case .transposed(let weight, _):
      // Every row lies all over the codes.
      if byteOffset == 0 {
        source.prefetch(weight.codes, at: 0, byteCount: min(weight.codes.byteCount, 32 << 20))
      }
    }
  }

  /// Buffers of each thread, and the slabs of transposed weights.
  package func heldByteLimit(threadCount: Int) -> Int {
    let hasSlabs = contents.values.contains { if case .transposed = $0 { true } else { false } }
    let scratch =
      contents.values.map {
        if case .rows(let weight) = $0 { weight.scratchByteCount } else { 0 }
      }.max() ?? 0
    return threadCount
      * (scratch + (hasSlabs ? Self.slabScratchByteCount : Self.tileWeightCount * 16))
      + (hasSlabs ? Self.cacheByteLimit : 0) + source.heldByteLimit(threadCount: threadCount)
  }

  package func checkUnchanged() throws(FormatError) { try source.checkUnchanged() }
}

// MARK: Transposed weights

extension QuantizedSource {
  /// How a transposed weight is cut: high enough that a read of the file gets many rows, and low
  /// enough that a few blocks of all columns fit the cache.
  private struct SlabShape {
    var rowCount: Int
    var columnCount = 512

    init(_ tensor: TensorDescriptor) {
      let rows = (1 << 21) / max(1, tensor.columnCount) / 32 * 32
      rowCount = max(32, min(256, rows))
    }
  }

  private func readSlabs(
    _ weight: TransposedWeight, _ cacheID: Int, _ elements: Range<Int>,
    into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    guard !elements.isEmpty else { return }
    var scratch = DecodeScratch()
    let width = weight.logical.columnCount
    let shape = SlabShape(weight.logical)
    let rows = elements.lowerBound / width..<elements.upperBound.dividedUp(by: width)
    // Of a part of one row only the columns that it covers.
    let columns =
      rows.count == 1
      ? elements.lowerBound - rows.lowerBound * width..<elements.upperBound - rows.lowerBound
        * width : 0..<width
    for rowBlock in rows.lowerBound / shape.rowCount...(rows.upperBound - 1) / shape.rowCount {
      for columnBlock in columns.lowerBound / shape.columnCount...(columns.upperBound - 1)
        / shape.columnCount
      {
        try copySlab(
          weight, SlabCache.Key(tensor: cacheID, rowBlock: rowBlock, columnBlock: columnBlock),
          shape, elements, &scratch, into: buffer)
      }
    }
  }

  /// Copies what a slab has of the wanted elements.
  private func copySlab(
    _ weight: TransposedWeight, _ key: SlabCache.Key, _ shape: SlabShape,
    _ elements: Range<Int>, _ scratch: inout DecodeScratch,
    into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    let logical = weight.logical
    let type = logical.type
    let (firstRow, firstColumn) = (
      key.rowBlock * shape.rowCount, key.columnBlock * shape.columnCount
    )
    let rows = firstRow..<min(firstRow + shape.rowCount, logical.rowCount)
    let columns = firstColumn..<min(firstColumn + shape.columnCount, logical.columnCount)
    let byteCount = rows.count * columns.count * type.bytesPerBlock
    let slab = cache.slab(key, byteCount: byteCount)
    var failure: FormatError?
    let weights = scratch.weights.floats(rows.count * columns.count)
    // The lock is held while decoding, so that others wait instead of decoding too.
    let bytes = slab.bytes.withLock { bytes in
      if bytes.isEmpty {
        var buffers = DecodeScratch()
        do throws(FormatError) {
          try weight.decode(
            rows: rows, columns: columns, from: source, &buffers, into: weights)
          bytes = [UInt8](unsafeUninitializedCapacity: byteCount) { target, count in
            if let start = target.baseAddress {
              type.store(weights, count: rows.count * columns.count, into: start)
            }
            count = byteCount
          }
        } catch {
          failure = error
        }
      }
      return bytes
    }
    if let failure { throw failure }
    bytes.withUnsafeBytes { bytes in
      for row in rows {
        let line = row * logical.columnCount + columns.lowerBound
        let wanted = (line..<line + columns.count).clamped(to: elements)
        guard !wanted.isEmpty else { continue }
        let from = (row - firstRow) * columns.count + wanted.lowerBound - line
        let width = type.bytesPerBlock
        UnsafeMutableRawBufferPointer(
          rebasing: buffer[
            (wanted.lowerBound - elements.lowerBound)
              * width..<(wanted.upperBound
              - elements.lowerBound) * width]
        ).copyMemory(
          from: UnsafeRawBufferPointer(
            rebasing: bytes[from * width..<(from + wanted.count) * width]))
      }
    }
  }
}
