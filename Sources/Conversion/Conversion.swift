import ByteIO
import Planning
import Quantizers
import Synchronization
import Tensors
import Threads

/// Everything that the workers of one conversion share; immutable but for its counters.
final class ConversionJob: Sendable {
  let plan: ConversionPlan
  let source: any TensorSource
  let inputs: [TensorDescriptor]
  let importance: [ExactString: [Float]]
  let kernels: KernelTable
  let schedule: ChunkSchedule
  let outputs: [OutputFile]
  /// One per output.
  let writeBack: [WriteBack]
  let allowsNonFinite: Bool

  /// Chunks handed out so far.
  let nextChunk = Atomic(0)
  let finishedByteCount = Atomic(0)
  /// The failure of the lowest chunk.
  ///
  /// Chunks are handed out in order and always finished, so this is the same failure at every
  /// thread count.
  let failure = Guarded<(chunk: Int, error: any Error)?>(nil)

  init(
    plan: ConversionPlan, source: any TensorSource, importance: [ExactString: [Float]],
    kernels: KernelTable, schedule: ChunkSchedule, outputs: [OutputFile], allowsNonFinite: Bool
  ) {
    self.plan = plan
    self.source = source
    inputs = source.tensors
    self.importance = importance
    self.kernels = kernels
    self.schedule = schedule
    self.outputs = outputs
    writeBack = outputs.map { WriteBack($0) }
    self.allowsNonFinite = allowsNonFinite
  }

  /// Has the bytes of a chunk that will be wanted soon read ahead.
  func prefetch(_ chunk: Chunk) {
    let tensor = plan.tensors[chunk.tensor]
    guard case .input(let index) = tensor.source,
      let rowBytes = tensor.sourceType.byteCount(weightCount: tensor.columnCount)
    else { return }
    // The rows of a permuted chunk lie near those of the same numbers.
    source.prefetch(
      inputs[index], at: (tensor.firstSourceRow + chunk.rows.lowerBound) * rowBytes,
      byteCount: chunk.rows.count * rowBytes)
  }

  /// An error about one weight, in the input's own coordinates.
  func error(
    about tensor: ConversionPlan.Tensor, row: Int, column: Int, reason: FormatError.Reason,
    advice: String
  ) -> FormatError {
    guard case .input(let index) = tensor.source else {
      return FormatError(file: "generated", field: tensor.name.string, reason: reason)
    }
    let input = inputs[index]
    let sourceRow = tensor.sourceRow(forOutputRow: row)
    let file = input.regions.first.map { source.files[$0.file] } ?? ""
    return FormatError(
      file: file, field: "tensor \(input.name), row \(sourceRow), column \(column)",
      reason: reason, advice: advice)
  }

  func record(_ error: any Error, chunk: Int) {
    failure.withLock { failure in
      if let known = failure, known.chunk <= chunk { return }
      failure = (chunk, error)
    }
  }
}

/// What the caller sees of a running conversion.
public struct ConversionProgress: Sendable {
  /// Bytes of finished output tensors and of all of them.
  public var finishedByteCount: UInt64
  public var totalByteCount: UInt64
}

/// A conversion that was stopped by a signal; nothing was left behind.
public struct ConversionCancelled: Error, Sendable {
  public init() {}
}

/// Carries out a plan: every chunk of rows is read, converted and written by whichever thread has
/// it, at the offset that the plan gives.
package struct Conversion: Sendable {
  package var plan: ConversionPlan
  package var source: any TensorSource
  /// Importance rows by tensor name: `experts × columns` values each.
  package var importance: [ExactString: [Float]]
  package var kernels: KernelTable
  package var threadCount: Int
  package var weightsPerChunk: Int
  /// Of tensors whose rows the input gathers from many places.
  package var gatheredWeightsPerChunk: Int
  package var allowsNonFinite: Bool
  package var cancellation: CancellationFlag

  package init(
    plan: ConversionPlan, source: any TensorSource, importance: [ExactString: [Float]],
    kernels: KernelTable, threadCount: Int, weightsPerChunk: Int,
    gatheredWeightsPerChunk: Int = 0, allowsNonFinite: Bool,
    cancellation: CancellationFlag = CancellationFlag()
  ) {
    self.plan = plan
    self.source = source
    self.importance = importance
    self.kernels = kernels
    self.threadCount = threadCount
    self.weightsPerChunk = weightsPerChunk
    self.gatheredWeightsPerChunk = gatheredWeightsPerChunk
    self.allowsNonFinite = allowsNonFinite
    self.cancellation = cancellation
  }

  /// Weights per chunk where memory allows: F32 rows of half a mebibyte stay in the L2 cache.
  package static let preferredWeightsPerChunk = 1 << 17

  /// Writes all outputs and gives them their names when every one is complete.
  ///
  /// - Throws: `FormatError` about the input, `OutputError`, or `ConversionCancelled`; no output
  ///   file is left then, and an old file of that name is as it was.
  package func run(progress: (@Sendable (ConversionProgress) -> Void)? = nil) throws {
    let schedule = ChunkSchedule(
      plan, weightsPerChunk: weightsPerChunk, gatheredWeightsPerChunk: gatheredWeightsPerChunk)
    var outputs: [OutputFile] = []
    for output in plan.outputs {
      let file = try OutputFile(output.path)
      outputs.append(file)
      try file.setByteCount(output.byteCount)
      try output.header.withUnsafeBytes { header in try file.write(header, at: 0) }
    }
    let job = ConversionJob(
      plan: plan, source: source, importance: importance, kernels: kernels, schedule: schedule,
      outputs: outputs, allowsNonFinite: allowsNonFinite)
    let total = plan.tensorByteCount
    let cancellation = cancellation

    let workerCount = max(1, min(threadCount, schedule.chunkCount))
    let readAhead = 2 * workerCount
    WorkerThreads.run(count: workerCount) { _ in
      var worker = ChunkWorker(job)
      while true {
        let index = job.nextChunk.wrappingAdd(1, ordering: .relaxed).oldValue
        // A chunk before the failed one is still done: it may fail too, and comes first.
        guard index < schedule.chunkCount, !cancellation.isCancelled,
          job.failure.withLock({ failure in failure.map { index < $0.chunk } ?? true })
        else { return }
        if index + readAhead < schedule.chunkCount { job.prefetch(schedule[index + readAhead]) }
        let chunk = schedule[index]
        do {
          try worker.run(chunk)
        } catch {
          job.record(error, chunk: index)
          return
        }
        let tensor = job.plan.tensors[chunk.tensor]
        let bytes = tensor.type.byteCount(weightCount: chunk.weightCount) ?? 0
        let done = job.finishedByteCount.wrappingAdd(bytes, ordering: .relaxed).newValue
        progress?(ConversionProgress(finishedByteCount: UInt64(done), totalByteCount: total))
      }
    }

    do {
      if let failure = job.failure.withLock({ $0?.error }) { throw failure }
      if cancellation.isCancelled { throw ConversionCancelled() }
      try source.checkUnchanged()
      for output in outputs { try output.sync() }
      if cancellation.isCancelled { throw ConversionCancelled() }
      try Self.commit(outputs)
    } catch {
      for output in outputs { output.discard() }
      throw error
    }
  }

  /// Gives the files their names, the first part of a split last.
  ///
  /// A set without its first part is no archive, so a failure half-way leaves none behind: the
  /// parts that already had their names are removed again.
  private static func commit(_ outputs: [OutputFile]) throws(OutputError) {
    var committed: [OutputFile] = []
    for output in outputs.reversed() {
      do throws(OutputError) {
        try output.commit()
        committed.append(output)
      } catch {
        for output in committed { OutputFile.remove(output.path) }
        throw error
      }
    }
  }
}
