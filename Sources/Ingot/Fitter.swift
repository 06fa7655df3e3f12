@_exported import Fitting
import ForwardRuns
import Quantizers
import ReferenceModel

/// What the types of an archive are chosen by.
public struct FitOptions: Sendable {
  public var target: FitTarget
  /// A text that shows how much each tensor matters; without it only errors of weights are known.
  public var text: String?
  /// Tokens of a chunk.
  public var contextLength: Int?
  /// Chunks of the text that are read.
  public var chunkLimit: Int?
  /// Types that tensors may get, by name; empty for the standard ones.
  public var types: [String] = []
  public var minimumType: String?
  public var maximumType: String?
  /// Types that are tried on the text, one tensor at a time; empty for the standard ones.
  public var probeTypes: [String] = []
  /// Where the recipe will be written, so that it is no input; `nil` where it is not.
  public var recipeFile: String?
  /// Where measurements are kept, for other targets and to go on after an interruption.
  public var measurementsFile: String?

  public init(target: FitTarget) { self.target = target }
}

/// Chooses the types of an archive's tensors for a size.
///
///     var options = FitOptions(target: .byteCount(60 << 30))
///     options.text = "calibration.txt"
///     let fitted = try Fitter(
///       checkpoint: "Llama-3.1-8B", output: "llama.gguf", recipe: Recipe(), options).run()
///     let summary = try Converter(
///       checkpoint: "Llama-3.1-8B", output: "llama.gguf", recipe: fitted.recipe).run()
public struct Fitter: Sendable {
  /// One-line remarks; known before anything is measured.
  public let notes: [String]
  let recipe: Recipe
  let options: FitOptions
  let checkpoint: String
  let output: String
  private let threadCount: Int
  let memoryLimit: UInt64
  /// Of the whole archive, before types are chosen.
  let base: Converter
  /// Types that each free tensor of the plan may get.
  let candidates: [Int: [TensorType]]
  private let probeTypes: CandidateTypes
  let opened: (model: OpenedModel, text: ChunkedText)?
  /// Everything that measurements depend on.
  private let run: [String]
  /// From an earlier run.
  private let known: FitMeasurements

  /// Tokens of the text that are read unless told otherwise.
  public static let defaultTokenCount = 4096
  public static let defaultContextLength = 512

  /// Opens the input and the text.
  ///
  /// - Parameters:
  ///   - checkpoint: directory or file.
  ///   - output: path of the archive that is planned for; nothing is written there.
  ///   - recipe: options that apply besides; tensors that these give a type keep it.
  ///   - options: the size, and what to choose by.
  ///   - memoryLimit: most resident bytes.
  ///   - threadCount: workers.
  /// - Throws: `FormatError` about an input, `UsageError`.
  public init(
    checkpoint: String, output: String, recipe: Recipe, _ options: FitOptions,
    memoryLimit: UInt64 = Verifier.defaultMemoryLimit,
    threadCount: Int = Converter.defaultThreadCount
  ) throws {
    self.options = options
    self.checkpoint = checkpoint
    self.output = output
    self.threadCount = threadCount
    self.memoryLimit = memoryLimit
    var recipe = recipe
    recipe.type = "Q8_0"
    recipe.isPure = false
    recipe.title = options.target.title
    self.recipe = recipe
    recipe.isDraft = true
    let base = try Converter(
      checkpoint: checkpoint, output: output, recipe: recipe, memoryLimit: memoryLimit)
    self.base = base
    try Self.checkOutputs(base.inputs.files, output: output, options)
    var notes = base.plan.notes
    (candidates, probeTypes) = try Converter.statingUsage {
      (try Self.candidates(base, options), try CandidateTypes(probeNames: options.probeTypes))
    }
    guard !candidates.isEmpty else {
      throw UsageError("options give every tensor its type: nothing is left to choose")
    }
    var run = ["ingot \(ingotVersion)", "sample \(TypeErrorMeasurement.standardSampleWeightCount)"]
    for path in base.plan.inputs { run.append(try Self.identity(path)) }
    if let path = recipe.importanceFile {
      run.append("importance " + (try Self.identity(path)))
      run += recipe.includedWeights.map { "with \($0)" }
      run += recipe.excludedWeights.map { "without \($0)" }
    }
    if let path = options.text {
      _ = try Converter.statingUsage { try MatrixLibrary.shared.get() }
      let model = try OpenedModel(checkpoint)
      let file = try Converter.statingUsage { try TextFile(path, memoryLimit: memoryLimit) }
      let contextLength = options.contextLength ?? Self.defaultContextLength
      guard ChunkedText.contextLengths.contains(contextLength) else {
        throw UsageError(
          "--text-context \(contextLength): takes \(ChunkedText.contextLengths.lowerBound) to "
            + "\(ChunkedText.contextLengths.upperBound)")
      }
      try Converter.statingUsage {
        try ChunkedText.check(contextLength: nil, chunkLimit: options.chunkLimit)
      }
      let limit = options.chunkLimit ?? max(1, Self.defaultTokenCount / contextLength)
      let text = try ChunkedText(
        file, tokens: file.tokens(model.encoder), encoder: model.encoder,
        contextLength: contextLength, chunkLimit: limit)
      if let warning = ChunkedText.warning(contextLength: contextLength, model: model) {
        notes.append(warning)
      }
      run.append(
        "text of \(file.bytes.count) bytes, CRC-32 \(String(file.checksum, radix: 16)), "
          + "\(text.chunkCount) chunks of \(contextLength)")
      opened = (model, text)
    } else {
      opened = nil
      notes.append("no --text: how much the model minds each tensor is not measured")
    }
    self.notes = notes
    self.run = run
    known = try options.measurementsFile.flatMap { try FitMeasurements($0, run: run) } ?? .init()
    try checkTarget()
  }

  /// Refuses to write over anything that is read, or two things to one place.
  private static func checkOutputs(_ inputs: InputFiles, output: String, _ options: FitOptions)
    throws
  {
    var inputs = inputs
    inputs.paths += [options.text].compactMap { $0 }
    let outputs = [output, options.measurementsFile, options.recipeFile].compactMap { $0 }
    for (index, path) in outputs.enumerated() {
      if inputs.contains(path) {
        throw UsageError("\(printable(path)) is an input: name another output")
      }
      if outputs[..<index].contains(where: { OutputFile.isSamePlace($0, path) }) {
        throw UsageError("\(printable(path)) would be written twice: name another output")
      }
    }
    if let path = options.recipeFile { try OutputFile.checkFolder(of: path) }
  }

  private static func identity(_ path: String) throws(FormatError) -> String {
    let identity = try PositionalFile(path).identity
    return "\(OutputFile.name(of: path)) of \(identity.byteCount) bytes, changed "
      + "\(identity.modifiedSeconds).\(identity.modifiedNanoseconds)"
  }

  private static func candidates(_ base: Converter, _ options: FitOptions) throws
    -> [Int: [TensorType]]
  {
    let choice = try CandidateTypes(
      names: options.types, minimum: options.minimumType, maximum: options.maximumType)
    var result: [Int: [TensorType]] = [:]
    for index in Fit.freeTensors(base.plan) {
      let tensor = base.plan.tensors[index]
      let types = choice.types(of: tensor, importance: tensor.importance != nil)
      guard !types.isEmpty else {
        throw UsageError(
          "none of the allowed types fits \(tensor.name), with rows of \(tensor.columnCount) "
            + "weights" + (tensor.importance == nil ? " and no importance" : ""))
      }
      result[index] = types
    }
    return result
  }

  /// Measures what is not known yet, and chooses.
  ///
  /// - Throws: `FormatError` about the input's contents, `FitTooSmall` when nothing fits the target,
  ///   `OutputError` when measurements cannot be kept, `FitInterrupted`.
  public func run(
    cancellation: CancellationFlag = CancellationFlag(),
    progress: (@Sendable (RunProgress) -> Void)? = nil
  ) throws -> FittedRecipe {
    let kernels = try Converter.statingUsage { try KernelTable.choice.get() }
    var measurements = known
    do {
      try measureErrors(&measurements, kernels, cancellation, progress)
      try measureDivergences(&measurements, kernels, cancellation, progress)
    } catch is ForwardCancelled {
      throw interrupted(measurements)
    } catch is ConversionCancelled {
      throw interrupted(measurements)
    }
    try base.inputs.source.checkUnchanged()
    return try choose(measurements)
  }

  private func interrupted(_ measurements: FitMeasurements) -> FitInterrupted {
    let isKept = options.measurementsFile != nil && !measurements.errors.isEmpty
    return FitInterrupted(
      measurementsFile: isKept ? options.measurementsFile : nil,
      isWanted: options.measurementsFile != nil)
  }

  private func keep(_ measurements: FitMeasurements) throws(OutputError) {
    guard let path = options.measurementsFile else { return }
    try measurements.write(path, run: run)
  }

  private func measureErrors(
    _ result: inout FitMeasurements, _ kernels: KernelTable, _ cancellation: CancellationFlag,
    _ progress: (@Sendable (RunProgress) -> Void)?
  ) throws {
    // All experts of a stack in the same types, also those whose type is not to be chosen.
    var types: [ExactString: [TensorType]] = [:]
    for (index, candidates) in candidates.sorted(by: { $0.key < $1.key }) {
      let stack = SplitExperts.place(of: base.plan.tensors[index].name).stack
      for type in candidates + probes(of: index)
      where types[stack]?.contains(type) != true {
        types[stack, default: []].append(type)
      }
    }
    // Experts that lie singly in the order in which they would be stacked.
    let places = base.plan.tensors.indices.compactMap {
      index -> (index: Int, types: [TensorType], place: (stack: ExactString, expert: Int))? in
      let place = SplitExperts.place(of: base.plan.tensors[index].name)
      return types[place.stack].map { (index, $0, place) }
    }.sorted { ($0.place.stack, $0.place.expert) < ($1.place.stack, $1.place.expert) }
    let isComplete = places.allSatisfy { entry in
      guard let errors = result.errors[entry.place.stack] else { return false }
      return entry.place.expert < errors.signals.count
        && entry.types.allSatisfy { errors.errors[$0] != nil }
    }
    if isComplete { return }
    let measured = try TypeErrorMeasurement(
      plan: base.plan, inputs: base.inputs, kernels: kernels, threadCount: threadCount,
      memoryLimit: memoryLimit, cancellation: cancellation
    ).run(places.map { ($0.index, $0.types) }) { progress?(RunProgress(tensors: $0)) }
    result.errors = [:]
    for (entry, errors) in zip(places, measured) { result.add(errors, to: entry.place) }
    try keep(result)
  }

  private func probes(of index: Int) -> [TensorType] {
    probeTypes.probes(of: base.plan.tensors[index], candidates: candidates[index] ?? [])
  }

  private func measureDivergences(
    _ result: inout FitMeasurements, _ kernels: KernelTable, _ cancellation: CancellationFlag,
    _ progress: (@Sendable (RunProgress) -> Void)?
  ) throws {
    guard let (opened, text) = opened else { return }
    var wanted: [ExactString: [TensorType]] = [:]
    for index in candidates.keys.sorted() {
      let stack = SplitExperts.place(of: base.plan.tensors[index].name).stack
      if wanted[stack] == nil { wanted[stack] = probes(of: index) }
    }
    var probes: [SensitivityRun.Probe] = []
    for role in opened.model.inputLengths.keys.sorted(by: { $0.archiveName < $1.archiveName }) {
      let name = ExactString(role.archiveName)
      for type in wanted[name] ?? [] where result.divergences[name]?[type] == nil {
        probes.append(SensitivityRun.Probe(role: role, type: type))
      }
    }
    let run = SensitivityRun(
      model: opened.model, text: text, importance: base.inputs.importance, kernels: kernels,
      threadCount: threadCount, memoryLimit: memoryLimit, cancellation: cancellation)
    try Converter.statingUsage {
      try run.run(probes, progress: progress) { found in
        for (probe, divergence) in found {
          result.divergences[ExactString(probe.role.archiveName), default: [:]][probe.type] =
            divergence
        }
        try keep(result)
      }
    }
  }
}

/// A choice of types that was stopped by a signal.
public struct FitInterrupted: Error, Sendable, CustomStringConvertible {
  /// What was kept, if anything was.
  var measurementsFile: String?
  /// Whether it would have been.
  var isWanted: Bool
  public var description: String {
    guard let measurementsFile else {
      return isWanted
        ? "interrupted before the first measurements were complete: nothing is kept"
        : "interrupted; with --measurements FILE, what was measured would have been kept"
    }
    return "interrupted; what was measured is in \(printable(measurementsFile)): "
      + "run the same command to go on"
  }
}
