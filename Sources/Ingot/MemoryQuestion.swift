import Planning
import StrictJSON

/// Where a model, or a finished archive, runs.
///
///     let question = try MemoryQuestion("Llama-3.1-8B", hardware: ["all"], target)
///     print(question.text)
public struct MemoryQuestion: Sendable {
  /// Name of an archive that is never written.
  public static let plannedName = "an archive that is only planned"
  /// One-line remarks.
  public let notes: [String]
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
  /// - Throws: `FormatError` about the input, `UsageError`.
  public init(_ path: String, type: String?, everywhere: Bool, _ target: MemoryTarget) throws {
    var recipe = Recipe()
    let isArchive = if case .archive = try InputKind(path) { true } else { false }
    if isArchive, type != nil { throw UsageError("an archive has its types: leave out --type") }
    recipe.isDraft = !isArchive
    recipe.type = isArchive ? "copy" : type ?? "BF16"
    let converter = try Converter(checkpoint: path, output: Self.plannedName, recipe: recipe)
    let tensors = converter.plan.modelTensors.map { MemoryTensor($0) }
    let model = try converter.memoryDimensions()
    notes = [target.contextWarning(model)].compactMap { $0 }
    let hardware = everywhere ? Hardware.all : [target.hardware]
    if isArchive || type != nil {
      overview = nil
      reports = hardware.map {
        MemoryReport(MemoryFit(model, hardware: $0), tensors: tensors, run: target.run)
      }
    } else {
      reports = []
      overview = HardwareOverview(model, tensors: tensors, run: target.run, hardware: hardware)
    }
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
