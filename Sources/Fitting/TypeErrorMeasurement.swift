import ByteIO
import Conversion
import Planning
import Quantizers
import Synchronization
import Tensors
import Threads

/// Quantizes a sample of every tensor's rows in every type that it may get.
///
/// The sample is the same on every machine and at every thread count, and so are the errors.
package struct TypeErrorMeasurement: Sendable {
  /// Weights of a sample, of a tensor or an expert; spread evenly over its rows.
  package static let standardSampleWeightCount = 1 << 18

  /// Of a type that cannot hold the weights; more than any other error.
  package static let hopelessError = 1e100

  let plan: ConversionPlan
  let source: any TensorSource
  /// `experts × columns` values per stack or tensor.
  let importance: [ExactString: [Float]]
  let expertCounts: [ExactString: [Float]]
  let kernels: KernelTable
  let threadCount: Int
  let sampleWeightCount: Int
  let memoryLimit: UInt64
  let cancellation: CancellationFlag

  /// Rows that are read at once, unless they are very long.
  private static let runRowCount = 8
  private static let runWeightCount = 1 << 21
  /// Bytes that a worker holds per weight: as stored, in F32, in blocks, and restored.
  private static let bytesPerWeight = 24

  package init(
    plan: ConversionPlan, inputs: PlannedInputs, kernels: KernelTable, threadCount: Int,
    sampleWeightCount: Int = standardSampleWeightCount, memoryLimit: UInt64 = 1 << 31,
    cancellation: CancellationFlag = CancellationFlag()
  ) {
    self.plan = plan
    source = inputs.source
    importance = inputs.importance
    expertCounts = inputs.expertCounts
    self.kernels = kernels
    self.threadCount = threadCount
    self.sampleWeightCount = sampleWeightCount
    self.memoryLimit = memoryLimit
    self.cancellation = cancellation
  }

  private struct Task: Sendable {
    /// Index into `tensors` of `run`.
    var slot: Int
    var tensor: Int
    var expert: Int
  }

  /// - Parameters:
  ///   - tensors: indices into the plan's tensors, and the types of each.
  ///   - progress: gets the part that is done.
  /// - Returns: in the order of `tensors`.
  /// - Throws: `FormatError` when reading fails, `ConversionCancelled`.
  package func run(
    _ tensors: [(index: Int, types: [TensorType])],
    progress: (@Sendable (Double) -> Void)? = nil
  ) throws -> [TypeErrors] {
    var tasks: [Task] = []
    for (slot, tensor) in tensors.enumerated() {
      for expert in 0..<expertCount(plan.tensors[tensor.index]) {
        tasks.append(Task(slot: slot, tensor: tensor.index, expert: expert))
      }
    }
    let all = tasks
    guard !all.isEmpty else { return [] }
    let results = Guarded([Result?](repeating: nil, count: all.count))
    let failure = Guarded<(task: Int, error: any Error)?>(nil)
    let next = Atomic(0)
    let done = Atomic(0)
    let widest = tensors.map { plan.tensors[$0.index].columnCount }.max() ?? 1
    let rowCount = max(1, min(Self.runRowCount, Self.runWeightCount / max(1, widest)))
    // Fewer workers where rows are so long that their buffers would not fit.
    let perWorker = UInt64(rowCount * widest * Self.bytesPerWeight)
    let workerCount = max(1, min(threadCount, all.count, Int(memoryLimit / 2 / max(1, perWorker))))
    let blockByteCount =
      tensors.flatMap { tensor in
        tensor.types.map {
          $0.byteCount(
            weightCount: rowCount * plan.tensors[tensor.index].columnCount) ?? 0
        }
      }.max() ?? 0

    WorkerThreads.run(count: workerCount) { _ in
      var worker = Worker(
        self, rowCount: rowCount, columnLimit: widest, blockByteCount: blockByteCount)
      while !cancellation.isCancelled, failure.withLock({ $0 == nil }) {
        let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard index < all.count else { return }
        let task = all[index]
        do {
          let result = try worker.measure(
            plan.tensors[task.tensor], index: task.tensor, expert: task.expert,
            types: tensors[task.slot].types)
          results.withLock { $0[index] = result }
        } catch {
          failure.withLock { known in
            if let known, known.task < index { return }
            known = (index, error)
          }
        }
        let count = done.wrappingAdd(1, ordering: .relaxed).newValue
        progress?(Double(count) / Double(all.count))
      }
    }
    if let error = failure.withLock({ $0?.error }) { throw error }
    if cancellation.isCancelled { throw ConversionCancelled() }

    var list = tensors.map {
      TypeErrors(signals: [], errors: Dictionary(uniqueKeysWithValues: $0.types.map { ($0, []) }))
    }
    for (task, result) in zip(all, results.withLock { $0 }) {
      guard let result else { continue }
      list[task.slot].signals.append(result.signal)
      for (type, error) in zip(tensors[task.slot].types, result.errors) {
        list[task.slot].errors[type, default: []].append(error)
      }
    }
    return list
  }

  private func expertCount(_ tensor: ConversionPlan.Tensor) -> Int {
    tensor.rowsPerExpert == 0 ? 1 : tensor.rowCount / tensor.rowsPerExpert
  }

  /// How much of a token an expert gets on average; 1 where nothing is known about it.
  ///
  /// An expert that no token reached counts as one that half a token did.
  private func frequency(_ tensor: ConversionPlan.Tensor, expert: Int) -> Double {
    guard let name = tensor.importance, let counts = expertCounts[name],
      expert < counts.count
    else { return 1 }
    let sum = counts.reduce(0) { $0 + Double($1) }
    return sum > 0 ? max(0.5, Double(counts[expert])) / sum : 1 / Double(counts.count)
  }

  private struct Result: Sendable {
    var signal: Double
    var errors: [Double]
  }

  // MARK: One thread's work

  private struct Worker: ~Copyable {
    private let measurement: TypeErrorMeasurement
    /// Rows that are read at once.
    private let rowCount: Int
    private var reader: ChunkReader
    private let blocks: UnsafeMutableRawBufferPointer
    private let restored: UnsafeMutableBufferPointer<Float>

    init(
      _ measurement: TypeErrorMeasurement, rowCount: Int, columnLimit: Int, blockByteCount: Int
    ) {
      self.measurement = measurement
      self.rowCount = rowCount
      let limit = columnLimit * rowCount
      reader = ChunkReader(
        measurement.plan, source: measurement.source, kernels: measurement.kernels,
        weightLimit: limit)
      blocks = .allocate(byteCount: max(1, blockByteCount), alignment: 64)
      restored = .allocate(capacity: max(1, limit))
    }

    deinit {
      blocks.deallocate()
      restored.deallocate()
    }

    mutating func measure(
      _ tensor: ConversionPlan.Tensor, index: Int, expert: Int, types: [TensorType]
    ) throws -> Result {
      let columns = tensor.columnCount
      let rows = tensor.rowsPerExpert
      var result = Result(signal: 0, errors: Array(repeating: 0, count: types.count))
      guard rows > 0, columns > 0 else { return result }
      let runRows = min(rowCount, rows)
      let runCount = max(
        1, min(rows / runRows, measurement.sampleWeightCount / (columns * runRows)))
      let importance = importanceRow(tensor, expert: expert)
      for run in 0..<runCount {
        let first = expert * rows + run * (rows - runRows) / max(1, runCount - 1)
        let chunk = Chunk(tensor: index, rows: first..<first + runRows, columns: 0..<columns)
        try reader.read(chunk, of: tensor)
        try checkFinite(chunk, of: tensor)
        result.signal += squares(rowCount: runRows, columns, importance, minus: false)
        for (slot, type) in types.enumerated() {
          requantize(type, rowCount: runRows, columns: columns, importance)
          result.errors[slot] += squares(rowCount: runRows, columns, importance, minus: true)
        }
      }
      let scale =
        Double(rows) / Double(runCount * runRows)
        * measurement.frequency(tensor, expert: tensor.importanceExpert + expert)
      result.signal *= scale
      for slot in types.indices {
        // A type whose scales cannot hold the weights is never the best one.
        let error = result.errors[slot] * scale
        result.errors[slot] = error.isFinite ? error : TypeErrorMeasurement.hopelessError
      }
      return result
    }

    private func checkFinite(_ chunk: Chunk, of tensor: ConversionPlan.Tensor)
      throws(FormatError)
    {
      guard let values = UnsafePointer(reader.weights.baseAddress),
        let place = measurement.kernels.firstNonFinite(values, count: chunk.weightCount)
      else { return }
      throw FormatError(
        file: measurement.plan.inputs.first ?? "",
        field: "tensor \(tensor.sourceName ?? tensor.name), row "
          + "\(tensor.sourceRow(forOutputRow: chunk.rows.lowerBound + place / tensor.columnCount)), "
          + "column \(place % tensor.columnCount)",
        reason: .outOfRange(found: "\(values[place])", allowed: "finite weights"),
        advice: "download the file again")
    }

    private func importanceRow(_ tensor: ConversionPlan.Tensor, expert: Int) -> ArraySlice<Float>? {
      guard let name = tensor.importance, let values = measurement.importance[name] else {
        return nil
      }
      let first = (tensor.importanceExpert + expert) * tensor.columnCount
      return values[first..<first + tensor.columnCount]
    }

    private func requantize(
      _ type: TensorType, rowCount: Int, columns: Int, _ importance: ArraySlice<Float>?
    ) {
      guard let weights = UnsafePointer(reader.weights.baseAddress),
        let target = blocks.baseAddress,
        let result = restored.baseAddress
      else { return }
      func quantize(_ row: UnsafePointer<Float>?) {
        measurement.kernels.quantize(
          type, rows: weights, rowCount: rowCount, columnCount: columns, importance: row,
          into: target)
      }
      if let importance {
        importance.withUnsafeBufferPointer { quantize($0.baseAddress) }
      } else {
        quantize(nil)
      }
      measurement.kernels.dequantize(
        type, blocks: target, weightCount: rowCount * columns, into: result)
    }

    /// Weighted squares of the weights, or of what they differ by from the restored ones.
    private func squares(
      rowCount: Int, _ columns: Int, _ importance: ArraySlice<Float>?, minus: Bool
    ) -> Double {
      var sum = 0.0
      for row in 0..<rowCount {
        for column in 0..<columns {
          let place = row * columns + column
          var value = Double(reader.weights[place])
          if minus { value -= Double(restored[place]) }
          let weight = importance.map { Double($0[$0.startIndex + column]) } ?? 1
          sum += weight * value * value
        }
      }
      return sum
    }
  }
}
