import Architectures
import ByteIO
import Planning
import Quantizers
import Tensors

/// One thread's buffers to read chunks of a plan's tensors: rows in the order of the output, in F32.
///
/// Allocated once; nothing is allocated per chunk.
package struct ChunkReader: ~Copyable {
  private let source: any TensorSource
  private let inputs: [TensorDescriptor]
  private let generated: [[Float]]
  private let kernels: KernelTable
  /// Source bytes of a chunk, rows in the order of the file.
  let sourceBytes: UnsafeMutableRawBufferPointer
  /// The same weights in F32, rows in the order of the output.
  package let weights: UnsafeMutableBufferPointer<Float>
  private var sourceRows: [Int] = []
  /// Position in `sourceBytes`, in rows, of each output row of the chunk; empty where they are in
  /// order.
  private(set) var slots: [Int] = []

  /// Bytes of source that chunks of so many weights have at most.
  static func sourceByteCount(_ plan: ConversionPlan, weightLimit: Int) -> Int {
    plan.tensors.map { $0.sourceType.byteCount(ofChunk: weightLimit) }.max() ?? 0
  }

  /// - Parameters:
  ///   - plan: whose tensors are read.
  ///   - source: the plan's input.
  ///   - kernels: dequantize.
  ///   - weightLimit: most weights of a chunk.
  package init(
    _ plan: ConversionPlan, source: any TensorSource, kernels: KernelTable, weightLimit: Int
  ) {
    self.source = source
    inputs = source.tensors
    generated = plan.generated
    self.kernels = kernels
    let byteCount = Self.sourceByteCount(plan, weightLimit: weightLimit)
    sourceBytes = .allocate(byteCount: max(1, byteCount), alignment: 64)
    weights = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(4, weightLimit * 4), alignment: 64
    ).bindMemory(to: Float.self)
  }

  deinit {
    sourceBytes.deallocate()
    UnsafeMutableRawBufferPointer(weights).deallocate()
  }

  /// Fills `weights` with the chunk's, row after row.
  ///
  /// - Throws: `FormatError` when reading fails.
  package mutating func read(_ chunk: Chunk, of tensor: ConversionPlan.Tensor)
    throws(FormatError)
  {
    slots.removeAll(keepingCapacity: true)
    switch tensor.source {
    case .generated(let index):
      let first = chunk.rows.lowerBound * tensor.columnCount + chunk.columns.lowerBound
      for offset in 0..<chunk.weightCount { weights[offset] = generated[index][first + offset] }
    case .input(let index):
      try read(chunk, of: tensor, from: inputs[index])
    }
  }

  private mutating func read(
    _ chunk: Chunk, of tensor: ConversionPlan.Tensor, from input: TensorDescriptor
  ) throws(FormatError) {
    let type = input.type
    let columns = chunk.columns.count
    guard let chunkRowBytes = type.byteCount(weightCount: columns),
      let rowBytes = type.byteCount(weightCount: tensor.columnCount),
      let skippedBytes = type.byteCount(weightCount: chunk.columns.lowerBound)
    else { preconditionFailure("chunk of partial blocks of \(tensor.name)") }

    // A row part is one row, so runs of rows are contiguous in the file in every case.
    if tensor.transform == .identity {
      let firstRow = tensor.firstSourceRow + chunk.rows.lowerBound
      try source.read(
        input, at: firstRow * rowBytes + skippedBytes,
        into: sourcePrefix(chunk.rows.count * chunkRowBytes))
      widen(type, rowCount: chunk.rows.count, columns: columns)
      return
    }
    planGather(chunk, of: tensor)
    var slot = 0
    while slot < sourceRows.count {
      var end = slot + 1
      while end < sourceRows.count, sourceRows[end] == sourceRows[end - 1] + 1 { end += 1 }
      let target = UnsafeMutableRawBufferPointer(
        rebasing: sourceBytes[slot * chunkRowBytes..<end * chunkRowBytes])
      try source.read(input, at: sourceRows[slot] * rowBytes + skippedBytes, into: target)
      slot = end
    }
    for (row, slot) in slots.enumerated() {
      guard let from = sourceBytes.baseAddress, let to = weights.baseAddress else { return }
      kernels.dequantize(
        type, blocks: from + slot * chunkRowBytes, weightCount: columns, into: to + row * columns)
    }
  }

  /// Sorts the source rows of a chunk, so that neighbours are read together.
  private mutating func planGather(_ chunk: Chunk, of tensor: ConversionPlan.Tensor) {
    sourceRows.removeAll(keepingCapacity: true)
    for row in chunk.rows {
      let sourceRow = tensor.sourceRow(forOutputRow: row)
      slots.append(sourceRow)
      sourceRows.append(sourceRow)
    }
    sourceRows.sort()
    for index in slots.indices {
      // The rows of a chunk are few and sorted: a binary search finds each one's slot.
      var low = 0
      var high = sourceRows.count - 1
      while low < high {
        let middle = (low + high) / 2
        if sourceRows[middle] < slots[index] { low = middle + 1 } else { high = middle }
      }
      slots[index] = low
    }
  }

  func sourcePrefix(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(rebasing: sourceBytes[..<byteCount])
  }

  private func widen(_ type: TensorType, rowCount: Int, columns: Int) {
    guard let from = sourceBytes.baseAddress, let to = weights.baseAddress,
      kernels.canDequantize(type)
    else { return }
    kernels.dequantize(type, blocks: from, weightCount: rowCount * columns, into: to)
  }
}

extension TensorType {
  /// Bytes of a chunk, its last block counted whole.
  func byteCount(ofChunk weightCount: Int) -> Int {
    (weightCount + weightsPerBlock - 1) / weightsPerBlock * bytesPerBlock
  }
}
