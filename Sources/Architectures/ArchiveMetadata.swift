import ByteIO
import Tensors

extension ModelConfiguration {
  /// The keys of the architecture in the order in which the reference converter writes them.
  ///
  /// Source: formats/architectures/README.md, section "Metadata".
  package func metadata() -> Metadata {
    var metadata = Metadata()
    func key(_ name: String) -> String { "\(modelClass.architecture).\(name)" }
    func set(_ name: String, _ count: Int) {
      // Every count was checked against limits far below 2^32.
      metadata[key(name)] = .uint32(UInt32(count))
    }
    func set(_ name: String, _ number: Double) { metadata[key(name)] = .float32(Float(number)) }

    set("block_count", layerCount)
    set("context_length", contextLength)
    set("embedding_length", embeddingLength)
    set("feed_forward_length", feedForwardLength)
    set("attention.head_count", headCount)
    if statesHeadCountKV { set("attention.head_count_kv", headCountKV) }
    if !isCausal { metadata[key("attention.causal")] = .bool(false) }
    switch rotary.scaling {
    case .none, .llama3: break
    case .linear(let factor):
      metadata[key("rope.scaling.type")] = .string("linear")
      set("rope.scaling.factor", factor)
    case .yarn(let yarn):
      metadata[key("rope.scaling.type")] = .string("yarn")
      set("rope.scaling.factor", yarn.factor)
      set("rope.scaling.original_context_length", yarn.originalContextLength)
      if let factor = yarn.extrapolationFactor { set("rope.scaling.yarn_ext_factor", factor) }
      if let factor = yarn.attentionFactor { set("rope.scaling.yarn_attn_factor", factor) }
      if let beta = yarn.betaFast { set("rope.scaling.yarn_beta_fast", beta) }
      if let beta = yarn.betaSlow { set("rope.scaling.yarn_beta_slow", beta) }
    }
    if let theta = rotary.theta { set("rope.freq_base", theta) }
    if let rmsEpsilon { set("attention.layer_norm_rms_epsilon", rmsEpsilon) }
    if let experts {
      set("expert_count", experts.count)
      set("expert_used_count", experts.usedCount)
    }
    if statesHeadDimension {
      set("attention.key_length", headDimension)
      set("attention.value_length", headDimension)
    }
    metadata["general.file_type"] = .uint32(0)
    set("vocab_size", vocabularySize)
    set("rope.dimension_count", headDimension)
    if let experts, chunkedAttention != nil {
      set("interleave_moe_layer_step", experts.layerStep)
      set("expert_feed_forward_length", experts.feedForwardLength)
    }
    return metadata
  }

  /// Tensors that follow from the configuration alone.
  func generatedTensors() -> [GeneratedTensor] {
    guard case .llama3(let scaling) = rotary.scaling else { return [] }
    let factors = RotaryFactors.llama3(
      theta: rotary.theta ?? RotaryConfiguration.defaultTheta, dimension: headDimension, scaling)
    return [
      GeneratedTensor(name: "rope_freqs.weight", shape: Shape([factors.count]), values: factors)
    ]
  }
}
