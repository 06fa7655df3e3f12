/// What a tensor of one layer does.
package enum LayerWeight: String, Hashable, Sendable, CaseIterable {
  case attentionNorm
  case query, key, value, attentionOutput
  case queryBias, keyBias, valueBias, attentionOutputBias
  case feedForwardNorm
  case gate, up, down
  case gateBias, upBias, downBias
  /// Of layers with experts: scores them.
  case router
  /// The same for all experts of a layer: `ExpertMatrices` says which part is whose.
  case expertGate, expertUp, expertDown
  /// Of the expert that every token goes through.
  case sharedGate, sharedUp, sharedDown

  /// Biases that an attention has all of or none, in either road.
  static let attentionBiases: Set<LayerWeight> = [
    .queryBias, .keyBias, .valueBias, .attentionOutputBias,
  ]
  static let feedForwardBiases: Set<LayerWeight> = [.gateBias, .upBias, .downBias]
  /// What every layer has.
  private static let attention: [LayerWeight] = [
    .attentionNorm, .query, .key, .value, .attentionOutput, .queryBias, .keyBias, .valueBias,
    .attentionOutputBias, .feedForwardNorm,
  ]
  static let shared: [LayerWeight] = [.sharedGate, .sharedUp, .sharedDown]
  static let experts: [LayerWeight] = [.expertGate, .expertUp, .expertDown]

  var isBias: Bool { Self.attentionBiases.contains(self) || Self.feedForwardBiases.contains(self) }

  /// Tensors of their own that a layer may have, biases among them; matrices of experts are none.
  static func ofLayer(_ layer: Int, _ dimensions: ForwardDimensions) -> [LayerWeight] {
    guard let experts = dimensions.experts, experts.areIn(layer: layer) else {
      return attention + [.gate, .up, .down, .gateBias, .upBias, .downBias]
    }
    return attention + [.router] + (experts.hasShared ? shared : [])
  }
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
