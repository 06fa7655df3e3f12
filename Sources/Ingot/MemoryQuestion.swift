import Planning
import StrictJSON

/// Where a model, or a finished archive, runs.
///
///     let question = try MemoryQuestion("Llama-3.1-8B", hardware: ["all"], target)
///     print(question.text)
public struct MemoryQuestion: Sendable {
  /// Tokens of a context where none was named, unless the model's own is smaller.
  public static let defaultContext = 8192
  /// Name of an archive that is never written.
  public static let plannedName = "an archive that is only planned"
  /// One-line remarks.
  public let notes: [String]
  private let path: String
  private let reports: [MemoryReport]
  /// Of a checkpoint, whose types are still open.
  private let overview: HardwareOverview?

  /// Reads headers.
  ///
  /// - Parameters:
  ///   - path: checkpoint or archive; of an archive the types that it has count.
  ///   - type: a mix, for a checkpoint; `nil` asks which uniform type would fit.
  ///   - everywhere: asks for all hardware that has a name, and not only for the target's.
  ///   - target: hardware, and how the model is run.
  ///   - contextIsDefault: whether nobody named the target's context: it is then no larger than the
  ///     model's own.
  ///   - recipe: says which inputs are accepted.
  /// - Throws: `FormatError` about the input, `UsageError`.
  public init(
    _ path: String, type: String?, everywhere: Bool, _ target: MemoryTarget,
    contextIsDefault: Bool = false, recipe: Recipe = Recipe()
  ) throws {
    self.path = path
    var recipe = recipe
    var target = target
    let isArchive = if case .archive = try InputKind(path) { true } else { false }
    if isArchive, type != nil { throw UsageError("an archive has its types: leave out --type") }
    recipe.isDraft = !isArchive
    recipe.type = isArchive ? "copy" : type ?? "BF16"
    let converter = try Converter(checkpoint: path, output: Self.plannedName, recipe: recipe)
    let tensors = converter.plan.modelTensors.map { MemoryTensor($0) }
    let model = try converter.memoryDimensions()
    if contextIsDefault, let own = model.trainedContext {
      target.run.context = max(1, min(target.run.context, own))
    }
    let run = target.run
    notes = [target.contextWarning(model)].compactMap { $0 }
    let hardware = everywhere ? Hardware.all : [target.hardware]
    if isArchive || type != nil {
      overview = nil
      reports = hardware.map {
        MemoryReport(MemoryFit(model, hardware: $0), tensors: tensors, run: run)
      }
    } else {
      reports = []
      overview = HardwareOverview(model, tensors: tensors, run: run, hardware: hardware)
    }
  }

  /// Whether a path is an archive that is quantized, so that its types are there and no choice.
  ///
  /// - Throws: `FormatError` about the input.
  public static func isFinished(_ path: String) throws -> Bool {
    guard case .archive = try InputKind(path) else { return false }
    var recipe = Recipe()
    recipe.type = "copy"
    return try Converter(checkpoint: path, output: plannedName, recipe: recipe)
      .plan.modelTensors.contains { $0.type.isBlockType }
  }

  /// Why an archive does not run on the hardware that was named; `nil` where it does, and where
  /// several were asked for.
  public var misfit: String? {
    guard reports.count == 1, let report = reports.first, !report.fits else { return nil }
    return "\(printable(path)) does not fit \(report.hardware.fullName) with \(report.run.context) "
      + "tokens × \(report.run.parallel)"
  }

  /// A table for people.
  public var text: String {
    if let overview { return overview.table }
    return reports.count == 1 ? reports[0].table : MemoryReport.table(of: reports)
  }

  /// Stable JSON: a list of answers.
  public var json: String {
    var writer = JSONWriter()
    if let overview {
      overview.write(to: &writer)
    } else {
      writer.array { json in for report in reports { report.write(to: &json) } }
    }
    return writer.text
  }
}

extension Converter {
  /// What the planned archive says of its model, as far as memory depends on it.
  ///
  /// - Throws: `FormatError` for an architecture that the memory model does not know.
  func memoryDimensions() throws(FormatError) -> MemoryDimensions {
    try MemoryDimensions(
      inputs.metadata, tensors: plan.modelTensors.map { MemoryTensor($0) },
      file: plan.inputs.first ?? "")
  }
}
