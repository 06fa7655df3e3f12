import ByteIO
import StrictJSON

extension ExpertConfiguration {
  /// Members of `moe_args`.
  package static let metaMembers = [
    "num_experts", "top_k", "interleave_moe_layer_step", "capacity_factor", "auto_scale_F",
    "use_shared_expert",
  ]

  /// Members of the `moe_args` of a Llama 4 of Meta's own, and what follows from them.
  ///
  /// - Throws: `FormatError` for members that are not known.
  init(
    meta root: ConfigurationReader, embeddingLength: Int, layerCount: Int
  ) throws(FormatError) {
    guard let moe = try root.object("moe_args") else {
      throw root.error("moe_args", .missing("\"moe_args\""))
    }
    for (name, value) in moe.object.members where !Self.metaMembers.contains(name) {
      if value.isNull || value.bool == false || value.double == 0 { continue }
      throw moe.error(
        printable(name, limit: 80),
        .unsupported(
          found: ConfigurationReader.text(value),
          allowed: Self.metaMembers.joined(separator: ", ")))
    }
    if try moe.flag("use_shared_expert") == false {
      throw moe.error("use_shared_expert", .unsupported(found: "false", allowed: "true"))
    }
    count = try moe.requiredCount("num_experts", in: Self.counts)
    usedCount = try moe.count("top_k", in: 1...count) ?? 1
    layerStep = try moe.count("interleave_moe_layer_step", in: 1...layerCount) ?? 1
    // The width of a dense layer is shared by the experts that a token counts for and the shared one.
    let capacity = try moe.positive("capacity_factor") ?? 1
    let isScaled = try moe.flag("auto_scale_F") ?? true
    feedForwardLength = try MetaFeedForward(root).expertLength(
      embeddingLength, expansion: try root.requiredPositive("ffn_exp"),
      activeCount: isScaled ? capacity + 1 : nil)
  }
}

extension ChunkedAttention {
  /// Members of a Llama 4 of Meta's own.
  ///
  /// Whether queries are scaled by position is a choice of Meta's program when it runs the model. The
  /// published configurations of the same models say yes, and so it is where nothing is said.
  init(
    meta root: ConfigurationReader, layerCount: Int, companion: ChunkedAttention?,
    notes: inout [String]
  ) throws(FormatError) {
    let lengths = 1...Int(UInt32.max)
    let interval = try root.count("nope_layer_interval", in: lengths)
    var temperature: Temperature? = Temperature(
      floor: try root.positive("floor_scale") ?? 8192,
      scale: try root.positive("attn_scale") ?? 0.1)
    if let isOn = try root.flag("attn_temperature_tuning") {
      if !isOn { temperature = nil }
    } else if let companion {
      temperature = companion.temperature
    } else {
      notes.append(
        "params.json does not say attn_temperature_tuning: true is taken, as the published "
          + "configurations of Llama 4 say")
    }
    self.init(
      chunkLength: try root.count("attention_chunk_size", in: lengths),
      rotates: (1...layerCount).map { layer in interval.map { layer % $0 != 0 } ?? true },
      normalizesRotated: try root.flag("use_qk_norm") ?? false, temperature: temperature)
  }
}
