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
  /// Settings of a program that runs the model, which no weight depends on.
  package static let passedOver = ["max_batch_size", "max_seq_len", "model_parallel_size"]

  /// Refuses members that are not known: what they change would be lost in silence.
  ///
  /// - Returns: a note about settings that were passed over.
  /// - Throws: `FormatError` for a member of another name, unless it is null, false or 0.
  static func check(_ root: ConfigurationReader) throws(FormatError) -> [String] {
    var left: [String] = []
    for (name, value) in root.object.members where !used.contains(name) {
      if value.isNull || value.bool == false || value.double == 0 { continue }
      guard passedOver.contains(name) else {
        throw root.error(
          printable(name, limit: 120),
          .unsupported(
            found: "\(ConfigurationReader.text(value)), of which it is not known what it changes",
            allowed: "the members of Meta's dense text models"),
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
    guard scaling.highFrequencyFactor > scaling.lowFrequencyFactor else {
      throw root.error(
        "rope_high_freq_factor",
        .outOfRange(
          found: text(scaling.highFrequencyFactor),
          allowed: "above the low factor, \(text(scaling.lowFrequencyFactor))"))
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
