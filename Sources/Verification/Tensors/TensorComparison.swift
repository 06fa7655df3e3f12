import ByteIO
import Quantizers
import ReferenceModel
import Synchronization
import Tensors
import Threads

/// Compares every tensor of an archive with its source, reading each once.
///
/// Source: section "Tensors" of formats/verification/README.md
package struct TensorComparison: Sendable {
  private let reference: ReferenceModel
  private let candidate: ReferenceModel
  private let kernels: KernelTable
  private let threadCount: Int
  private let pairs: [TensorPair]

  /// - Throws: `FormatError` when the models do not have the same tensors.
  package init(
    reference: ReferenceModel, candidate: ReferenceModel, kernels: KernelTable, threadCount: Int,
    memoryLimit: UInt64 = .max
  ) throws(FormatError) {
    precondition(threadCount > 0)
    self.reference = reference
    self.candidate = candidate
    self.kernels = kernels
    pairs = try TensorPair.all(reference: reference, candidate: candidate)
    // One thread has to do, whatever it takes: a head is compared in one piece.
    let used = ProcessMemory.residentByteCount
    let free = memoryLimit > used ? memoryLimit - used : 0
    let perThread = UInt64(pairs.map(ComparisonWorker.byteCount).max() ?? 1) + (1 << 20)
    self.threadCount = max(1, min(threadCount, Int(clamping: free / perThread)))
  }

  /// Bytes of the candidate that will be compared.
  package var byteCount: UInt64 { pairs.reduce(0) { $0 + UInt64($1.candidate.byteCount) } }

  /// Compares all tensors.
  ///
  /// - Parameters:
  ///   - cancellation: looked at between chunks.
  ///   - progress: called with the candidate's bytes that are done, from any thread.
  /// - Returns: one entry per tensor; where it stacks experts, one for each.
  /// - Throws: `FormatError` when reading fails, `ForwardCancelled`.
  package func run(
    cancellation: CancellationFlag, progress: (@Sendable (UInt64) -> Void)? = nil
  ) throws -> [TensorError] {
    let chunks = ComparisonChunk.all(pairs)
    let failure = Guarded<(any Error)?>(nil)
    let shared = Shared(chunks: chunks, pairCount: pairs.count)
    WorkerThreads.run(count: threadCount) { [self] _ in
      let worker = makeWorker()
      do {
        while let chunk = shared.nextChunk(), failure.withLock({ $0 == nil }) {
          if cancellation.isCancelled { throw ForwardCancelled() }
          let pair = pairs[chunk.pair]
          shared.add(try worker.compare(pair, chunk), chunk)
          let share = Double(chunk.rows.count) / Double(max(1, pair.rowCount))
          progress?(shared.finished(UInt64(share * Double(pair.candidate.byteCount))))
        }
      } catch {
        failure.withLock { if $0 == nil { $0 = error } }
      }
    }
    if let failure = failure.withLock({ $0 }) { throw failure }
    let worker = makeWorker()
    var errors: [TensorError] = []
    var diagnosisCount = 0
    for (pair, sums) in zip(pairs, shared.sums) {
      if cancellation.isCancelled { throw ForwardCancelled() }
      let error = try judge(
        pair, sums, worker, diagnoses: diagnosisCount < Self.diagnosisLimit)
      if error.finding != nil { diagnosisCount += 1 }
      errors.append(error)
    }
    return errors
  }

  /// Bad tensors whose rows are read again to find out why: where more are bad, the cause of these
  /// will be theirs, or there is none to be found.
  private static let diagnosisLimit = 32

  private func makeWorker() -> ComparisonWorker {
    ComparisonWorker(
      reference: reference, candidate: candidate, kernels: kernels)
  }

  // MARK: Judgement

  private func judge(
    _ pair: TensorPair, _ sums: ComparisonSums, _ worker: ComparisonWorker, diagnoses: Bool
  ) throws -> TensorError {
    let error = sums.products.relativeError
    let rows = 0..<pair.rowCount
    var allowed = ErrorBand.unsuspicious(pair.candidate.type)
    if let band = allowed, error.isFinite, error > band {
      allowed = max(band, try explained(pair, rows, worker))
    }
    var finding: String?
    if !error.isFinite {
      finding = "is not finite"
    } else if let allowed, error > allowed {
      let diagnosis = Diagnosis(
        pair, rows: rows, allowed: allowed, reference: reference, worker: worker)
      finding = diagnoses ? try diagnosis.run(sums.products) : diagnosis.plain(sums.products)
    } else if sums.blocks.count > 0 {
      finding = describe(sums.blocks, pair)
    }
    return TensorError(
      name: pair.candidate.tensor.name.string, expert: pair.expert,
      sourceName: pair.reference.tensor.name.string, type: pair.candidate.type,
      weightCount: pair.candidate.elementCount, byteCount: pair.candidate.byteCount,
      relativeRMSError: error,
      cosine: sums.products.cosine, maximumError: sums.products.largest_dd.squareRoot(),
      signalToNoise: error == 0 ? .infinity : -20 * decimalLogarithm(error),
      allowedError: allowed, finding: finding)
  }

  /// What the source allows when rows from all over it are quantized again without importance.
  private func explained(
    _ pair: TensorPair, _ rows: Range<Int>, _ worker: ComparisonWorker
  ) throws -> Double {
    guard pair.candidate.type.weightsPerBlock > 1 else { return 0 }
    var products = VectorPair()
    let samples = min(16, rows.count)
    for sample in 0..<samples {
      let period = pair.rows.period
      let start = rows.lowerBound + rows.count * sample / samples / period * period
      try worker.read(pair, rows: start..<start + period)
      products += worker.quantizedAgain(pair.candidate.type, start: 0, count: pair.columnCount)
    }
    return ErrorBand.allowed(quantizedAgain: products.relativeError)
  }

  private func describe(_ faults: BlockFaults, _ pair: TensorPair) -> String {
    let type = pair.candidate.type
    let first = pair.candidate.firstElement
    let block = (first + faults.row * pair.columnCount + faults.column) / type.weightsPerBlock
    let offset =
      (pair.candidate.tensor.regions.first?.fileOffset ?? 0)
      + UInt64(block * type.bytesPerBlock)
    let others = faults.count == 1 ? "" : " and \(faults.count - 1) more blocks"
    return "block \(block) (row \(faults.row), column \(faults.column), byte \(offset) of its "
      + "file)\(others): error \(significant(faults.error, 3)), quantizing its source gives "
      + significant(faults.expectedError, 3)
  }

  /// What the threads share.
  private final class Shared: Sendable {
    private let chunks: [ComparisonChunk]
    private let next = Atomic(0)
    private let bytes = Atomic<UInt64>(0)
    private let totals: Guarded<[ComparisonSums]>

    init(chunks: [ComparisonChunk], pairCount: Int) {
      self.chunks = chunks
      totals = Guarded(Array(repeating: ComparisonSums(), count: pairCount))
    }

    func nextChunk() -> ComparisonChunk? {
      let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
      return index < chunks.count ? chunks[index] : nil
    }

    func add(_ sums: ComparisonSums, _ chunk: ComparisonChunk) {
      totals.withLock { $0[chunk.pair] += sums }
    }

    func finished(_ count: UInt64) -> UInt64 {
      bytes.wrappingAdd(count, ordering: .relaxed).newValue
    }

    var sums: [ComparisonSums] { totals.withLock { $0 } }
  }
}
