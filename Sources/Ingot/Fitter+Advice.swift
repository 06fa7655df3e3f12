import Fitting

extension Fitter {
  /// Ways to smaller types than those that are allowed, as far as options or the lack of importance
  /// stand against them.
  ///
  /// - Parameter names: of the tensors that matter; `nil` for all.
  /// - Returns: what to do, each in a few words.
  func smallerTypes(of names: Set<String>? = nil) -> [String] {
    func counts(_ index: Int) -> Bool {
      names?.contains(base.plan.tensors[index].name.string) != false
    }
    let free = candidates.keys.filter(counts)
    /// Bytes of the smallest types; `nil` where a tensor has none to choose from.
    func byteCount(_ types: (Int) -> [TensorType]) -> Int? {
      var sum = 0
      for index in free {
        let count = base.plan.tensors[index].elementCount
        guard let least = types(index).compactMap({ $0.byteCount(weightCount: count) }).min()
        else { return nil }
        sum += least
      }
      return sum
    }
    let smallest = byteCount { candidates[$0] ?? [] }
    /// Whether types would be smaller without some options.
    func helps(hasImportance: Bool = false, _ change: (inout FitOptions) -> Void) -> Bool {
      var options = options
      change(&options)
      guard
        let choice = try? CandidateTypes(
          names: options.types, minimum: options.minimumType, maximum: options.maximumType,
          fastOn: options.fastOn),
        let smallest,
        let changed = byteCount({
          let tensor = base.plan.tensors[$0]
          return choice.types(of: tensor, importance: hasImportance || tensor.importance != nil)
        })
      else { return false }
      return changed < smallest
    }
    let limits: [(option: String, isGiven: Bool, drop: (inout FitOptions) -> Void)] = [
      ("--min-type", options.minimumType != nil, { $0.minimumType = nil }),
      ("--types", !options.types.isEmpty, { $0.types = [] }),
      ("--fast-on", !options.fastOn.isEmpty, { $0.fastOn = [] }),
    ]
    let given = limits.filter(\.isGiven)
    var found = given.filter { helps($0.drop) }.map(\.option)
    // Two may stand against the same types.
    if found.isEmpty, helps({ options in given.forEach { $0.drop(&options) } }) {
      found = given.map(\.option)
    }
    found += optionsWithLargeTypes(counts)
    var ways = found.isEmpty ? [] : ["allow smaller types (\(found.joined(separator: ", ")))"]
    if recipe.importanceFile == nil, helps(hasImportance: true, { _ in }) {
      ways.append("give --imatrix FILE, which the smallest types need")
    }
    return ways
  }

  /// Options that gave tensors types with more bits than the smallest that is chosen from.
  private func optionsWithLargeTypes(_ counts: (Int) -> Bool) -> [String] {
    let least = candidates.values.joined().map(\.bitsPerWeight).min() ?? 0
    var found: [String] = []
    for (index, tensor) in base.plan.tensors.enumerated()
    where counts(index) && tensor.type.bitsPerWeight > least {
      if let option = option(decidingOver: tensor), !found.contains(option) { found.append(option) }
    }
    return found
  }

  /// `nil` for a tensor whose type no option decided.
  private func option(decidingOver tensor: ConversionPlan.Tensor) -> String? {
    let isOutput = tensor.name == "output.weight"
    if isOutput, recipe.leavesOutputTensor { return "--leave-output-tensor" }
    guard tensor.isForced else { return nil }
    let isEmbedding = tensor.name == "token_embd.weight"
    if isEmbedding, recipe.embeddingType != nil { return "--embedding-type" }
    let isTied = isEmbedding && !base.plan.tensors.contains { $0.name == "output.weight" }
    if isOutput || isTied, recipe.outputTensorType != nil { return "--output-tensor-type" }
    return recipe.tensorTypes.isEmpty ? "--tensor-type-file" : "--keep"
  }
}
