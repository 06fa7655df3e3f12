import ByteIO

/// The experts of a mixture-of-experts model, of which a router picks some for every token.
package struct ExpertConfiguration: Hashable, Sendable {
  /// Experts of a layer that has any.
  package var count: Int
  /// Experts that the router picks for a token.
  package var usedCount: Int
  /// Width of one expert, and of the shared one where there is one.
  package var feedForwardLength: Int
  /// Every how many layers one has experts: the last of each group.
  package var layerStep: Int

  /// Whether a layer has experts; the others are dense.
  package func areIn(layer: Int) -> Bool { (layer + 1) % layerStep == 0 }

  /// Far above every published model.
  static let counts = 1...4096

  /// Members of a `MixtralForCausalLM`: all layers have experts of the one width.
  init(mixtral root: ConfigurationReader, feedForwardLength: Int) throws(FormatError) {
    count = try root.count("num_local_experts", in: Self.counts) ?? 8
    usedCount = try root.count("num_experts_per_tok", in: 1...count) ?? min(2, count)
    self.feedForwardLength = feedForwardLength
    layerStep = 1
  }

  /// Members of a Llama 4: `intermediate_size` is an expert's width, `intermediate_size_mlp` that
  /// of dense layers.
  ///
  /// - Throws: `FormatError` also where `moe_layers` is another choice than every `layerStep`-th
  ///   layer: no archive can say that.
  init(llama4 root: ConfigurationReader, layerCount: Int) throws(FormatError) {
    count = try root.count("num_local_experts", in: Self.counts) ?? 16
    usedCount = try root.count("num_experts_per_tok", in: 1...count) ?? 1
    feedForwardLength = try root.requiredCount(
      "intermediate_size", in: ModelConfiguration.lengths)
    layerStep = try root.count("interleave_moe_layer_step", in: 1...layerCount) ?? 1
    guard let layers = root["moe_layers"] else { return }
    let stated = layers.array?.map { $0.int }
    let implied = (0..<layerCount).filter { areIn(layer: $0) }
    guard let stated, stated.sorted(by: { ($0 ?? -1) < ($1 ?? -1) }) == implied else {
      throw root.error(
        "moe_layers",
        .inconsistent(
          "is not every layer that interleave_moe_layer_step \(layerStep) gives experts, "
            + "which is all that an archive can say"))
    }
  }
}
