import Architectures
import ByteIO

/// What Hugging Face's files of each family call the tensors.
extension TensorNames {
  init(checkpoint configuration: ModelConfiguration, _ dimensions: ForwardDimensions) {
    roles = [.tokenEmbedding: "model.embed_tokens.weight", .outputNorm: "model.norm.weight"]
    ignored = ["model.rotary_emb.inv_freq"]
    if configuration.tiesEmbeddings {
      // The framework overwrites what a tied checkpoint may hold beside the embedding.
      ignored.insert("lm_head.weight")
    } else {
      roles[.output] = "lm_head.weight"
    }
    let family = CheckpointFamily(configuration)
    for (layer, number) in configuration.sourceLayers.enumerated() {
      let prefix = "model.layers.\(number)."
      for weight in LayerWeight.ofLayer(layer, dimensions) {
        guard let name = family.name(of: weight) else { continue }
        roles[.layer(layer, weight)] = prefix + name
      }
      ignored.insert(ExactString(prefix + "self_attn.rotary_emb.inv_freq"))
    }
    experts = family.experts
    if !configuration.modelClass.prefix.isEmpty {
      optionalPrefix = configuration.modelClass.prefix
      ignoredPrefixes = ["vision_model.", "multi_modal_projector."]
    }
    for layer in configuration.crossAttentionLayers {
      // Without a picture, the framework passes these layers by.
      for name in Self.crossAttentionNames {
        ignored.insert(ExactString("model.layers.\(layer).\(name)"))
      }
    }
  }

  /// Behind `model.layers.N.` of a layer that attends to a picture.
  private static let crossAttentionNames =
    ["q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"].map { "cross_attn.\($0).weight" }
    + ["gate_proj", "up_proj", "down_proj"].map { "mlp.\($0).weight" }
    + [
      "cross_attn_attn_gate", "cross_attn_mlp_gate", "input_layernorm.weight",
      "post_attention_layernorm.weight",
    ]
}

/// Checkpoints whose layers have the same names.
enum CheckpointFamily: Hashable {
  case llama, llama4, mixtral

  init(_ configuration: ModelConfiguration) {
    if configuration.chunkedAttention != nil {
      self = .llama4
    } else {
      self = configuration.experts == nil ? .llama : .mixtral
    }
  }

  /// Which entries of a head turn together.
  var rotaryLayout: RotaryFrequencies.Layout { self == .llama4 ? .neighbours : .halves }

  var experts: [ExpertPattern] {
    switch self {
    case .llama: []
    case .llama4:
      [
        ExpertPattern(
          "model.layers.{L}.feed_forward.experts.gate_up_proj",
          .transposedPair(.expertGate, .expertUp)),
        ExpertPattern(
          "model.layers.{L}.feed_forward.experts.down_proj", .transposed(.expertDown)),
        ExpertPattern(
          "model.layers.{L}.feed_forward.experts.{E}.gate_proj.weight", .plain(.expertGate)),
        ExpertPattern(
          "model.layers.{L}.feed_forward.experts.{E}.up_proj.weight", .plain(.expertUp)),
        ExpertPattern(
          "model.layers.{L}.feed_forward.experts.{E}.down_proj.weight", .plain(.expertDown)),
      ]
    case .mixtral:
      [
        ExpertPattern(
          "model.layers.{L}.block_sparse_moe.experts.{E}.w1.weight", .plain(.expertGate)),
        ExpertPattern(
          "model.layers.{L}.block_sparse_moe.experts.{E}.w3.weight", .plain(.expertUp)),
        ExpertPattern(
          "model.layers.{L}.block_sparse_moe.experts.{E}.w2.weight", .plain(.expertDown)),
      ]
    }
  }

  /// Behind `model.layers.N.`; `nil` for what the family has no tensor of.
  func name(of weight: LayerWeight) -> String? {
    let dense = self == .llama4 ? "feed_forward" : "mlp"
    switch weight {
    case .attentionNorm: return "input_layernorm.weight"
    case .query: return "self_attn.q_proj.weight"
    case .key: return "self_attn.k_proj.weight"
    case .value: return "self_attn.v_proj.weight"
    case .attentionOutput: return "self_attn.o_proj.weight"
    case .queryBias: return "self_attn.q_proj.bias"
    case .keyBias: return "self_attn.k_proj.bias"
    case .valueBias: return "self_attn.v_proj.bias"
    case .attentionOutputBias: return "self_attn.o_proj.bias"
    case .feedForwardNorm: return "post_attention_layernorm.weight"
    case .gate: return "\(dense).gate_proj.weight"
    case .up: return "\(dense).up_proj.weight"
    case .down: return "\(dense).down_proj.weight"
    case .gateBias: return "\(dense).gate_proj.bias"
    case .upBias: return "\(dense).up_proj.bias"
    case .downBias: return "\(dense).down_proj.bias"
    case .router:
      return self == .llama4 ? "feed_forward.router.weight" : "block_sparse_moe.gate.weight"
    case .sharedGate: return "feed_forward.shared_expert.gate_proj.weight"
    case .sharedUp: return "feed_forward.shared_expert.up_proj.weight"
    case .sharedDown: return "feed_forward.shared_expert.down_proj.weight"
    case .expertGate, .expertUp, .expertDown: return nil
    }
  }
}
