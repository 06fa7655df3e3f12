/// What a tensor of one layer does.
package enum LayerWeight: String, Hashable, Sendable, CaseIterable {
  case attentionNorm
  case query, key, value, attentionOutput
  case queryBias, keyBias, valueBias, attentionOutputBias
  case feedForwardNorm
  case gate, up, down
  case gateBias, upBias, downBias

  /// Biases that an attention has all of or none, in either road.
  static let attentionBiases: Set<LayerWeight> = [
    .queryBias, .keyBias, .valueBias, .attentionOutputBias,
  ]
  static let feedForwardBiases: Set<LayerWeight> = [.gateBias, .upBias, .downBias]

  var isBias: Bool { Self.attentionBiases.contains(self) || Self.feedForwardBiases.contains(self) }
}

/// What a tensor does in a forward pass, whatever its file calls it.
package enum WeightRole: Hashable, Sendable, CustomStringConvertible {
  case tokenEmbedding
  case outputNorm
  case output
  case layer(Int, LayerWeight)

  package var description: String {
    switch self {
    case .tokenEmbedding: "tokenEmbedding"
    case .outputNorm: "outputNorm"
    case .output: "output"
    case .layer(let layer, let weight): "layer \(layer) \(weight.rawValue)"
    }
  }
}
