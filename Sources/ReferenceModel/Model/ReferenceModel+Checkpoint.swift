import Architectures
import ByteIO
import Checkpoints
import Tensors

extension ReferenceModel {
  /// Opens a directory of Hugging Face or of Meta, or a weights file with its configuration beside
  /// it.
  ///
  /// - Throws: `FormatError` for everything that is missing, contradictory or not known.
  package init(checkpoint path: String) throws {
    if let folder = try MetaDirectory.folder(of: path) {
      try self.init(meta: folder)
      return
    }
    let directory = try CheckpointDirectory(path)
    let file = directory.path(of: "config.json")
    let configuration = try ModelConfiguration(file: file)
    try Self.refuseUnsupported(configuration)
    let weights = try dequantizedSource(directory, folder: directory.path)
    let dimensions = ForwardDimensions(configuration)
    let rotary = RotaryFrequencies(
      frequencies: try Self.frequencies(configuration),
      layout: CheckpointFamily(configuration).rotaryLayout)
    var biases: Set<LayerWeight> = []
    if configuration.hasAttentionBias { biases.formUnion(LayerWeight.attentionBiases) }
    if configuration.hasMLPBias { biases.formUnion(LayerWeight.feedForwardBiases) }
    try self.init(
      source: configuration.withoutPictureTokens(weights.source), path: path,
      dimensions: dimensions, rotary: rotary,
      attention: configuration.chunkedAttention,
      names: TensorNames(checkpoint: configuration, dimensions)
    ) { role in
      if case .layer(_, let weight) = role { return !weight.isBias || biases.contains(weight) }
      return true
    }
  }

  private static func refuseUnsupported(_ configuration: ModelConfiguration) throws(FormatError) {
    if !configuration.isCausal {
      throw FormatError(
        file: configuration.file, field: "is_causal",
        reason: .unsupported(found: "false", allowed: "causal attention"))
    }
  }

  static func frequencies(_ configuration: ModelConfiguration) throws(FormatError)
    -> [Float]
  {
    let rotary = configuration.rotary
    let frequencies = RotaryFrequencies.unscaled(
      base: rotary.theta ?? 10_000, dimension: configuration.headDimension)
    switch rotary.scaling {
    case .none: return frequencies
    case .linear(let factor): return frequencies.map { $0 / Float(factor) }
    case .llama3(let scaling): return frequencies.map { Self.llama3($0, scaling) }
    case .yarn:
      throw FormatError(
        file: configuration.file, field: "rope_type",
        reason: .unsupported(found: "\"yarn\"", allowed: "default, linear, llama3"),
        advice: "a forward pass with yarn scaling is not there yet")
    }
  }

  /// Turns that take longer than the trained context are slowed down, short ones are not.
  private static func llama3(
    _ frequency: Float, _ scaling: RotaryConfiguration.Llama3Scaling
  ) -> Float {
    // `Float.pi` is rounded toward zero, the framework's to nearest.
    let wavelength = Float(2 * Double.pi) / frequency
    let turns = Float(scaling.originalContextLength) / wavelength
    let low = Float(scaling.lowFrequencyFactor)
    let high = Float(scaling.highFrequencyFactor)
    if turns < low { return frequency / Float(scaling.factor) }
    if turns > high { return frequency }
    let share = (turns - low) / (high - low)
    return (1 - share) * frequency / Float(scaling.factor) + share * frequency
  }
}

extension ModelConfiguration {
  /// The tensors with an embedding of the vocabulary alone.
  fileprivate func withoutPictureTokens(_ source: any TensorSource) -> any TensorSource {
    guard modelClass.family == .crossAttention else { return source }
    let name = "model.embed_tokens.weight"
    return LeadingRows(
      source, of: [ExactString(name), ExactString(modelClass.prefix + name)],
      rowCount: vocabularySize, of: vocabularySize + Self.pictureTokenCount)
  }
}

extension ForwardDimensions {
  init(_ configuration: ModelConfiguration) {
    self.init(
      layerCount: configuration.layerCount, embeddingLength: configuration.embeddingLength,
      feedForwardLength: configuration.feedForwardLength, headCount: configuration.headCount,
      headCountKV: configuration.headCountKV, headDimension: configuration.headDimension,
      vocabularySize: configuration.vocabularySize,
      normEpsilon: Float(configuration.rmsEpsilon ?? 1e-6),
      contextLength: configuration.contextLength,
      experts: configuration.experts.map { experts in
        let isLlama4 = configuration.chunkedAttention != nil
        return ForwardExperts(
          count: experts.count, usedCount: experts.usedCount,
          feedForwardLength: experts.feedForwardLength, layerStep: experts.layerStep,
          hasShared: isLlama4, weighting: isLlama4 ? .inputBySigmoid : .outputByProbability)
      })
  }
}
