@_exported import Fitting
import ForwardRuns
import Quantizers
import ReferenceModel

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
  public var notes: [String] { base.plan.notes + fitNotes }
  /// Those about the choice, which no plan of the archive repeats.
  public let fitNotes: [String]
  let recipe: Recipe
  let options: FitOptions
  let checkpoint: String
  let output: String
  let threadCount: Int
  let memoryLimit: UInt64
  /// Of the whole archive, before types are chosen.
  let base: Converter
  /// Types that each free tensor of the plan may get.
  let candidates: [Int: [TensorType]]
  /// Types that options gave to tensors and that lose something: no choice, but they count.
  let given: [Int: TensorType]
  let probeTypes: CandidateTypes
  let opened: (model: OpenedModel, text: ChunkedText)?
  /// Everything that measurements depend on.
  let run: [String]
  /// From an earlier run.
  let known: FitMeasurements

  /// Tokens of the text that are read unless told otherwise.
  public static let defaultTokenCount = 4096
  public static let defaultContextLength = 512

  /// Opens the input and the text.
  ///
  /// - Parameters:
  ///   - checkpoint: directory or file.
  ///   - output: path of the archive that is planned for; nothing is written there.
  ///   - recipe: options that apply besides; tensors that these give a type keep it, and what that
  ///     costs counts.
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
    recipe.title = options.target?.title
    // What the archive will say of them, so that its header has its length.
    recipe.expectedDivergence = options.text == nil ? nil : 0
    recipe.typesHaveImportance = recipe.importanceFile != nil
    self.recipe = recipe
    recipe.isDraft = true
    let base = try Converter(
      checkpoint: checkpoint, output: output, recipe: recipe, memoryLimit: memoryLimit)
    self.base = base
    try Self.checkOutputs(base.inputs.files, output: output, options)
    var notes: [String] = []
    (candidates, probeTypes) = try Converter.statingUsage {
      (try Self.candidates(base, options), try CandidateTypes(probeNames: options.probeTypes))
    }
    given = try Self.given(base)
    guard !candidates.isEmpty else {
      throw UsageError("options give every tensor its type: nothing is left to choose")
    }
    var run = ["ingot \(ingotVersion)", "sample \(TypeErrorMeasurement.standardSampleWeightCount)"]
    for path in base.plan.inputs { run.append(try Self.identity(path)) }
    run += try Self.configuration(base.inputs.files.folder)
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
        contextLength: contextLength, chunkLimit: limit, option: "--text-context")
      if let warning = ChunkedText.warning(contextLength: contextLength, model: model) {
        notes.append(warning)
      }
      run.append(
        "text of \(file.bytes.count) bytes, CRC-32 \(String(file.checksum, radix: 16)), "
          + "\(text.chunkCount) chunks of \(contextLength), "
          + "CRC-32 of its tokens \(Self.checksum(text))")
      opened = (model, text)
    } else {
      opened = nil
      notes.append(
        "no --text: how much the model minds each tensor is not measured, but taken from a table")
    }
    if case .memory(let target) = options.target, let model = try? base.memoryDimensions() {
      notes += [target.contextWarning(model)].compactMap { $0 }
    }
    fitNotes = notes
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
    let results = options.plotFiles + [options.recipeFile].compactMap { $0 }
    let outputs = [output] + [options.measurementsFile].compactMap { $0 } + results
    for (index, path) in outputs.enumerated() {
      if inputs.contains(path) {
        throw UsageError("\(printable(path)) is an input: name another output")
      }
      if outputs[..<index].contains(where: { OutputFile.isSamePlace($0, path) }) {
        throw UsageError("\(printable(path)) would be written twice: name another output")
      }
    }
    for path in results { try OutputFile.checkFolder(of: path) }
  }

  private static func candidates(_ base: Converter, _ options: FitOptions) throws
    -> [Int: [TensorType]]
  {
    let choice = try CandidateTypes(
      names: options.types, minimum: options.minimumType, maximum: options.maximumType,
      fastOn: options.fastOn)
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

  /// Tensors whose type an option decided, unless it holds everything that the input has.
  private static func given(_ base: Converter) throws(UsageError) -> [Int: TensorType] {
    var result: [Int: TensorType] = [:]
    for (index, tensor) in base.plan.tensors.enumerated()
    where tensor.losesByOption {
      guard tensor.hasWhatItNeeds(for: tensor.type) else {
        throw UsageError(type: tensor.type, needsImportanceFor: tensor.name)
      }
      result[index] = tensor.type
    }
    return result
  }

  /// Types to measure by tensor: those to choose from, or the one that was given.
  var weighed: [Int: [TensorType]] {
    candidates.merging(given.mapValues { [$0] }) { free, _ in free }
  }

  /// Measures what is not known yet, and chooses.
  ///
  /// - Throws: `FormatError` about the input's contents, `FitTooSmall` when nothing fits the target,
  ///   `OutputError` when measurements cannot be kept, `FitInterrupted`.
  public func run(
    cancellation: CancellationFlag = CancellationFlag(),
    progress: (@Sendable (RunProgress) -> Void)? = nil
  ) throws -> FittedRecipe {
    guard let target = options.target else {
      throw UsageError("types need a size to be chosen for")
    }
    return try choose(
      measure(cancellation: cancellation, progress: progress), for: target)
  }
}
