import Architectures
import ByteIO
import Planning
import Quantizers
import Tensors

/// One thread's buffers and the work on one chunk: read, permute, widen, check, quantize, write.
///
/// Allocated once per thread; nothing is allocated per chunk.
struct ChunkWorker: ~Copyable {
  private let job: ConversionJob
  /// Source bytes of a chunk, rows in the order of the file.
  private let sourceBytes: UnsafeMutableRawBufferPointer
  /// The same weights in F32, rows in the order of the output.
  private let weights: UnsafeMutableBufferPointer<Float>
  /// Finished blocks.
  private let blocks: UnsafeMutableRawBufferPointer
  private var sourceRows: [Int] = []
  /// Position in `sourceBytes`, in rows, of each output row of the chunk.
  private var slots: [Int] = []

  /// Bytes that one worker allocates for chunks of `weightLimit` weights.
  static func bufferByteCount(_ plan: ConversionPlan, weightLimit: Int) -> Int {
    let sizes = bufferSizes(plan, weightLimit: weightLimit)
    return sizes.source + weightLimit * 4 + sizes.blocks
  }

  private static func bufferSizes(_ plan: ConversionPlan, weightLimit: Int)
    -> (source: Int, blocks: Int)
  {
    func bytes(_ type: TensorType) -> Int {
      (weightLimit + type.weightsPerBlock - 1) / type.weightsPerBlock * type.bytesPerBlock
    }
    return (
      plan.tensors.map { bytes($0.sourceType) }.max() ?? 0,
      plan.tensors.map { bytes($0.type) }.max() ?? 0
    )
  }

  init(_ job: ConversionJob) {
    self.job = job
    let limit = job.schedule.weightLimit
    let sizes = Self.bufferSizes(job.plan, weightLimit: limit)
    sourceBytes = .allocate(byteCount: max(1, sizes.source), alignment: 64)
    weights = UnsafeMutableRawBufferPointer.allocate(byteCount: max(4, limit * 4), alignment: 64)
      .bindMemory(to: Float.self)
    blocks = .allocate(byteCount: max(1, sizes.blocks), alignment: 64)
  }

  deinit {
    sourceBytes.deallocate()
    UnsafeMutableRawBufferPointer(weights).deallocate()
    blocks.deallocate()
  }

  mutating func run(_ chunk: Chunk) throws {
    let tensor = job.plan.tensors[chunk.tensor]
    switch tensor.source {
    case .generated(let index):
      let first = chunk.rows.lowerBound * tensor.columnCount + chunk.columns.lowerBound
      for offset in 0..<chunk.weightCount {
        weights[offset] = job.plan.generated[index][first + offset]
      }
    case .input(let index):
      try read(chunk, of: tensor, from: job.inputs[index])
    }
    try checkFinite(chunk, of: tensor)
    try write(chunk, of: tensor)
  }

  // MARK: Reading

  private mutating func read(
    _ chunk: Chunk, of tensor: ConversionPlan.Tensor, from source: TensorDescriptor
  ) throws {
    let type = source.type
    let columns = chunk.columns.count
    guard let chunkRowBytes = type.byteCount(weightCount: columns),
      let rowBytes = type.byteCount(weightCount: tensor.columnCount),
      let skippedBytes = type.byteCount(weightCount: chunk.columns.lowerBound)
    else { preconditionFailure("chunk of partial blocks of \(tensor.name)") }

    // A row part is one row, so runs of rows are contiguous in the file in every case.
    if tensor.transform == .identity {
      try job.source.read(
        source, at: chunk.rows.lowerBound * rowBytes + skippedBytes,
        into: prefix(chunk.rows.count * chunkRowBytes))
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
      try job.source.read(
        source, at: sourceRows[slot] * rowBytes + skippedBytes, into: target)
      slot = end
    }
    for (row, slot) in slots.enumerated() {
      guard let from = sourceBytes.baseAddress, let to = weights.baseAddress else { return }
      job.kernels.dequantize(
        type, blocks: from + slot * chunkRowBytes, weightCount: columns, into: to + row * columns)
    }
    if tensor.isPlainCopy {
      for (row, slot) in slots.enumerated() {
        UnsafeMutableRawBufferPointer(rebasing: blocks[(row * chunkRowBytes)...]).copyMemory(
          from: UnsafeRawBufferPointer(
            rebasing: sourceBytes[slot * chunkRowBytes..<(slot + 1) * chunkRowBytes]))
      }
    }
  }

  /// Sorts the source rows of a chunk, so that neighbours are read together.
  private mutating func planGather(_ chunk: Chunk, of tensor: ConversionPlan.Tensor) {
    sourceRows.removeAll(keepingCapacity: true)
    slots.removeAll(keepingCapacity: true)
    for row in chunk.rows {
      let sourceRow = tensor.transform.sourceRow(
        forOutputRow: row, rowCount: tensor.rowCount)
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

  private func prefix(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(rebasing: sourceBytes[..<byteCount])
  }

  private func widen(_ type: TensorType, rowCount: Int, columns: Int) {
    guard let from = sourceBytes.baseAddress, let to = weights.baseAddress,
      job.kernels.canDequantize(type)
    else { return }
    job.kernels.dequantize(type, blocks: from, weightCount: rowCount * columns, into: to)
  }

  // MARK: Checking and writing

  private func checkFinite(_ chunk: Chunk, of tensor: ConversionPlan.Tensor) throws {
    // Integers, which are only ever copied, have nothing to check.
    guard !job.allowsNonFinite, job.kernels.canDequantize(tensor.sourceType),
      let values = UnsafePointer(weights.baseAddress),
      let index = job.kernels.firstNonFinite(values, count: chunk.weightCount)
    else { return }
    let row = chunk.rows.lowerBound + index / chunk.columns.count
    let column = chunk.columns.lowerBound + index % chunk.columns.count
    throw job.error(
      about: tensor, row: row, column: column,
      reason: .outOfRange(found: "\(values[index])", allowed: "finite weights"),
      advice: "download the file again, or pass --allow-nonfinite to keep such weights")
  }

  private func write(_ chunk: Chunk, of tensor: ConversionPlan.Tensor) throws {
    let type = tensor.type
    guard let byteCount = type.byteCount(weightCount: chunk.weightCount),
      let skippedBytes = type.byteCount(
        weightCount: chunk.rows.lowerBound * tensor.columnCount + chunk.columns.lowerBound),
      let values = UnsafePointer(weights.baseAddress), let target = blocks.baseAddress
    else { preconditionFailure("chunk of partial blocks of \(tensor.name)") }
    let result: UnsafeRawBufferPointer
    if tensor.isPlainCopy, tensor.transform == .identity, case .input = tensor.source {
      result = UnsafeRawBufferPointer(prefix(byteCount))
    } else if tensor.isPlainCopy, case .input = tensor.source {
      result = UnsafeRawBufferPointer(rebasing: blocks[..<byteCount])
    } else if type == .f32 {
      result = UnsafeRawBufferPointer(start: weights.baseAddress, count: byteCount)
    } else {
      let importance = tensor.importance.flatMap { job.importance[$0] }
      if let importance {
        let expert = chunk.rows.lowerBound / tensor.rowsPerExpert
        importance.withUnsafeBufferPointer { importance in
          let row = importance.baseAddress.map {
            $0 + expert * tensor.columnCount + chunk.columns.lowerBound
          }
          quantize(chunk, type, values, row, target)
        }
      } else {
        quantize(chunk, type, values, nil, target)
      }
      try checkScales(chunk, of: tensor, byteCount: byteCount)
      result = UnsafeRawBufferPointer(rebasing: blocks[..<byteCount])
    }
    let offset = tensor.fileOffset + UInt64(skippedBytes)
    try job.outputs[tensor.output].write(result, at: offset)
    job.writeBack[tensor.output].finished(upTo: offset + UInt64(byteCount))
  }

  private func quantize(
    _ chunk: Chunk, _ type: TensorType, _ values: UnsafePointer<Float>,
    _ importance: UnsafePointer<Float>?, _ target: UnsafeMutableRawPointer
  ) {
    job.kernels.quantize(
      type, rows: values, rowCount: chunk.rows.count, columnCount: chunk.columns.count,
      importance: importance, into: target)
  }

  /// A weight that a half-precision scale cannot hold becomes infinity: never write that.
  private func checkScales(_ chunk: Chunk, of tensor: ConversionPlan.Tensor, byteCount: Int) throws
  {
    guard !job.allowsNonFinite, let target = blocks.baseAddress,
      let block = job.kernels.firstInvalidBlock(
        tensor.type, blocks: target, blockCount: byteCount / tensor.type.bytesPerBlock)
    else { return }
    let weight = block * tensor.type.weightsPerBlock
    throw job.error(
      about: tensor, row: chunk.rows.lowerBound + weight / chunk.columns.count,
      column: chunk.columns.lowerBound + weight % chunk.columns.count,
      reason: .outOfRange(
        found: "weights too large for \(tensor.type.name)",
        allowed: "weights whose scale fits half precision"),
      advice: tensor.type.isBlockType
        ? "keep this tensor in BF16 or F32 with --tensor-type" : "use --type BF16")
  }
}
