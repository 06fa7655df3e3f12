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
  let outputs: PartialOutputs
  /// One per output that is not complete.
  let writeBack: [WriteBack?]
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
    kernels: KernelTable, schedule: ChunkSchedule, outputs: PartialOutputs, allowsNonFinite: Bool
  ) {
    self.plan = plan
    self.source = source
    inputs = source.tensors
    self.importance = importance
    self.kernels = kernels
    self.schedule = schedule
    self.outputs = outputs
    writeBack = outputs.files.indices.map { index in
      outputs.files[index].map {
        WriteBack($0, from: outputs.covered[index].firstGap(in: outputs.ranges[index]) ?? 0)
      }
    }
    self.allowsNonFinite = allowsNonFinite
  }

  /// Bytes of a chunk's output that are still to be written; empty where there are none.
  func missing(_ chunk: Chunk) -> Range<UInt64> {
    let tensor = plan.tensors[chunk.tensor]
    let first = chunk.rows.lowerBound * tensor.columnCount + chunk.columns.lowerBound
    guard let skipped = tensor.type.byteCount(weightCount: first),
      let byteCount = tensor.type.byteCount(weightCount: chunk.weightCount)
    else { preconditionFailure("chunk of partial blocks of \(tensor.name)") }
    let start = tensor.fileOffset + UInt64(skipped)
    return outputs.missing(start..<start + UInt64(byteCount), output: tensor.output)
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
  /// Whether what is there already is being read back.
  public var isChecking = false

  package init(finishedByteCount: UInt64, totalByteCount: UInt64, isChecking: Bool = false) {
    self.finishedByteCount = finishedByteCount
    self.totalByteCount = totalByteCount
    self.isChecking = isChecking
  }
}

/// A conversion that was stopped by a signal.
public struct ConversionCancelled: Error, Hashable, Sendable {
  /// What the next run can go on from; `nil` where nothing is left.
  public var kept: KeptWork?
  public init(kept: KeptWork? = nil) { self.kept = kept }
}

extension ConversionCancelled: CustomStringConvertible {
  public var description: String {
    kept.map { "interrupted; \($0.text)" }
      ?? "interrupted before anything was done; the same command starts again"
  }
}

/// What a conversion did and found done.
package struct ConversionOutcome: Sendable {
  /// Bytes of tensors of the run's share, and how many of them an earlier run had written.
  package var totalByteCount: UInt64
  package var resumedByteCount: UInt64
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
  package var start = PartialOutputs.Start.begin
  /// Words of the command line, for `finish` to name what has to be run again.
  package var command: [String] = []
  /// See `RunDetails`: what makes a difference from another conversion plain.
  package var details: [String] = []
  /// Of this program; what another one left unfinished is not continued.
  package var version: String

  package init(
    plan: ConversionPlan, source: any TensorSource, importance: [ExactString: [Float]],
    kernels: KernelTable, threadCount: Int, weightsPerChunk: Int,
    gatheredWeightsPerChunk: Int = 0, allowsNonFinite: Bool,
    cancellation: CancellationFlag = CancellationFlag(), version: String = ""
  ) {
    self.version = version
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

  /// Writes all outputs and gives them their names when every one is complete; of a share, only
  /// its bytes.
  ///
  /// - Parameters:
  ///   - progress: gets what is done, from any thread.
  ///   - note: gets remarks on what an earlier run left.
  /// - Returns: how much of it an earlier run had done.
  /// - Throws: `FormatError` about the input, after which nothing is left; `OutputError` or
  ///   `ConversionCancelled`, after which what was done is kept for the next run. An old file of an
  ///   output's name is as it was.
  @discardableResult
  package func run(
    progress: (@Sendable (ConversionProgress) -> Void)? = nil, note: (String) -> Void = { _ in }
  ) throws -> ConversionOutcome {
    let schedule = ChunkSchedule(
      plan, weightsPerChunk: weightsPerChunk, gatheredWeightsPerChunk: gatheredWeightsPerChunk)
    let identity = try identity()
    let planned = plan.tensorByteCount
    // Headers are read back too, and no part of what is counted.
    let readBack = Atomic<Int>(-Int(plan.totalByteCount - planned))
    let outputs: PartialOutputs
    do {
      outputs = try PartialOutputs(
        plan, identity: identity, start: start, command: command, threadCount: threadCount,
        cancellation: cancellation, note: note
      ) { byteCount in
        let done = readBack.wrappingAdd(byteCount, ordering: .relaxed).newValue
        progress?(
          ConversionProgress(
            finishedByteCount: min(planned, UInt64(clamping: done)), totalByteCount: planned,
            isChecking: true))
      }
    } catch is ConversionCancelled {
      // While it was read back; all of it is still there.
      throw ConversionCancelled(
        kept: KeptWork(output: plan.journalBase, finished: nil, share: start.share))
    }
    let (total, resumed) = outputs.tensorByteCounts
    let job = ConversionJob(
      plan: plan, source: source, importance: importance, kernels: kernels, schedule: schedule,
      outputs: outputs, allowsNonFinite: allowsNonFinite)
    job.finishedByteCount.store(Int(resumed), ordering: .relaxed)
    if resumed > 0 {
      note("going on after \(resumed) of \(total) bytes")
      progress?(ConversionProgress(finishedByteCount: resumed, totalByteCount: total))
    }
    do {
      try outputs.writeFixedBytes()
      write(job, total: total, progress)
      if let failure = job.failure.withLock({ $0?.error }) { throw failure }
      if cancellation.isCancelled { throw ConversionCancelled() }
      try source.checkUnchanged()
      if start.share == nil { try outputs.commit() } else { try outputs.finishShare() }
    } catch {
      throw outputs.stop(
        after: error, finished: UInt64(job.finishedByteCount.load(ordering: .relaxed)),
        total: total)
    }
    return ConversionOutcome(totalByteCount: total, resumedByteCount: resumed)
  }

  private func identity() throws(FormatError) -> JournalHead.Identity {
    let identity = try ConversionIdentity(
      plan: plan, source: source, importance: importance, allowsNonFinite: allowsNonFinite,
      version: version, shareCount: start.share?.count ?? 1)
    return JournalHead.Identity(run: identity.run, local: identity.local, details: details)
  }

  /// Has every chunk that is not there written by whichever thread has it.
  private func write(
    _ job: ConversionJob, total: UInt64, _ progress: (@Sendable (ConversionProgress) -> Void)?
  ) {
    let schedule = job.schedule
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
        if index + readAhead < schedule.chunkCount {
          let next = schedule[index + readAhead]
          if !job.missing(next).isEmpty { job.prefetch(next) }
        }
        let chunk = schedule[index]
        let missing = job.missing(chunk)
        if missing.isEmpty { continue }
        do {
          try worker.run(chunk)
        } catch {
          job.record(error, chunk: index)
          return
        }
        let output = job.plan.tensors[chunk.tensor].output
        let bytes = Int(
          missing.upperBound - missing.lowerBound
            - job.outputs.covered[output].byteCount(in: missing))
        let done = job.finishedByteCount.wrappingAdd(bytes, ordering: .relaxed).newValue
        progress?(ConversionProgress(finishedByteCount: UInt64(done), totalByteCount: total))
      }
    }
  }
}
