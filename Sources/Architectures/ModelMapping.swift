import ByteIO
import Tensors

/// A tensor of the checkpoint and what it becomes in the archive.
package struct MappedTensor: Hashable, Sendable {
  package var source: TensorDescriptor
  /// Name in the archive.
  package var name: ExactString
  /// Row-major shape in the archive.
  package var shape: Shape
  package var transform: RowTransform
}

/// A tensor that the archive needs and no checkpoint holds.
package struct GeneratedTensor: Hashable, Sendable {
  package var name: ExactString
  package var shape: Shape
  package var values: [Float]
}

/// What a checkpoint becomes: its metadata and the place of every tensor, from headers alone.
package struct ModelMapping: Sendable {
  /// As the archive names it, for example `llama`.
  package var architecture: String
  /// The keys of the architecture: order, types and values of the reference converter.
  ///
  /// `general.file_type` stands among them, as 0 (all F32): set it to the real one.
  package var metadata: Metadata
  /// In the order of the source.
  package var tensors: [MappedTensor]
  /// These come before `tensors`.
  package var generated: [GeneratedTensor]
  package var layerCount: Int
  package var headCount: Int
  package var headCountKV: Int
  /// 0 for a dense model.
  package var expertCount: Int
  package var vocabularySize: Int
  /// What the user should know.
  package var notes: [String]

  /// Elements of all tensors of the archive, for the size label.
  package var elementCount: Int {
    tensors.reduce(generated.reduce(0) { $0 + $1.values.count }) { $0 + $1.source.elementCount }
  }

  /// Source types that can be converted.
  static let sourceTypes: [TensorType] = [.f64, .f32, .f16, .bf16]

  /// Maps every tensor of a checkpoint, or says which one does not fit.
  ///
  /// - Parameters:
  ///   - configuration: the checked `config.json`.
  ///   - tensors: the checkpoint's tensors, names unique.
  ///   - files: paths that the tensors' regions refer to, for errors.
  ///   - allowsNonstock: takes a Llama 4 that llama.cpp would compute differently, and says so in
  ///     keys of our own.
  /// - Throws: `FormatError` for a name that the architecture does not know, a tensor that is
  ///   missing, a shape that the configuration contradicts, and a type that is not read yet.
  package init(
    _ configuration: ModelConfiguration, tensors: [TensorDescriptor], files: [String] = [],
    allowsNonstock: Bool = false
  ) throws(FormatError) {
    let index = TensorRuleIndex(TensorRule.table(configuration.modelClass.tensorTable))
    let matcher = Matcher(configuration: configuration, index: index, files: files)
    let matches = try matcher.match(tensors)
    self.tensors = try matcher.map(matches)
    try matcher.checkComplete(matches)
    architecture = configuration.modelClass.architecture
    metadata = configuration.metadata()
    metadata.merge(try configuration.nonstockMetadata(isAllowed: allowsNonstock))
    generated = configuration.generatedTensors()
    layerCount = configuration.layerCount
    headCount = configuration.headCount
    headCountKV = configuration.headCountKV
    expertCount = configuration.experts?.count ?? 0
    vocabularySize = configuration.vocabularySize
    notes = configuration.notes
    let skipped = matches.filter { $0.rule.presence == .skip }
    let vision = skipped.count { $0.rule.isPrefix }
    if vision > 0 {
      notes.append("left out: \(vision) tensors of the vision tower and its projector")
    }
    if skipped.count > vision {
      notes.append("left out: \(skipped.count - vision) tensors that the archive recomputes")
    }
  }
}

/// A tensor and the rule that its name fits.
private struct Match {
  var tensor: TensorDescriptor
  var ruleIndex: Int
  var rule: TensorRule
  var layer: Int?
}

private struct Matcher {
  var configuration: ModelConfiguration
  var index: TensorRuleIndex
  var files: [String]

  func match(_ tensors: [TensorDescriptor]) throws(FormatError) -> [Match] {
    var matches: [Match] = []
    var unknown: [TensorDescriptor] = []
    for tensor in tensors {
      guard let found = index.match(languageName(tensor.name)) else {
        unknown.append(tensor)
        continue
      }
      let rule = index.rules[found.rule]
      matches.append(
        Match(tensor: tensor, ruleIndex: found.rule, rule: rule, layer: found.layer))
    }
    // A quantized release has unknown scales beside its weights: its type is the better hint.
    for match in matches where match.rule.presence != .skip {
      if !ModelMapping.sourceTypes.contains(match.tensor.type) {
        let known = ModelMapping.sourceTypes.map(\.name).joined(separator: ", ")
        throw error(
          match.tensor,
          .unsupported(found: "type \(match.tensor.type), not yet read", allowed: known))
      }
    }
    if let tensor = unknown.first {
      throw error(
        tensor,
        .unsupported(
          found: "a tensor that \(configuration.modelClass.name) does not have",
          allowed: "the names in formats/architectures/\(configuration.modelClass.tensorTable).tsv")
      )
    }
    return matches
  }

  /// The name as a model without other towers has it.
  private func languageName(_ name: ExactString) -> ExactString {
    let prefix = configuration.modelClass.prefix
    guard !prefix.isEmpty, name.string.hasPrefix(prefix) else { return name }
    return ExactString(String(name.string.dropFirst(prefix.count)))
  }

  func map(_ matches: [Match]) throws(FormatError) -> [MappedTensor] {
    var mapped: [MappedTensor] = []
    var sources: [ExactString: ExactString] = [:]
    for match in matches where match.rule.presence != .skip {
      let tensor = match.tensor
      if let layer = match.layer, layer >= configuration.layerCount {
        throw error(
          tensor,
          .inconsistent(
            "belongs to layer \(layer), but \(configuration.modelClass.layerCountName) is "
              + "\(configuration.layerCount)"))
      }
      guard match.rule.mayBe(inLayer: match.layer ?? 0, configuration) else {
        let step = configuration.experts?.layerStep ?? 1
        throw error(
          tensor,
          .inconsistent(
            match.rule.presence == .dense
              ? "is dense, but its layer has experts (one layer in \(step))"
              : "belongs to experts, but its layer is dense (experts: one layer in \(step))"))
      }
      let shape = match.rule.shape(configuration)
      guard tensor.shape == shape else {
        throw error(
          tensor,
          .inconsistent(
            "has shape \(printable("\(tensor.shape)", limit: 80)), the configuration needs \(shape)"
          ))
      }
      let name = match.rule.archive.name(layer: match.layer ?? 0)
      if let other = sources.updateValue(tensor.name, forKey: name) {
        throw error(tensor, .duplicate("of \(printable(other.string)): both are \(name)"))
      }
      mapped.append(
        MappedTensor(
          source: tensor, name: name, shape: shape,
          transform: match.rule.transform(configuration)))
    }
    return mapped
  }

  /// Every layer has the same tensors, and all that the configuration calls for.
  func checkComplete(_ matches: [Match]) throws(FormatError) {
    var layers: [Int: Set<Int>] = [:]
    for match in matches { layers[match.ruleIndex, default: []].insert(match.layer ?? 0) }
    var missing: [ExactString] = []
    for (ruleIndex, rule) in index.rules.enumerated() where rule.presence != .skip {
      let present = layers[ruleIndex] ?? []
      guard rule.isRequired(configuration) || !present.isEmpty else { continue }
      for layer in 0..<(rule.isPerLayer ? configuration.layerCount : 1)
      where !present.contains(layer) && rule.mayBe(inLayer: layer, configuration) {
        missing.append(
          ExactString(
            configuration.modelClass.prefix + rule.source.name(layer: layer).string))
      }
    }
    guard let first = missing.first else { return }
    let others = missing.count == 1 ? "" : " and \(missing.count - 1) other tensors"
    throw FormatError(
      file: files.count == 1 ? files[0] : configuration.file, field: "tensors",
      reason: .missing("tensor \(first)\(others)"))
  }

  private func error(_ tensor: TensorDescriptor, _ reason: FormatError.Reason) -> FormatError {
    let region = tensor.regions.first
    let file = region.flatMap { files.indices.contains($0.file) ? files[$0.file] : nil }
    return FormatError(
      file: file ?? configuration.file, fileOffset: file == nil ? nil : region?.fileOffset,
      field: printable(tensor.name.string, limit: 120), reason: reason)
  }
}
