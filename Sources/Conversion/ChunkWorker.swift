import Architectures
import ByteIO
import Planning
import Quantizers
import Tensors

/// One thread's work on one chunk: read, permute, widen, check, quantize, write.
///
/// Buffers are allocated once per thread; nothing is allocated per chunk.
struct ChunkWorker: ~Copyable {
  private let job: ConversionJob
  private var reader: ChunkReader
  /// Finished blocks.
  private let blocks: UnsafeMutableRawBufferPointer

  /// Bytes that one worker allocates for chunks of `weightLimit` weights.
  static func bufferByteCount(_ plan: ConversionPlan, weightLimit: Int) -> Int {
    ChunkReader.sourceByteCount(plan, weightLimit: weightLimit) + weightLimit * 4
      + blockByteCount(plan, weightLimit: weightLimit)
  }

  private static func blockByteCount(_ plan: ConversionPlan, weightLimit: Int) -> Int {
    plan.tensors.map { $0.type.byteCount(ofChunk: weightLimit) }.max() ?? 0
  }

  init(_ job: ConversionJob) {
    self.job = job
    let limit = job.schedule.weightLimit
    reader = ChunkReader(job.plan, source: job.source, kernels: job.kernels, weightLimit: limit)
    blocks = .allocate(
      byteCount: max(1, Self.blockByteCount(job.plan, weightLimit: limit)), alignment: 64)
  }

  deinit { blocks.deallocate() }

  mutating func run(_ chunk: Chunk) throws {
    let tensor = job.plan.tensors[chunk.tensor]
    try reader.read(chunk, of: tensor)
    if tensor.isPlainCopy, let rowBytes = tensor.type.byteCount(weightCount: chunk.columns.count) {
      for (row, slot) in reader.slots.enumerated() {
        UnsafeMutableRawBufferPointer(rebasing: blocks[(row * rowBytes)...]).copyMemory(
          from: UnsafeRawBufferPointer(
            rebasing: reader.sourceBytes[slot * rowBytes..<(slot + 1) * rowBytes]))
      }
    }
    try checkFinite(chunk, of: tensor)
    try write(chunk, of: tensor)
  }

  // MARK: Checking and writing

  private func checkFinite(_ chunk: Chunk, of tensor: ConversionPlan.Tensor) throws {
    // Integers, which are only ever copied, have nothing to check.
    guard !job.allowsNonFinite, job.kernels.canDequantize(tensor.sourceType),
      let values = UnsafePointer(reader.weights.baseAddress),
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
      let values = UnsafePointer(reader.weights.baseAddress), let target = blocks.baseAddress
    else { preconditionFailure("chunk of partial blocks of \(tensor.name)") }
    let result: UnsafeRawBufferPointer
    if tensor.isPlainCopy, tensor.transform == .identity, case .input = tensor.source {
      result = UnsafeRawBufferPointer(reader.sourcePrefix(byteCount))
    } else if tensor.isPlainCopy, case .input = tensor.source {
      result = UnsafeRawBufferPointer(rebasing: blocks[..<byteCount])
    } else if type == .f32 {
      result = UnsafeRawBufferPointer(start: reader.weights.baseAddress, count: byteCount)
    } else {
      let importance = tensor.importance.flatMap { job.importance[$0] }
      if let importance {
        let expert = tensor.importanceExpert + chunk.rows.lowerBound / tensor.rowsPerExpert
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
    try job.outputs.write(result, output: tensor.output, at: offset)
    job.writeBack[tensor.output]?.finished(upTo: offset + UInt64(byteCount))
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
