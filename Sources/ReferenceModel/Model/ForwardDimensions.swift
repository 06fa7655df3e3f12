import Tensors

/// Sizes of a model, checked: every product below fits.
package struct ForwardDimensions: Hashable, Sendable {
  package var layerCount: Int
  package var embeddingLength: Int
  /// Of dense layers.
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
  /// `nil` for a dense model.
  package var experts: ForwardExperts?

  var queryLength: Int { headCount * headDimension }
  var keyLength: Int { headCountKV * headDimension }
  /// Widest thing that a layer holds of every token beside what a norm made.
  var innerLength: Int {
    let isDense = (0..<layerCount).contains { experts?.areIn(layer: $0) != true }
    return max(
      queryLength + 2 * keyLength, isDense ? feedForwardLength : 0,
      experts?.feedForwardLength ?? 0)
  }

  func shape(of role: WeightRole) -> Shape {
    switch role {
    case .tokenEmbedding, .output: Shape([vocabularySize, embeddingLength])
    case .outputNorm: Shape([embeddingLength])
    case .layer(_, let weight): shape(of: weight)
    }
  }

  private func shape(of weight: LayerWeight) -> Shape {
    let (count, width) = (experts?.count ?? 0, experts?.feedForwardLength ?? 0)
    return switch weight {
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
    case .router: Shape([count, embeddingLength])
    case .expertGate, .expertUp: Shape([count, width, embeddingLength])
    case .expertDown: Shape([count, embeddingLength, width])
    case .sharedGate, .sharedUp: Shape([width, embeddingLength])
    case .sharedDown: Shape([embeddingLength, width])
    }
  }
}

/// The experts of a model's layers and how a router's scores are used.
package struct ForwardExperts: Hashable, Sendable {
  package enum Weighting: Hashable, Sendable {
    /// The sigmoid of a chosen expert's score multiplies what it is given, as in Llama 4.
    case inputBySigmoid
    /// The softmax of all scores, divided by the sum of the chosen ones', multiplies what the expert
    /// gives, as in Mixtral.
    case outputByProbability
  }

  package var count: Int
  /// Experts that the router picks for a token.
  package var usedCount: Int
  /// Width of one expert, and of the shared one.
  package var feedForwardLength: Int
  /// Every how many layers one has experts: the last of each group.
  package var layerStep: Int
  package var hasShared: Bool
  package var weighting: Weighting

  package func areIn(layer: Int) -> Bool { (layer + 1) % layerStep == 0 }
}
