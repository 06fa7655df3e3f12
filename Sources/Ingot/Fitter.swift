@_exported import Fitting
import ForwardRuns
import Quantizers
import ReferenceModel
import StrictJSON

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
  /// Types that are tried on the model, one tensor at a time; empty for the standard one.
  public var probeTypes: [String] = []

  public init(target: FitTarget) { self.target = target }
}

/// Chooses the types of an archive's tensors for a size.
///
///     var options = FitOptions(target: .byteCount(60 << 30))
///     options.text = "calibration.txt"
///     let fitted = try Fitter(
///       checkpoint: "Llama-3.1-8B", output: "llama.gguf", recipe: recipe, options).run()
///     let summary = try Converter(
///       checkpoint: "Llama-3.1-8B", output: "llama.gguf", recipe: fitted.recipe).run()
public struct Fitter: Sendable {
  private let checkpoint: String
  private let output: String
  private let recipe: Recipe
  private let options: FitOptions
  private let threadCount: Int
  private let memoryLimit: UInt64
  /// Of the whole archive, before types are chosen.
  private let base: Converter
  private let candidates: [Int: [TensorType]]
  private let opened: (model: OpenedModel, text: ChunkedText)?

  /// Tokens of the text that are read unless told otherwise.
  public static let defaultTokenCount = 4096
  public static let defaultContextLength = 512

  /// Opens the input and the text.
  ///
  /// - Parameters:
  ///   - recipe: options that apply besides; tensors that these give a type keep it.
  /// - Throws: `FormatError` about an input, `UsageError`.
  public init(
    checkpoint: String, output: String, recipe: Recipe, _ options: FitOptions,
    memoryLimit: UInt64 = Converter.defaultMemoryLimit,
    threadCount: Int = Converter.defaultThreadCount
  ) throws {
    self.checkpoint = checkpoint
    self.output = output
    self.options = options
    self.threadCount = threadCount
    self.memoryLimit = memoryLimit
    var recipe = recipe
    recipe.type = "Q8_0"
    recipe.isPure = false
    recipe.title = options.target.title
    self.recipe = recipe
    let base = try Converter(
      checkpoint: checkpoint, output: output, recipe: recipe, memoryLimit: memoryLimit)
    self.base = base
    candidates = try Converter.statingUsage { try Self.candidates(base, options) }
    guard let path = options.text else {
      opened = nil
      return
    }
    _ = try Converter.statingUsage { try MatrixLibrary.shared.get() }
    let model = try OpenedModel(checkpoint)
    let file = try Converter.statingUsage { try TextFile(path, memoryLimit: memoryLimit) }
    let contextLength = options.contextLength ?? Self.defaultContextLength
    let limit = options.chunkLimit ?? max(1, Self.defaultTokenCount / contextLength)
    opened = (
      model,
      try ChunkedText(
        file, tokens: file.tokens(model.encoder), encoder: model.encoder,
        contextLength: contextLength, chunkLimit: limit)
    )
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
          "none of the allowed types fits \(tensor.name), with rows of \(tensor.columnCount) weights"
            + (tensor.importance == nil ? " and no importance" : ""))
      }
      result[index] = types
    }
    return result
  }

  /// Measures, chooses, and plans.
  public func run(
    cancellation: CancellationFlag = CancellationFlag(),
    progress: (@Sendable (RunProgress) -> Void)? = nil
  ) throws -> FittedRecipe {
    let kernels = try Converter.statingUsage { try KernelTable.choice.get() }
    let measurements = try measure(kernels, cancellation, progress)
    let fit = try Converter.statingUsage {
      try Fit(
        base.plan, candidates: candidates, measurements: measurements, target: options.target,
        alignment: 32)
    }
    var recipe = recipe
    recipe.types = fit.types
    return FittedRecipe(recipe: recipe, fit: fit, isMeasured: opened != nil)
  }

  private func measure(
    _ kernels: KernelTable, _ cancellation: CancellationFlag,
    _ progress: (@Sendable (RunProgress) -> Void)?
  ) throws -> FitMeasurements {
    // Experts that lie singly in the order in which they would be stacked.
    let places = candidates.keys.map { index in
      (index: index, place: SplitExperts.place(of: base.plan.tensors[index].name))
    }.sorted { ($0.place.stack, $0.place.expert) < ($1.place.stack, $1.place.expert) }
    let indices = places.map(\.index)
    let probeTypes = try Converter.statingUsage { try CandidateTypes(probeNames: options.probeTypes) }
    let measured = try TypeErrorMeasurement(
      plan: base.plan, inputs: base.inputs, kernels: kernels, threadCount: threadCount,
      cancellation: cancellation
    ).run(
      indices.map { index in
        let tensor = base.plan.tensors[index]
        let types = candidates[index] ?? []
        let probes = probeTypes.types(of: tensor, importance: tensor.importance != nil)
        return (index, types + probes.filter { !types.contains($0) })
      }
    ) { fraction in
      progress?(RunProgress(tensors: fraction))
    }
    var result = FitMeasurements()
    for ((_, place), errors) in zip(places, measured) { result.add(errors, to: place) }
    guard let (opened, text) = opened else { return result }
    var probes: [SensitivityRun.Probe] = []
    for (role, _) in opened.model.inputLengths.sorted(by: { $0.key.archiveName < $1.key.archiveName })
    {
      guard let errors = result.errors[ExactString(role.archiveName)] else { continue }
      for type in probeTypes.types where errors.errors[type] != nil {
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
      }
    }
    return result
  }
}

/// A recipe with the types that were chosen.
public struct FittedRecipe: Sendable {
  public var recipe: Recipe
  package var fit: Fit
  /// Whether a text was read.
  public var isMeasured: Bool
}

extension FittedRecipe {
  /// One line for people.
  public var text: String {
    let share = Double(fit.byteCount) / Double(max(1, fit.byteLimit)) * 100
    let how =
      isMeasured
      ? "expected divergence \(fixed(fit.expectedDivergence, 5)) nats"
      : "chosen by errors of weights alone, no text was read"
    return "types chosen for \(fit.unitCount) tensors: \(fit.byteCount) of \(fit.byteLimit) bytes "
      + "(\(fixed(share, 2)) %), \(how), at most \(fixed(fit.gap * 100, 4)) % from the best"
  }

  /// What `--recipe` reads.
  public var json: String {
    RecipeFile(
      title: recipe.title ?? "", experts: recipe.expertStorage ?? .stacked, types: recipe.types
    ).json
  }
}

extension FitTarget {
  /// What an archive's metadata says that it was made for.
  var title: String {
    switch self {
    case .byteCount(let count): "fit to \(count) bytes"
    case .bitsPerWeight(let bits): "fit to \(bits) bits per weight"
    }
  }
}
