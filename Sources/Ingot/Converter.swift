@_exported import ByteIO
@_exported import Conversion
@_exported import Packing
@_exported import Planning
@_exported import Tensors
@_exported import Threads
import ForwardRuns
import GGUF
import Quantizers
import ReferenceModel

/// Version of this release; stored in archives as `ingot.version`.
public let ingotVersion = "0.1.0"

/// Converts a checkpoint or an archive to a GGUF archive.
///
///     var converter = try Converter(
///       checkpoint: "Llama-3.1-8B", output: "llama.gguf", recipe: Recipe())
///     print(converter.plan.table)
///     let summary = try converter.run()
public struct Converter: Sendable {
  /// Resident memory that a conversion stays below unless told otherwise.
  public static let defaultMemoryLimit: UInt64 = 512 << 20
  public static var defaultThreadCount: Int { ProcessMemory.processorCount }
  /// Names of the stock mixes, for help texts and completions.
  public static var mixNames: [String] {
    StockMix.all.filter { KernelTable.scalar.canQuantize($0.defaultType) }.map(\.name)
  }

  /// Made from headers alone; nothing has been written.
  public let plan: ConversionPlan
  public var threadCount = Converter.defaultThreadCount
  /// Most resident bytes; planning, which reads tokenizer and importance, has kept to it already.
  public var memoryLimit: UInt64
  /// What to do with what an earlier run left unfinished.
  public var start = ConversionStart.begin
  /// Words of the command line, for `finish` to say what has to be run again.
  public var command: [String] = []
  /// Cuts chunks of this size whatever memory allows, for tests.
  package var weightsPerChunk: Int?
  let inputs: PlannedInputs
  /// Most resident bytes while planning; 0 where the process had already had more before.
  private let planningPeak: UInt64

  /// Opens the input, reads its headers, and plans.
  ///
  /// - Parameters:
  ///   - checkpoint: directory or file.
  ///   - output: path of the archive; `nil` writes the projector alone.
  ///   - projector: what to write of a vision tower; `nil` for nothing.
  ///   - recipe: types and options.
  ///   - memoryLimit: most resident bytes.
  /// - Throws: `FormatError` about the input, or `UsageError` about the recipe.
  public init(
    checkpoint: String, output: String?, projector: ProjectorOutput? = nil,
    recipe: Recipe = Recipe(), memoryLimit: UInt64 = Converter.defaultMemoryLimit
  ) throws {
    self.memoryLimit = memoryLimit
    let peakBefore = ProcessMemory.peakResidentByteCount
    (plan, inputs) = try Self.statingUsage {
      try makePlan(
        checkpoint: checkpoint, output: output, projector: projector, recipe: recipe,
        memoryLimit: memoryLimit, version: ingotVersion)
    }
    let peak = ProcessMemory.peakResidentByteCount
    planningPeak = peak > peakBefore ? peak : 0
  }

  /// Carries out the plan, or with `start` a share of it.
  ///
  /// - Parameters:
  ///   - cancellation: stops it.
  ///   - progress: gets what is done, from any thread.
  ///   - note: gets remarks on what an earlier run left.
  /// - Returns: what was done.
  /// - Throws: `FormatError` about the input's contents, `UsageError` when the memory limit is too
  ///   small; `OutputError` or `ConversionCancelled`, after which a run with `start` at `.resume`
  ///   goes on. No output is left under its final name then.
  public func run(
    cancellation: CancellationFlag = CancellationFlag(),
    progress: (@Sendable (ConversionProgress) -> Void)? = nil, note: (String) -> Void = { _ in }
  ) throws -> ConversionSummary {
    let start = ContinuousClock.now
    if share != nil { try FinishedOutputs.refuse(plan) }
    try checkDiskSpace()
    let kernels = try Self.statingUsage { try KernelTable.choice.get() }
    let budget = try Self.statingUsage {
      try MemoryBudget(
        plan: plan, limit: memoryLimit, threadCount: threadCount,
        used: ProcessMemory.residentByteCount
          + UInt64(inputs.source.heldByteLimit(threadCount: threadCount)),
        peak: planningPeak, besides: FrameCache.byteCount,
        held: FrameCache.isInUse ? Self.heldByteLimit : 0)
    }
    inputs.source.hold(upTo: budget.heldByteCount)
    var conversion = Conversion(
      plan: plan, source: inputs.source, importance: inputs.importance,
      kernels: kernels, threadCount: budget.threadCount,
      weightsPerChunk: weightsPerChunk ?? budget.weightsPerChunk,
      gatheredWeightsPerChunk: budget.gatheredWeightsPerChunk,
      allowsNonFinite: inputs.allowsNonFinite,
      cancellation: cancellation, version: ingotVersion)
    conversion.start = self.start.state
    conversion.command = command
    conversion.details = inputs.details
    let outcome = try conversion.run(progress: progress, note: note)
    return ConversionSummary(
      plan: plan, outcome: outcome, share: self.start.share, elapsed: ContinuousClock.now - start)
  }

  /// Frames of packed files are unpacked whole: what is read of them in strips is held, up to the
  /// largest matrix of an expert that there is (Llama 4).
  private static let heldByteLimit = 96 << 20

  /// Gives the errors about options of the layers below the one type that callers look for.
  static func statingUsage<Result>(_ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch let error as OptionError {
      throw UsageError(error.description)
    } catch let error as MetadataOverride.ParseError {
      throw UsageError(error.description)
    } catch let error as KernelChoiceError {
      throw UsageError(error.description)
    } catch let error as MatrixLibraryError {
      throw UsageError(error.description)
    } catch let error as ForwardBudget.TooSmall {
      throw UsageError(error.description)
    } catch let error as MemoryBudget.TooSmall {
      throw UsageError(error.description)
    }
  }

  /// The share that `run` writes; `nil` for all of the plan.
  public var share: WorkShare? { start.share }

  /// What `run` could go on from, or why it could not; `nil` when nothing is unfinished.
  ///
  /// - Throws: `FormatError` when an input cannot be read.
  public var unfinished: String? {
    get throws {
      try PartialOutputs.unfinished(
        of: plan, source: inputs.source, importance: inputs.importance,
        allowsNonFinite: inputs.allowsNonFinite, version: ingotVersion, share: share,
        details: inputs.details)
    }
  }

  /// Why `run` would not even start to write; `nil` when nothing is known to stand against it.
  public var obstacle: String? {
    do {
      for output in plan.outputs { try OutputFile.checkFolder(of: output.path) }
      if share != nil { try FinishedOutputs.refuse(plan) }
      try checkDiskSpace()
      return nil
    } catch {
      return "\(error)"
    }
  }

  private func checkDiskSpace() throws(OutputError) {
    for output in plan.outputs {
      let needed = plan.outputs.reduce(0) {
        // What an earlier run wrote is gone on from or replaced: its place is there.
        $0 + (OutputFile.isSameFolder($1.path, output.path) ? PartialNames.missing($1) : 0)
      }
      guard let free = OutputFile.freeByteCount(inFolderOf: output.path), free < needed else {
        continue
      }
      throw OutputError(
        path: output.path, step: .freeSpace, reason: "needs \(needed) bytes, \(free) are free")
    }
  }
}

/// What a conversion does with what an earlier one to the same output left unfinished.
public enum ConversionStart: Hashable, Sendable {
  /// Replaces it.
  case begin
  /// Goes on from it; without any, begins.
  case resume
  /// Writes one share of the plan, and goes on where it was begun; a `Finisher` completes all.
  case share(WorkShare)

  var share: WorkShare? { if case .share(let share) = self { share } else { nil } }

  fileprivate var state: PartialOutputs.Start {
    switch self {
    case .begin: .begin
    case .resume: .resume
    case .share(let share): .share(share)
    }
  }
}

/// What a finished conversion did.
public struct ConversionSummary: Sendable {
  public var outputs: [String]
  /// The one among them that holds a vision tower.
  public var projector: String?
  public var byteCount: UInt64
  public var tensorCount: Int
  /// Of the language model.
  public var weightCount: UInt64
  public var bitsPerWeight: Double
  /// Bytes of tensors that an earlier run had written.
  public var resumedByteCount: UInt64
  /// The share of the plan that was written, and its bytes of tensors; `nil` for all of it.
  public var share: WorkShare?
  public var shareByteCount: UInt64?
  /// The path that a `Finisher` takes.
  public var base: String
  public var elapsed: Duration
  public var peakResidentByteCount: UInt64

  init(plan: ConversionPlan, outcome: ConversionOutcome, share: WorkShare?, elapsed: Duration) {
    resumedByteCount = outcome.resumedByteCount
    self.share = share
    shareByteCount = share == nil ? nil : outcome.totalByteCount
    base = plan.journalBase
    outputs = plan.outputs.map(\.path)
    projector = plan.outputs.first { $0.kind == .mmproj }?.path
    byteCount = plan.totalByteCount
    tensorCount = plan.tensors.count
    weightCount = plan.weightCount
    bitsPerWeight = plan.bitsPerWeight
    self.elapsed = elapsed
    peakResidentByteCount = ProcessMemory.peakResidentByteCount
  }
}
