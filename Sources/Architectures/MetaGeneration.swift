/// The releases of Meta's own that its files tell apart, and what those files leave unsaid.
///
/// Source: formats/meta-native.md, section "Generations"; a test holds the two together.
enum MetaGeneration: String, CaseIterable {
  case llama1 = "Llama 1"
  case llama2 = "Llama 2"
  case codeLlama = "Code Llama"
  case llama3 = "Llama 3"
  case llama31 = "Llama 3.1, 3.3"
  case llama32 = "Llama 3.2 1B, 3B"
  case scout = "Llama 4 Scout"
  case maverick = "Llama 4 Maverick"

  /// Tokens that the model was trained for.
  var contextLength: Int {
    switch self {
    case .llama1: 2048
    case .llama2: 4096
    case .codeLlama: 16_384
    case .llama3: 8192
    case .llama31, .llama32: 131_072
    // Tuned models state more, which their files do not tell from the others.
    case .scout, .maverick: 262_144
    }
  }

  /// Factor of the `llama3` scaling; `nil` without one.
  var scalingFactor: Double? {
    switch self {
    case .llama1, .llama2, .codeLlama, .llama3, .maverick: nil
    case .llama31: 8
    case .llama32: 32
    case .scout: 16
    }
  }

  /// High frequency factor of that scaling; the low one is 1.
  private var highFrequencyFactor: Double { self == .scout ? 1 : 4 }

  /// Base of the rotation where `params.json` has none.
  var defaultTheta: Double {
    switch self {
    case .llama1, .llama2, .codeLlama: 10_000
    case .llama3, .llama31, .llama32, .scout, .maverick: 500_000
    }
  }

  /// The rotation with the base that `params.json` states, or its default.
  func rotary(theta: Double?) -> RotaryConfiguration {
    let scaling = scalingFactor.map { factor in
      RotaryConfiguration.Scaling.llama3(
        RotaryConfiguration.Llama3Scaling(
          factor: factor, lowFrequencyFactor: 1, highFrequencyFactor: highFrequencyFactor,
          originalContextLength: 8192))
    }
    return RotaryConfiguration(theta: theta ?? defaultTheta, scaling: scaling ?? .none)
  }

  /// Tells the generation from the sizes that `params.json` states.
  init(
    isLlama4: Bool, usesScaledRotation: Bool, theta: Double?, embeddingLength: Int,
    layerCount: Int, statesHeadCountKV: Bool, epsilon: Double
  ) {
    if isLlama4 {
      self = usesScaledRotation ? .scout : .maverick
    } else if usesScaledRotation {
      let isSmall = [[2048, 16], [3072, 28]].contains([embeddingLength, layerCount])
      self = isSmall ? .llama32 : .llama31
    } else if let theta, theta >= 1_000_000 {
      self = .codeLlama
    } else if let theta, theta > 10_000 {
      self = .llama3
    } else if statesHeadCountKV {
      self = .llama2
    } else {
      // Both have the same sizes; the epsilon tells them apart, but for the largest Llama 1.
      let isLargest = embeddingLength == 8192 && layerCount == 80
      self = epsilon == 1e-5 && !isLargest ? .llama2 : .llama1
    }
  }
}
