import Architectures
import ByteIO
import GGUF
import Quantizers
import Tensors

/// Turns an input and a recipe into a plan.
struct PlanBuilder {
  /// Changed by `carryBlocks` only.
  var model: InputModel
  let recipe: Recipe
  let output: String
  let version: String
  let importance: ImportanceMatrix?
  let isCopy: Bool
  /// `nil` for a copy.
  let mix: StockMix?
  let options: TypeOptions

  /// `importance` is what the recipe's file holds, `nil` where it names none.
  init(
    model: InputModel, recipe: Recipe, importance: ImportanceMatrix?, output: String,
    version: String
  ) throws {
    self.model = model
    // What a recipe that was read says of another model is found below.
    if recipe.expertStorage == .split {
      try self.model.splitExperts(isAsked: recipe.typesFile == nil)
    }
    self.recipe = recipe
    self.output = output
    self.version = version
    isCopy = recipe.isCopy
    mix = isCopy ? nil : try .named(recipe.type, pure: recipe.isPure)
    if isCopy, !model.isArchive, !model.tensors.contains(where: { $0.blockType != nil }) {
      throw UsageError(
        "--type copy needs an archive as input, or a release in MXFP4 or NVFP4; for another "
          + "checkpoint choose a type")
    }
    if recipe.keepsSplit, model.partCount == 1 {
      throw UsageError("--keep-split needs a split archive as input")
    }
    self.importance = importance
    if let importance, let last = importance.lastLayer, !isCopy, last >= model.facts.layerCount {
      throw FormatError(
        file: importance.file, field: "imatrix",
        reason: .inconsistent(
          "has layers up to \(last), the model up to \(model.facts.layerCount - 1)"),
        advice: "the importance matrix belongs to another model")
    }
    var overrides = try recipe.tensorTypes.map {
      try TensorTypeOverride(
        $0, option: recipe.keptTypes.contains($0) ? "--keep" : "--tensor-type")
    }
    for file in recipe.tensorTypeFiles { overrides += try TensorTypeOverride.list(file: file) }
    options = TypeOptions(
      pure: recipe.isPure,
      outputType: try Self.type(recipe.outputTensorType, option: "--output-tensor-type"),
      embeddingType: try Self.type(recipe.embeddingType, option: "--embedding-type"),
      leaveOutput: recipe.leavesOutputTensor, copyOnly: isCopy, overrides: overrides,
      exact: recipe.types,
      hasImportance: importance?.entries.isEmpty == false)
  }

  private static func type(_ name: String?, option: String) throws(OptionError) -> TensorType? {
    guard let name else { return nil }
    return try OutputType.type(name, option: option)
  }

  /// - Returns: the plan, and the archive's metadata.
  mutating func build() throws -> (plan: ConversionPlan, metadata: Metadata) {
    let typed = model.tensors.map { ($0.name, $0.shape, $0.keptType) as TypedTensor }
    // A copy asks no rules, so any mix will do.
    let rules = mix ?? StockMix.all[0]
    var assignments = try assignTypes(
      rules, options: options, facts: model.facts, tensors: typed,
      order: recipe.keepsSplit ? outputOrder() : nil)
    var notes = model.notes
    notes += try ineffectiveOptions(rules, options: options, tensors: typed)
    notes += optionsWithoutEffect()
    try checkRecipeFile(assignments)
    try carryBlocks(&assignments, &notes)

    let tensors = try outputOrder().map { index in
      try planTensor(model.tensors[index], assignments[index], notes: &notes)
    }
    noteMissingImportance(tensors, &notes)
    if tensors.contains(where: { SplitExperts.stack(of: $0.name) != nil }) {
      notes.append(
        "every expert has a tensor of its own: ingot reads such an archive, llama.cpp does not")
    }
    var plan = ConversionPlan(
      tensors: tensors, generated: model.generated,
      recipe: recipe.title ?? mix.map { $0.name + (recipe.isPure ? " --pure" : "") } ?? "copy",
      inputs: model.source.files, notes: notes)
    let metadata = try layOut(&plan)
    try model.projector?.add(to: &plan)
    try plan.checkOutputs(against: inputFiles)
    return (plan, metadata)
  }

  /// A recipe that was read has to be about these tensors, all of them.
  private func checkRecipeFile(_ assignments: [TypeAssignment]) throws {
    guard let file = recipe.typesFile else { return }
    func fail(_ name: ExactString, _ reason: FormatError.Reason) -> FormatError {
      FormatError(
        file: file, field: "tensors.\(printable(name.string, limit: 120))", reason: reason,
        advice: "the recipe is for another model")
    }
    let names = Set(model.tensors.map(\.name))
    if let unknown = recipe.types.keys.filter({ !names.contains($0) }).min() {
      throw fail(unknown, .inconsistent("the model has no such tensor"))
    }
    for (tensor, assignment) in zip(model.tensors, assignments)
    where assignment.isQuantizable && recipe.types[tensor.name] == nil && !assignment.isForced {
      throw fail(tensor.name, .missing("a type for this tensor of the model"))
    }
  }

  /// Options that mean nothing for this input or this recipe.
  private func optionsWithoutEffect() -> [String] {
    var notes: [String] = []
    if recipe.typesHaveImportance == true, importance == nil, !isCopy {
      notes.append(
        "the recipe's types were chosen with an importance matrix: without --imatrix the archive "
          + "will be worse than they promise")
    }
    if model.isArchive, recipe.preTokenizer != nil {
      notes.append("--pre-tokenizer has no effect on an archive, whose tokenizer is kept")
    }
    if isCopy {
      let given = [
        ("--pure", recipe.isPure), ("--imatrix", importance != nil),
        ("--output-tensor-type", options.outputType != nil),
        ("--embedding-type", options.embeddingType != nil),
      ]
      notes += given.filter(\.1).map { "\($0.0) has no effect with --type copy" }
    }
    return notes
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
    if tensor.storedType != type || recipe.isDraft && assignment.isQuantizable
      || tensor.wasQuantized && !tensor.storedType.isBlockType
    {
      try checkConvertible(tensor, to: type)
    }
    let entry = try importanceEntry(tensor, assignment, notes: &notes)
    guard let byteCount = type.byteCount(weightCount: tensor.shape.checkedElementCount ?? -1) else {
      throw failure(
        tensor, .outOfRange(found: "\(tensor.shape)", allowed: "whole blocks of \(type.name)"))
    }
    var planned = ConversionPlan.Tensor(
      name: tensor.name, shape: tensor.shape, source: tensor.source, sourceName: tensor.sourceName,
      sourceType: tensor.storedType, type: type, transform: tensor.transform, byteCount: byteCount,
      output: recipe.keepsSplit ? tensor.part : 0, importance: entry,
      fallbackFrom: assignment.fallbackFrom)
    if case .input(let index) = tensor.source {
      planned.rowsReadTogether = model.source.rowsReadTogether(model.source.tensors[index])
    }
    planned.firstSourceRow = tensor.firstSourceRow
    planned.importanceExpert = tensor.expert?.index ?? 0
    planned.isFree = assignment.isQuantizable && !assignment.isForced
    planned.isForced = assignment.isForced
    return planned
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
    if tensor.wasQuantized, !recipe.allowsRequantizing {
      throw failure(
        tensor,
        .inconsistent("is already quantized (\(tensor.storedType.name)) and would lose more"),
        advice: "start from the original checkpoint, or pass --allow-requantize")
    }
  }

  func failure(
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

  /// Everything that this conversion reads.
  var inputFiles: InputFiles {
    InputFiles(
      paths: model.source.files + recipe.tensorTypeFiles
        + [recipe.importanceFile, recipe.chatTemplateFile, recipe.typesFile].compactMap { $0 },
      folder: model.folder)
  }
}
