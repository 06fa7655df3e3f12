import ByteIO
import StrictJSON
import Tensors

/// What Meta's `params.json` may hold beside the sizes.
///
/// Source: formats/meta-native.md, "Parameters"; a test holds the two together.
package enum MetaParameters {
  /// Members that are read, here or by who reads the weights.
  package static let used = [
    "dim", "n_heads", "n_layers", "n_kv_heads", "head_dim", "norm_eps", "vocab_size", "multiple_of",
    "ffn_dim_multiplier", "rope_theta", "use_scaled_rope", "rope_scaling_factor",
    "rope_high_freq_factor", "quantization_args", "lora_args",
  ]
  /// The same of a Llama 4; its vision tower is left out with a note.
  package static let usedOfLlama4 = [
    "moe_args", "ffn_exp", "attention_chunk_size", "nope_layer_interval", "use_qk_norm",
    "attn_temperature_tuning", "floor_scale", "attn_scale", "vision_args",
  ]
  /// Settings of a program that runs the model, which no weight depends on.
  package static let passedOver = [
    "max_batch_size", "max_seq_len", "model_parallel_size", "vision_max_num_chunks",
  ]
  /// Sizes of the cross attention of Llama 3.2 Vision; −1 in text models.
  package static let ofVision = ["vision_chunk_size", "vision_num_cross_attention_layers"]

  /// Refuses members that are not known: what they change would be lost in silence.
  ///
  /// - Returns: a note about settings that were passed over.
  /// - Throws: `FormatError` for a member of another name, unless it is null, false or 0.
  static func check(_ root: ConfigurationReader, isLlama4: Bool) throws(FormatError) -> [String] {
    var left: [String] = []
    let used = used + (isLlama4 ? usedOfLlama4 : [])
    for (name, value) in root.object.members where !used.contains(name) {
      if value.isNull || value.bool == false || value.double == 0 { continue }
      if ofVision.contains(name) {
        if value.int == -1 { continue }
        throw root.error(
          name, .unsupported(found: ConfigurationReader.text(value), allowed: "text models"),
          advice: "start from the text model")
      }
      guard passedOver.contains(name) else {
        throw root.error(
          printable(name, limit: 120),
          .unsupported(
            found: "\(ConfigurationReader.text(value)), of which it is not known what it changes",
            allowed: "the members of Meta's \(isLlama4 ? "Llama 4" : "dense text models")"),
          advice: "if it changes nothing, take it out of the file")
      }
      left.append(name)
    }
    let names = left.joined(separator: ", ")
    return left.isEmpty ? [] : ["params.json: passed over, as no weight depends on it: \(names)"]
  }

  /// The scaling that the file states itself, in place of the generation's.
  static func scaling(
    _ root: ConfigurationReader, of rotary: RotaryConfiguration
  ) throws(FormatError) -> RotaryConfiguration {
    var rotary = rotary
    let factor = try root.positive("rope_scaling_factor")
    let highFrequencyFactor = try root.positive("rope_high_freq_factor")
    guard factor != nil || highFrequencyFactor != nil else { return rotary }
    guard case .llama3(var scaling) = rotary.scaling else {
      throw root.error(
        factor != nil ? "rope_scaling_factor" : "rope_high_freq_factor",
        .inconsistent("says how the rotation is scaled, use_scaled_rope that it is not"))
    }
    scaling.factor = factor ?? scaling.factor
    scaling.highFrequencyFactor = highFrequencyFactor ?? scaling.highFrequencyFactor
    guard scaling.factor >= 1 else {
      throw root.error(
        "rope_scaling_factor", .outOfRange(found: text(scaling.factor), allowed: "1 or more"))
    }
    // Equal ones leave nothing between, as in Llama 4 Scout.
    guard scaling.highFrequencyFactor >= scaling.lowFrequencyFactor else {
      throw root.error(
        "rope_high_freq_factor",
        .outOfRange(
          found: text(scaling.highFrequencyFactor),
          allowed: "\(text(scaling.lowFrequencyFactor)), the low factor, or more"))
    }
    rotary.scaling = .llama3(scaling)
    return rotary
  }

  /// How often `n_kv_heads` counts each head of keys.
  ///
  /// Files for more shards than such heads count a head in every shard that repeats it; joined, keys
  /// come from fewer shards than queries.
  static func repeatedHeadCount(_ stated: Int?, _ tensors: [TensorDescriptor]) -> Int {
    func tensor(_ name: ExactString) -> TensorDescriptor? { tensors.first { $0.name == name } }
    guard let stated, let query = tensor("layers.0.attention.wq.weight"),
      let key = tensor("layers.0.attention.wk.weight"), !key.regions.isEmpty,
      query.regions.count > key.regions.count
    else { return 1 }
    let (count, rest) = query.regions.count.quotientAndRemainder(dividingBy: key.regions.count)
    // Stated may also be the model's own count.
    return rest == 0 && stated == query.regions.count ? count : 1
  }

  /// What to look for where a size is short by whole shards.
  static func shardAdvice(found: Int, wanted: Int, _ tensors: [TensorDescriptor]) -> String? {
    let shardCount = tensors.reduce(1) { max($0, $1.regions.count) }
    let (product, overflow) = wanted.multipliedReportingOverflow(by: shardCount)
    guard !overflow, found > 0, wanted > found, product.isMultiple(of: found) else { return nil }
    let total = product / found
    let shards = shardCount == 1 ? "1 shard was" : "\(shardCount) shards were"
    return "\(shards) found, and the sizes are those of \(total): one may be missing"
  }

  /// Whole numbers without a point.
  static func text(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)"
  }
}
