import ByteIO
import Tensors

/// A tensor and the rule that its name fits.
struct TensorMatch {
  var tensor: TensorDescriptor
  var ruleIndex: Int
  var rule: TensorRule
  /// As the checkpoint numbers it.
  var layer: Int?
}

/// Finds what a checkpoint's tensors become in one archive: that of the language model, or that of
/// its vision tower.
struct TensorMatcher {
  private let configuration: ModelConfiguration
  private let vision: VisionConfiguration?
  private let table: String
  private let index: TensorRuleIndex
  private let files: [String]
  /// The checkpoint's numbers of the archive's layers.
  private let layers: [Int]
  /// Layers of the checkpoint.
  private let sourceLayerCount: Int

  /// Of the language model.
  init(_ configuration: ModelConfiguration, files: [String]) {
    self.configuration = configuration
    vision = nil
    table = configuration.modelClass.tensorTable
    index = TensorRuleIndex(TensorRule.table(table))
    self.files = files
    layers = configuration.sourceLayers
    sourceLayerCount = configuration.sourceLayerCount
  }

  /// Of the vision tower and its projector, by their table of names.
  init(
    _ configuration: ModelConfiguration, vision: VisionConfiguration, table: String,
    files: [String]
  ) {
    self.configuration = configuration
    self.vision = vision
    self.table = table
    index = TensorRuleIndex(TensorRule.table(table))
    self.files = files
    layers = Array(0..<vision.layerCount)
    sourceLayerCount = vision.layerCount
  }

  func match(_ tensors: [TensorDescriptor]) throws(FormatError) -> [TensorMatch] {
    var matches: [TensorMatch] = []
    var unknown: [TensorDescriptor] = []
    for tensor in tensors {
      guard let found = index.match(tableName(tensor.name)) else {
        unknown.append(tensor)
        continue
      }
      let rule = index.rules[found.rule]
      matches.append(
        TensorMatch(tensor: tensor, ruleIndex: found.rule, rule: rule, layer: found.layer))
    }
    // A quantized release has unknown scales beside its weights: its type is the better hint.
    for match in matches where !match.rule.isLeftOut {
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
          allowed: "the names in formats/architectures/\(table).tsv"))
    }
    return matches
  }

  /// The name as the table has it: that of a language model without its prefix.
  private func tableName(_ name: ExactString) -> ExactString {
    let prefix = prefix
    guard !prefix.isEmpty, name.string.hasPrefix(prefix) else { return name }
    return ExactString(String(name.string.dropFirst(prefix.count)))
  }

  private var prefix: String { vision == nil ? configuration.modelClass.prefix : "" }

  func map(_ matches: [TensorMatch]) throws(FormatError) -> [MappedTensor] {
    var mapped: [MappedTensor] = []
    var sources: [ExactString: ExactString] = [:]
    for match in matches where match.rule.presence != .skip {
      let tensor = match.tensor
      guard let layer = try archiveLayer(match) else { continue }
      let shape = match.rule.shape(configuration, vision)
      guard tensor.shape == shape else {
        throw error(
          tensor,
          .inconsistent(
            "has shape \(printable("\(tensor.shape)", limit: 80)), the configuration needs \(shape)"
          ))
      }
      let name = match.rule.archive.name(layer: layer)
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

  /// The layer that a tensor has in the archive, 0 for one of none; `nil` for what the archive does
  /// not hold.
  private func archiveLayer(_ match: TensorMatch) throws(FormatError) -> Int? {
    guard let layer = match.layer else { return 0 }
    let tensor = match.tensor
    guard layer < sourceLayerCount else {
      let name = vision == nil ? configuration.modelClass.layerCountName : "num_hidden_layers"
      throw error(
        tensor, .inconsistent("belongs to layer \(layer), but \(name) is \(sourceLayerCount)"))
    }
    guard let archiveLayer = layers.firstIndex(of: layer) else {
      if match.rule.presence == .selfAttention {
        throw error(
          tensor, .inconsistent("attends to text, but cross_attention_layers has its layer"))
      }
      return nil
    }
    if match.rule.presence == .crossAttention {
      throw error(
        tensor, .inconsistent("attends to a picture, but cross_attention_layers lacks its layer"))
    }
    guard match.rule.mayBe(inLayer: archiveLayer, configuration) else {
      let step = configuration.experts?.layerStep ?? 1
      throw error(
        tensor,
        .inconsistent(
          match.rule.presence == .dense
            ? "is dense, but its layer has experts (one layer in \(step))"
            : "belongs to experts, but its layer is dense (experts: one layer in \(step))"))
    }
    return archiveLayer
  }

  /// Every layer has the same tensors, and all that the configuration calls for.
  func checkComplete(_ matches: [TensorMatch]) throws(FormatError) {
    var found: [Int: Set<Int>] = [:]
    for match in matches { found[match.ruleIndex, default: []].insert(match.layer ?? 0) }
    var missing: [ExactString] = []
    for (ruleIndex, rule) in index.rules.enumerated() where !rule.isLeftOut {
      let present = found[ruleIndex] ?? []
      guard rule.isRequired(configuration) || !present.isEmpty else { continue }
      for (archiveLayer, layer) in (rule.isPerLayer ? layers : [0]).enumerated()
      where !present.contains(layer) && rule.mayBe(inLayer: archiveLayer, configuration) {
        missing.append(ExactString(prefix + rule.source.name(layer: layer).string))
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
