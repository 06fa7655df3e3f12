import Tensors

/// Everything that a verification found: what every report and every gate is made from.
public struct VerificationResult: Sendable {
  /// The original; `nil` when a saved reference stands in for it.
  public var reference: Side
  /// The archive in question; `nil` when only the reference was measured.
  public var candidate: Side?
  /// The text and how it was cut; `nil` when only tensors were compared.
  public var protocolSettings: ProtocolSettings?
  public var distribution: DistributionDrift?
  /// One entry for the embedding (`layer` −1) and each layer, from first to last.
  public var layers: [LayerDrift] = []
  /// Scored positions with the largest divergence, worst first.
  public var worstTokens: [WorstToken] = []
  /// Every archive tensor against its source, in the archive's order; one entry per expert where
  /// experts are stacked.
  public var tensors: [TensorError] = []
  /// Tensors of the archive that have no source to be compared with; what they do shows elsewhere.
  public var uncomparedTensors: [String] = []
  public var gates: [GateOutcome] = []
  /// One-line remarks for the user.
  public var warnings: [String] = []
  public var elapsed: Duration = .zero
  public var peakResidentByteCount: UInt64 = 0

  /// Whether every gate passed and no tensor is worse than its type explains.
  public var passed: Bool {
    gates.allSatisfy(\.passed) && tensors.allSatisfy { $0.finding == nil }
  }

  public init(reference: Side, candidate: Side?) {
    self.reference = reference
    self.candidate = candidate
  }

  /// One of the two models.
  public struct Side: Sendable {
    public enum Kind: String, Sendable {
      case checkpoint, archive, savedReference
    }
    public var path: String
    public var kind: Kind
    public var byteCount: UInt64
    /// Of all tensors; 0 for a saved reference.
    public var weightCount: UInt64
    /// 8 × tensor bytes / weights; 0 for a saved reference.
    public var bitsPerWeight: Double
    /// The most used type by bytes, or the recipe that the archive names.
    public var type: String

    public init(
      path: String, kind: Kind, byteCount: UInt64, weightCount: UInt64, bitsPerWeight: Double,
      type: String
    ) {
      self.path = path
      self.kind = kind
      self.byteCount = byteCount
      self.weightCount = weightCount
      self.bitsPerWeight = bitsPerWeight
      self.type = type
    }
  }

  /// What was scored, as `llama-perplexity` would.
  public struct ProtocolSettings: Sendable {
    public var textPath: String
    public var textByteCount: Int
    public var tokenCount: Int
    public var contextLength: Int
    public var chunkCount: Int
    public var scoredPositionCount: Int
    /// Whether the first token of every chunk is the beginning-of-text token.
    public var startsWithBOS: Bool

    public init(
      textPath: String, textByteCount: Int, tokenCount: Int, contextLength: Int, chunkCount: Int,
      scoredPositionCount: Int, startsWithBOS: Bool
    ) {
      self.textPath = textPath
      self.textByteCount = textByteCount
      self.tokenCount = tokenCount
      self.contextLength = contextLength
      self.chunkCount = chunkCount
      self.scoredPositionCount = scoredPositionCount
      self.startsWithBOS = startsWithBOS
    }
  }
}

/// A figure with its uncertainty.
public struct Estimate: Hashable, Sendable {
  public var value: Double
  /// Of the mean over scored positions, as if they were independent (as `llama-perplexity` prints).
  public var standardError: Double
  /// The same from the means of whole chunks, inside which positions depend on each other; 0 with
  /// fewer than 2 chunks.
  public var chunkStandardError: Double
  /// Chunks that the second error is from; `nil` where it is taken as exact.
  public var chunkCount: Int?

  public init(
    value: Double, standardError: Double, chunkStandardError: Double = 0, chunkCount: Int? = nil
  ) {
    self.value = value
    self.standardError = standardError
    self.chunkStandardError = chunkStandardError
    self.chunkCount = chunkCount
  }

  /// The larger of the two errors, which reports show.
  public var cautiousError: Double { max(standardError, chunkStandardError) }
}

/// How the candidate's next-token distribution differs from the reference's.
public struct DistributionDrift: Sendable {
  /// exp of the mean negative log-likelihood.
  public var referencePerplexity: Estimate
  /// Everything below is `nil` when only the reference was measured.
  public var comparison: Comparison?

  public init(referencePerplexity: Estimate, comparison: Comparison? = nil) {
    self.referencePerplexity = referencePerplexity
    self.comparison = comparison
  }

  public struct Comparison: Sendable {
    public var candidatePerplexity: Estimate
    /// ln(candidate's perplexity / reference's).
    public var logPerplexityRatio: Estimate
    /// Mean of KL(reference ‖ candidate) in nats.
    public var meanDivergence: Estimate
    /// In ascending order of `fraction`: 0.5, 0.9, 0.95, 0.99, 0.999 and 1 (the maximum).
    public var divergenceQuantiles: [Quantile]
    /// Fraction of scored positions at which both models prefer the same token.
    public var topAgreement: Estimate
    /// Root mean square of the change of the right token's probability.
    public var probabilityShiftRMS: Estimate
    public var histogram: [HistogramBin]
    /// Whether divergences of single positions are estimates, from what a saved reference keeps.
    public var isFromSavedReference: Bool

    public init(
      candidatePerplexity: Estimate, logPerplexityRatio: Estimate, meanDivergence: Estimate,
      divergenceQuantiles: [Quantile], topAgreement: Estimate, probabilityShiftRMS: Estimate,
      histogram: [HistogramBin], isFromSavedReference: Bool
    ) {
      self.candidatePerplexity = candidatePerplexity
      self.logPerplexityRatio = logPerplexityRatio
      self.meanDivergence = meanDivergence
      self.divergenceQuantiles = divergenceQuantiles
      self.topAgreement = topAgreement
      self.probabilityShiftRMS = probabilityShiftRMS
      self.histogram = histogram
      self.isFromSavedReference = isFromSavedReference
    }

    public func quantile(_ fraction: Double) -> Quantile? {
      divergenceQuantiles.first { $0.fraction == fraction }
    }
  }

  /// A percentile of the divergence with a one-sided 95 % confidence bound.
  public struct Quantile: Hashable, Sendable {
    public var fraction: Double
    public var value: Double
    /// From order statistics; infinite when there are too few positions to tell.
    public var upperBound: Double

    public init(fraction: Double, value: Double, upperBound: Double) {
      self.fraction = fraction
      self.value = value
      self.upperBound = upperBound
    }
  }

  /// Scored positions whose divergence lies in `[lowerBound, upperBound)`; bins are logarithmic.
  public struct HistogramBin: Hashable, Sendable {
    public var lowerBound: Double
    public var upperBound: Double
    public var count: Int

    public init(lowerBound: Double, upperBound: Double, count: Int) {
      self.lowerBound = lowerBound
      self.upperBound = upperBound
      self.count = count
    }
  }
}

/// How far the hidden states after one layer are apart.
public struct LayerDrift: Hashable, Sendable {
  /// −1 for the embedding.
  public var layer: Int
  /// Mean over positions.
  public var cosine: Double
  /// Norm of the difference over the reference's norm, over all positions.
  public var relativeRMSError: Double
  /// Whether the drift begins here: see `formats/verification/README.md`.
  public var isWhereDriftBegins: Bool

  public init(
    layer: Int, cosine: Double, relativeRMSError: Double, isWhereDriftBegins: Bool = false
  ) {
    self.layer = layer
    self.cosine = cosine
    self.relativeRMSError = relativeRMSError
    self.isWhereDriftBegins = isWhereDriftBegins
  }
}

/// A scored position at which the candidate diverges much.
public struct WorstToken: Hashable, Sendable {
  public var chunk: Int
  /// Position in the chunk of the token that is predicted.
  public var position: Int
  public var divergence: Double
  /// Text before the predicted token, some tens of tokens.
  public var context: String
  /// The predicted token, and its probability by both models.
  public var token: String
  public var referenceProbability: Double
  public var candidateProbability: Double
  /// What each model prefers.
  public var referenceTop: String
  public var candidateTop: String

  public init(
    chunk: Int, position: Int, divergence: Double, context: String, token: String,
    referenceProbability: Double, candidateProbability: Double, referenceTop: String,
    candidateTop: String
  ) {
    self.chunk = chunk
    self.position = position
    self.divergence = divergence
    self.context = context
    self.token = token
    self.referenceProbability = referenceProbability
    self.candidateProbability = candidateProbability
    self.referenceTop = referenceTop
    self.candidateTop = candidateTop
  }
}

/// One archive tensor, or one expert of a stacked one, against its source.
public struct TensorError: Hashable, Sendable {
  /// In the archive.
  public var name: String
  public var expert: Int?
  public var sourceName: String?
  public var type: TensorType
  public var weightCount: Int
  public var byteCount: Int
  /// Norm of the difference over the source's norm.
  public var relativeRMSError: Double
  public var cosine: Double
  /// Largest absolute difference.
  public var maximumError: Double
  /// 20 log₁₀ (1 / relative RMS error); infinite when equal.
  public var signalToNoise: Double
  /// Largest relative RMS error that the type explains; `nil` where no band is known.
  public var allowedError: Double?
  /// What is wrong with it; `nil` when the type explains the error.
  public var finding: String?

  public init(
    name: String, expert: Int?, sourceName: String?, type: TensorType, weightCount: Int,
    byteCount: Int, relativeRMSError: Double, cosine: Double, maximumError: Double,
    signalToNoise: Double, allowedError: Double?, finding: String?
  ) {
    self.name = name
    self.expert = expert
    self.sourceName = sourceName
    self.type = type
    self.weightCount = weightCount
    self.byteCount = byteCount
    self.relativeRMSError = relativeRMSError
    self.cosine = cosine
    self.maximumError = maximumError
    self.signalToNoise = signalToNoise
    self.allowedError = allowedError
    self.finding = finding
  }
}

/// One gate and how it ended.
public struct GateOutcome: Hashable, Sendable {
  /// As the option and the policy file spell it, for example `max-mean-kld`.
  public var name: String
  public var limit: Double
  /// Point estimate.
  public var value: Double
  /// What is compared with the limit: the worse end of the confidence interval.
  public var bound: Double
  public var passed: Bool
  /// Where to look first; `nil` when passed.
  public var advice: String?
  /// Whether it holds two facts against each other, `limit` being the reference's.
  public var isEquality: Bool

  public init(
    name: String, limit: Double, value: Double, bound: Double, passed: Bool,
    advice: String? = nil, isEquality: Bool = false
  ) {
    self.name = name
    self.limit = limit
    self.value = value
    self.bound = bound
    self.passed = passed
    self.advice = advice
    self.isEquality = isEquality
  }
}
