import Architectures
import ByteIO
import GGUF
import Quantizers
import Tensors

/// Opens the input and plans the conversion, from headers alone.
///
/// - Throws: `FormatError` about the input, `UsageError` about the recipe.
package func makePlan(checkpoint: String, output: String, recipe: Recipe, version: String) throws
  -> (plan: ConversionPlan, inputs: PlannedInputs)
{
  let model =
    switch try InputKind(checkpoint) {
    case .archive: try InputModel(archive: checkpoint, recipe: recipe)
    case .directory, .safetensors: try InputModel(checkpoint: checkpoint, recipe: recipe)
    }
  let builder = try PlanBuilder(model: model, recipe: recipe, output: output, version: version)
  let plan = try builder.build()
  return (
    plan,
    PlannedInputs(
      source: model.source, importance: builder.importance?.entries ?? [:],
      allowsNonFinite: recipe.allowsNonFinite, metadata: model.metadata)
  )
}

/// Turns an input and a recipe into a plan.
struct PlanBuilder {
  let model: InputModel
  let recipe: Recipe
  let output: String
  let version: String
  let importance: ImportanceMatrix?
  private let isCopy: Bool
  /// `nil` for a copy.
  let mix: StockMix?
  private let options: TypeOptions

  init(model: InputModel, recipe: Recipe, output: String, version: String) throws {
    self.model = model
    self.recipe = recipe
    self.output = output
    self.version = version
    isCopy = recipe.type.lowercased() == "copy"
    mix = isCopy ? nil : try .named(recipe.type, pure: recipe.isPure)
    if isCopy, !model.isArchive {
      throw UsageError("--type copy needs an archive as input; for a checkpoint choose a type")
    }
    if recipe.keepsSplit, model.partCount == 1 {
      throw UsageError("--keep-split needs a split archive as input")
    }
    importance = try recipe.importanceFile.map {
      try ImportanceMatrix($0)
        .filtered(including: recipe.includedWeights, excluding: recipe.excludedWeights)
    }
    var overrides = try recipe.tensorTypes.map { try TensorTypeOverride($0) }
    for file in recipe.tensorTypeFiles { overrides += try TensorTypeOverride.list(file: file) }
    options = TypeOptions(
      pure: recipe.isPure,
      outputType: try Self.type(recipe.outputTensorType, option: "--output-tensor-type"),
      embeddingType: try Self.type(recipe.embeddingType, option: "--embedding-type"),
      leaveOutput: recipe.leavesOutputTensor, copyOnly: isCopy, overrides: overrides,
      hasImportance: importance?.entries.isEmpty == false)
  }

  private static func type(_ name: String?, option: String) throws(OptionError) -> TensorType? {
    guard let name else { return nil }
    guard let type = OutputType(name: name)?.type else {
      throw OptionError(
        option: option, found: name, problem: "no such type; types are \(OutputType.names)")
    }
    return type
  }

  func build() throws -> ConversionPlan {
    let order = outputOrder()
    let typed = model.tensors.map { ($0.name, $0.shape, $0.keptType) as TypedTensor }
    // A copy asks no rules, so any mix will do.
    let rules = mix ?? StockMix.all[0]
    let assignments = try assignTypes(
      rules, options: options, facts: model.facts, tensors: typed,
      order: recipe.keepsSplit ? order : nil)
    var notes = model.notes
    notes += try ineffectiveOptions(rules, options: options, tensors: typed)

    let tensors = try order.map { index in
      try planTensor(model.tensors[index], assignments[index], notes: &notes)
    }
    noteMissingImportance(tensors, &notes)
    var plan = ConversionPlan(
      tensors: tensors, generated: model.generated,
      recipe: mix.map { $0.name + (recipe.isPure ? " --pure" : "") } ?? "copy",
      inputs: model.source.files, notes: notes)
    try layOut(&plan)
    try refuseOverwritingInputs(plan)
    return plan
  }

  /// The order in which tensors stand in the archive: llama-quantize's.
  private func outputOrder() -> [Int] {
    guard recipe.keepsSplit else { return quantizerOrder(model.tensors.map(\.name)) }
    // By file, and in each as its header lists them.
    return model.tensors.indices.sorted {
      (model.tensors[$0].part, $0) < (model.tensors[$1].part, $1)
    }
  }

  private func planTensor(
    _ tensor: InputModel.Tensor, _ assignment: TypeAssignment, notes: inout [String]
  ) throws -> ConversionPlan.Tensor {
    let type = assignment.type
    if tensor.storedType != type {
      try checkConvertible(tensor, to: type)
    }
    let entry = try importanceEntry(tensor, assignment, notes: &notes)
    guard let byteCount = type.byteCount(weightCount: tensor.shape.checkedElementCount ?? -1) else {
      throw failure(
        tensor, .outOfRange(found: "\(tensor.shape)", allowed: "whole blocks of \(type.name)"))
    }
    return ConversionPlan.Tensor(
      name: tensor.name, shape: tensor.shape, source: tensor.source, sourceName: tensor.sourceName,
      sourceType: tensor.storedType, type: type, transform: tensor.transform, byteCount: byteCount,
      output: recipe.keepsSplit ? tensor.part : 0, importance: entry,
      fallbackFrom: assignment.fallbackFrom)
  }

  /// One line for all tensors that the importance matrix does not cover.
  private func noteMissingImportance(_ tensors: [ConversionPlan.Tensor], _ notes: inout [String]) {
    guard options.hasImportance else { return }
    let names = tensors.filter {
      $0.type.isBlockType && !$0.isPlainCopy && $0.importance == nil
    }.map { printable($0.name.string) }
    guard !names.isEmpty else { return }
    let shown = names.prefix(4).joined(separator: ", ") + (names.count > 4 ? ", …" : "")
    notes.append("quantized without importance, which the matrix does not have: \(shown)")
  }

  private func checkConvertible(_ tensor: InputModel.Tensor, to type: TensorType) throws {
    guard KernelTable.scalar.canDequantize(tensor.storedType) else {
      throw failure(
        tensor,
        .unsupported(
          found: "type \(tensor.storedType.name)", allowed: "F64, F32, F16 and BF16, not yet this"),
        advice: "convert the checkpoint to BF16 first")
    }
    guard type == .f32 || KernelTable.scalar.canQuantize(type) else {
      throw UsageError("\(type.name) cannot be written yet (tensor \(tensor.name))")
    }
    if model.isArchive, tensor.storedType.isBlockType, !recipe.allowsRequantizing {
      throw failure(
        tensor,
        .inconsistent("is already quantized (\(tensor.storedType.name)) and would lose more"),
        advice: "start from the original checkpoint, or pass --allow-requantize")
    }
  }

  /// Name of the importance entry for a tensor, checked against its shape.
  private func importanceEntry(
    _ tensor: InputModel.Tensor, _ assignment: TypeAssignment, notes: inout [String]
  ) throws -> ExactString? {
    guard assignment.type.isBlockType, tensor.storedType != assignment.type else { return nil }
    guard let importance, options.hasImportance else {
      switch need(assignment) {
      case .never: break
      case .advised:
        notes.append(
          "\(assignment.type.name) (tensor \(tensor.name)) is much worse without --imatrix FILE")
      case .always, .inMix:
        throw UsageError(
          "\(assignment.type.name) (tensor \(tensor.name)) needs an importance matrix; "
            + "make one with llama-imatrix and pass --imatrix FILE")
      }
      return nil
    }
    guard let values = importance.entries[tensor.name] else {
      guard need(assignment) == .never else {
        throw FormatError(
          file: importance.file, field: tensor.name.string,
          reason: .missing("an entry, and \(assignment.type.name) needs one"),
          advice: "choose another type for it with --tensor-type or --embedding-type")
      }
      return nil
    }
    let expertCount = tensor.shape.dimensions.dropLast(2).reduce(1, *)
    let needed = tensor.shape.columnCount * expertCount
    guard values.count == needed else {
      // llama-imatrix counts look-ups of the embedding, not columns; the reference skips it too.
      if tensor.name == "token_embd.weight", need(assignment) == .never { return nil }
      throw FormatError(
        file: importance.file, field: tensor.name.string,
        reason: .inconsistent("has \(values.count) values, the tensor needs \(needed)"),
        advice: "the importance matrix belongs to another model")
    }
    return tensor.name
  }

  /// Whether a tensor's type needs importance: because the quantizer is not defined without, or
  /// because the reference refuses to make it.
  private func need(_ assignment: TypeAssignment) -> OutputType.ImportanceNeed {
    let need = OutputType(assignment.type)?.importanceNeed ?? .never
    return need == .always || assignment.requiresImportance ? need : .never
  }

  private func failure(
    _ tensor: InputModel.Tensor, _ reason: FormatError.Reason, advice: String? = nil
  ) -> FormatError {
    var file = model.facts.file
    if case .input(let index) = tensor.source,
      let region = model.source.tensors[index].regions.first
    {
      file = model.source.files[region.file]
    }
    return FormatError(
      file: file, field: "tensor \(tensor.sourceName ?? tensor.name)", reason: reason,
      advice: advice)
  }

  private func refuseOverwritingInputs(_ plan: ConversionPlan) throws {
    let others = [recipe.importanceFile, recipe.chatTemplateFile].compactMap { $0 }
    for output in plan.outputs {
      for input in plan.inputs + others where OutputFile.isSameFile(output.path, input) {
        throw UsageError("the output \(printable(output.path)) is also an input")
      }
      // Configuration, tokenizer and card: whatever is no archive belongs to the checkpoint.
      if let folder = model.folder, !output.path.hasSuffix(".gguf"),
        OutputFile.exists(output.path, directlyIn: folder)
      {
        throw UsageError("the output \(printable(output.path)) is a file of the checkpoint")
      }
    }
  }
}
