import ByteIO
import Tensors

/// A tensor as far as the choice of its type depends on it.
package typealias TypedTensor = (name: ExactString, shape: Shape, sourceType: TensorType)

/// Chooses the type of every tensor of an archive, as llama-quantize would.
///
/// - Parameters:
///   - mix: a stock mix, or one of a single type with `--pure`.
///   - options: what the user asked for besides.
///   - facts: of the model that the tensors make up.
///   - tensors: names as in the archive; `sourceType` is what a tensor that is not quantized keeps.
///   - order: indices into `tensors` in which the rules see them, because some rules count;
///     `nil` for `quantizerOrder`. (llama-quantize with `--keep-split` goes by file and offset.)
/// - Returns: one assignment per tensor, in the order of `tensors`.
/// - Throws: `OptionError` where an option's type does not fit a tensor, `FormatError` where a rule
///   cannot be applied to a tensor.
package func assignTypes(
  _ mix: StockMix, options: TypeOptions, facts: ModelFacts, tensors: [TypedTensor],
  order: [Int]? = nil
) throws -> [TypeAssignment] {
  var assigner = try TypeAssigner(mix, options: options, facts: facts, tensors: tensors)
  var assignments = tensors.map { TypeAssignment(type: $0.sourceType, isQuantizable: false) }
  for index in order ?? quantizerOrder(tensors.map(\.name)) {
    assignments[index] = try assigner.assign(index)
  }
  return assignments
}

/// What the user should hear about options that have no effect.
///
/// They are no errors, because llama-quantize takes them too.
package func ineffectiveOptions(
  _ mix: StockMix, options: TypeOptions, tensors: [TypedTensor]
) throws -> [String] {
  if options.copyOnly {
    return options.overrides.first.map { ["\($0.option) has no effect with --type copy"] } ?? []
  }
  if !mix.defaultType.isBlockType {
    return options.overrides.first.map {
      ["\($0.option) has no effect with --type \(mix.name), which has one type throughout"]
    } ?? []
  }
  return try options.overrides.compactMap { override in
    let isFound = try override.search()
    return tensors.contains { isFound($0.name) }
      ? nil : "\(override.option) \(override.pattern): no tensor's name matches"
  }
}

/// One pass over the tensors of a model, in the order in which the rules count them.
private struct TypeAssigner {
  let mix: StockMix
  let options: TypeOptions
  let facts: ModelFacts
  let tensors: [TypedTensor]
  let roles: [TensorRole]
  let overrides: [(isFound: TensorTypeOverride.Search, type: TensorType)]
  /// Tensors that hold values.
  let valueCount: Int
  /// Whether the embedding doubles as the output matrix.
  let isTied: Bool
  /// Tensors that the rules have seen, per kind; all that hold values are one kind.
  var turns: [TensorRole: Int] = [:]

  init(
    _ mix: StockMix, options: TypeOptions, facts: ModelFacts, tensors: [TypedTensor]
  ) throws(OptionError) {
    self.mix = mix
    self.options = options
    self.facts = facts
    self.tensors = tensors
    roles = tensors.map { TensorRole(of: $0.name, architecture: facts.architecture) }
    valueCount = roles.count { $0.holdsValues }
    isTied = !roles.contains(.output)
    var overrides: [(isFound: TensorTypeOverride.Search, type: TensorType)] = []
    for override in options.overrides { overrides.append((try override.search(), override.type)) }
    self.overrides = overrides
  }

  mutating func assign(_ index: Int) throws -> TypeAssignment {
    let tensor = tensors[index]
    guard isQuantizable(index) else {
      return TypeAssignment(type: tensor.sourceType, isQuantizable: false)
    }
    var assignment: TypeAssignment
    if let forced = forcedType(index) {
      try requireWholeBlocks(tensor, option: forced.option, forced.type)
      assignment = TypeAssignment(type: forced.type, isQuantizable: true)
      assignment.isForced = true
    } else if let exact = options.exact[tensor.name], override(of: tensor.name) == nil {
      try requireWholeBlocks(tensor, option: "--recipe", exact)
      assignment = TypeAssignment(type: exact, isQuantizable: true)
    } else if mix.defaultType.isBlockType {
      assignment = try fitted(tensor, try chosenType(index))
      assignment.isForced = override(of: tensor.name) != nil || isForcedAsOutput(index)
    } else {
      assignment = TypeAssignment(type: mix.defaultType, isQuantizable: true)
    }
    let isEmbeddingOrOutput = roles[index] == .embedding || roles[index] == .output
    assignment.requiresImportance =
      !isEmbeddingOrOutput && OutputType(assignment.type)?.needsImportance(in: mix) == true
    return assignment
  }

  /// Matrices named `…weight` that no table keeps.
  ///
  /// Dimensions of 1 that only enclose a row do not make a matrix.
  private func isQuantizable(_ index: Int) -> Bool {
    let tensor = tensors[index]
    let isMatrix = tensor.shape.dimensions.dropLast().contains { $0 > 1 }
    return !options.copyOnly && isMatrix && tensor.name.string.hasSuffix("weight")
      && roles[index] != .kept && !(options.leaveOutput && roles[index] == .output)
  }

  /// A type that an option gives to the whole tensor, whatever its shape and the mix.
  ///
  /// A tied embedding follows `--output-tensor-type` only as a rule: see `chosenType`.
  private func forcedType(_ index: Int) -> (option: String, type: TensorType)? {
    let name = tensors[index].name
    switch roles[index] {
    case .embedding:
      // An embedding per layer is so large that a pattern may set it apart.
      if name == "per_layer_token_embd.weight", override(of: name) != nil { return nil }
      return options.embeddingType.map { ("--embedding-type", $0) }
    case .output: return options.outputType.map { ("--output-tensor-type", $0) }
    default: return nil
    }
  }

  /// Whether a tied embedding has the type of `--output-tensor-type`.
  private func isForcedAsOutput(_ index: Int) -> Bool {
    isTied && roles[index] == .embedding && options.outputType != nil && !options.pure
  }

  private func override(of name: ExactString) -> TensorType? {
    overrides.first { $0.isFound(name) }?.type
  }

  /// The type before it is known to fit the rows.
  ///
  /// Tensors that an override or `--pure` decides are not counted by the rules.
  private mutating func chosenType(_ index: Int) throws -> TensorType {
    let tensor = tensors[index]
    if let type = override(of: tensor.name) { return type }
    if options.pure { return mix.defaultType }

    let role = roles[index] == .embedding && isTied ? .output : roles[index]
    if role == .output, let type = options.outputType { return type }
    let kind = role.holdsValues ? .attentionV : role
    let turn = turns[kind, default: 0]
    turns[kind] = turn + 1
    let context = RuleContext(
      facts: facts, hasImportance: options.hasImportance, name: tensor.name, shape: tensor.shape,
      defaultType: mix.defaultType, turn: turn,
      turnCount: role.holdsValues ? valueCount : facts.layerCount)
    return try MixRule.type(of: role, in: mix, context)
  }

  /// Replaces a type whose blocks do not fill the tensor's rows.
  private func fitted(_ tensor: TypedTensor, _ type: TensorType) throws -> TypeAssignment {
    let columnCount = tensor.shape.columnCount
    if columnCount % type.weightsPerBlock == 0 {
      return TypeAssignment(type: type, isQuantizable: true)
    }
    var fallback = OutputType(type)?.fallback
    // Blocks of 32 are the smallest: past them only F16 is left.
    if fallback == nil, type.weightsPerBlock <= 32 { fallback = .f16 }
    guard let fallback else {
      throw FormatError(
        file: facts.file, field: "tensor \(tensor.name)",
        reason: .unsupported(
          found: "rows of \(columnCount) weights",
          allowed: "multiples of \(type.weightsPerBlock) for \(type)"),
        advice: "give it another type with --tensor-type")
    }
    return TypeAssignment(
      type: columnCount % fallback.weightsPerBlock == 0 ? fallback : .f16, isQuantizable: true,
      fallbackFrom: type)
  }

  private func requireWholeBlocks(
    _ tensor: TypedTensor, option: String, _ type: TensorType
  ) throws(OptionError) {
    guard tensor.shape.columnCount % type.weightsPerBlock != 0 else { return }
    throw OptionError(
      option: option, found: type.name,
      problem: "\(tensor.name) has rows of \(tensor.shape.columnCount) weights, "
        + "no multiple of \(type.weightsPerBlock)")
  }
}
