/// A tensor of a synthetic checkpoint; its weights are generated while it is written.
struct SyntheticTensor {
  var name: String
  var shape: [Int]

  var weightCount: Int { shape.reduce(1, *) }
  /// BF16.
  var byteCount: Int { weightCount * 2 }
}

/// How a checkpoint's weights are stored.
enum CheckpointForm: String, CaseIterable {
  case safetensors, pytorch, legacy, meta1, meta2

  static var names: String { allCases.map(\.rawValue).joined(separator: " | ") }

  func writeWeights(_ folder: String, layers: Int) throws {
    var weights = GeneratedWeights()
    switch self {
    case .safetensors, .pytorch, .legacy:
      try writeShards(folder, Self.shards(layers: layers), &weights)
    case .meta1, .meta2:
      let count = self == .meta1 ? 1 : 2
      try SyntheticCheckpoint.write(folder + "/params.json", Self.parameters(layers: layers))
      for rank in 0..<count {
        let tensors = Self.shards(layers: layers).joined().map { Self.part($0, of: count) }
        try writeZIP(folder + "/consolidated.0\(rank).pth", tensors, &weights)
      }
    }
  }

  private func writeShards(
    _ folder: String, _ shards: [[SyntheticTensor]], _ weights: inout GeneratedWeights
  ) throws {
    let (stem, suffix) =
      self == .safetensors ? ("model", "safetensors") : ("pytorch_model", "bin")
    var entries: [String] = []
    for (index, tensors) in shards.enumerated() {
      let name = "\(stem)-0000\(index + 1)-of-0000\(shards.count).\(suffix)"
      let path = folder + "/" + name
      switch self {
      case .safetensors: try writeSafetensors(path, tensors, &weights)
      case .legacy: try writeLegacy(path, tensors, &weights)
      default: try writeZIP(path, tensors, &weights)
      }
      entries += tensors.map { "\"\($0.name)\": \"\(name)\"" }
    }
    let total = shards.joined().reduce(0) { $0 + $1.byteCount }
    try SyntheticCheckpoint.write(
      folder + "/\(stem).\(suffix).index.json",
      "{\"metadata\": {\"total_size\": \(total)}, \"weight_map\": {\n"
        + entries.joined(separator: ",\n") + "}}\n")
  }

  // MARK: Tensors

  private static func shards(layers: Int) -> [[SyntheticTensor]] {
    let (hidden, feedForward) = (SyntheticCheckpoint.hidden, SyntheticCheckpoint.feedForward)
    let kv = hidden / SyntheticCheckpoint.heads * SyntheticCheckpoint.headsKV
    var first = [
      SyntheticTensor(
        name: "model.embed_tokens.weight", shape: [SyntheticCheckpoint.vocabulary, hidden])
    ]
    var second = [SyntheticTensor(name: "model.norm.weight", shape: [hidden])]
    for layer in 0..<layers {
      let shapes = [
        ("input_layernorm", [hidden]), ("mlp.down_proj", [hidden, feedForward]),
        ("mlp.gate_proj", [feedForward, hidden]), ("mlp.up_proj", [feedForward, hidden]),
        ("post_attention_layernorm", [hidden]), ("self_attn.k_proj", [kv, hidden]),
        ("self_attn.o_proj", [hidden, hidden]), ("self_attn.q_proj", [hidden, hidden]),
        ("self_attn.v_proj", [kv, hidden]),
      ]
      let block = shapes.map {
        SyntheticTensor(name: "model.layers.\(layer).\($0.0).weight", shape: $0.1)
      }
      if layer < layers / 3 { first += block } else { second += block }
    }
    return [first, second]
  }

  // MARK: Meta's layout

  private static let metaNames = [
    "model.embed_tokens": "tok_embeddings", "model.norm": "norm",
    "input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attention.wq", "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv", "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1", "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
  ]

  /// The part of a tensor that one of `count` shards holds, under Meta's name.
  private static func part(_ tensor: SyntheticTensor, of count: Int) -> SyntheticTensor {
    let parts = tensor.name.split(separator: ".").dropLast()
    var name = metaNames[parts.joined(separator: ".")] ?? ""
    if parts[1] == "layers" {
      name = "layers.\(parts[2]).\(metaNames[parts[3...].joined(separator: ".")] ?? "")"
    }
    var shape = tensor.shape
    if shape.count == 2 { shape[name.hasSuffix(".wo") || name.hasSuffix(".w2") ? 1 : 0] /= count }
    return SyntheticTensor(name: name + ".weight", shape: shape)
  }

  private static func parameters(layers: Int) -> String {
    """
    {"dim": \(SyntheticCheckpoint.hidden), "n_layers": \(layers), "n_heads": \(SyntheticCheckpoint.heads),
     "n_kv_heads": \(SyntheticCheckpoint.headsKV), "vocab_size": \(SyntheticCheckpoint.vocabulary),
     "ffn_dim_multiplier": 1.5, "multiple_of": 256, "norm_eps": 1e-05, "rope_theta": 500000.0,
     "use_scaled_rope": true}

    """
  }
}
