import Tensors

/// Sizes of a model, checked: every product below fits.
package struct ForwardDimensions: Hashable, Sendable {
  package var layerCount: Int
  package var embeddingLength: Int
  package var feedForwardLength: Int
  package var headCount: Int
  /// Heads of keys and values; divides `headCount`.
  package var headCountKV: Int
  /// Entries of one head; even.
  package var headDimension: Int
  package var vocabularySize: Int
  package var normEpsilon: Float
  /// Positions that the model was trained for.
  package var contextLength: Int

  var queryLength: Int { headCount * headDimension }
  var keyLength: Int { headCountKV * headDimension }

  func shape(of role: WeightRole) -> Shape {
    switch role {
    case .tokenEmbedding, .output: Shape([vocabularySize, embeddingLength])
    case .outputNorm: Shape([embeddingLength])
    case .layer(_, let weight): shape(of: weight)
    }
  }

  private func shape(of weight: LayerWeight) -> Shape {
    switch weight {
    case .attentionNorm, .feedForwardNorm, .attentionOutputBias, .downBias:
      Shape([embeddingLength])
    case .query: Shape([queryLength, embeddingLength])
    case .key, .value: Shape([keyLength, embeddingLength])
    case .attentionOutput: Shape([embeddingLength, queryLength])
    case .queryBias: Shape([queryLength])
    case .keyBias, .valueBias: Shape([keyLength])
    case .gate, .up: Shape([feedForwardLength, embeddingLength])
    case .gateBias, .upBias: Shape([feedForwardLength])
    case .down: Shape([embeddingLength, feedForwardLength])
    }
  }
}
