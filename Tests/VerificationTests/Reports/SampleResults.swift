import Tensors
import Verification

/// Results for tests of gates and reports; the figures are made up but plausible.
enum SampleResults {
  /// A Q4_K_M of a small model that keeps every gate.
  static var passed: VerificationResult {
    var result = base
    result.tensors = tensors(layerCount: 6)
    result.uncomparedTensors = ["rope_freqs.weight"]
    result.gates = [
      GateOutcome(
        name: "max-mean-kld", limit: 0.063, value: 0.011315, bound: 0.01154, passed: true),
      GateOutcome(name: "min-top1", limit: 0.865, value: 0.93499, bound: 0.9309, passed: true),
    ]
    return result
  }

  /// The same with a wrong permutation, a NaN and text that wants to be markup.
  static var failed: VerificationResult {
    var result = passed
    result.tensors[2].relativeRMSError = 1.41
    result.tensors[2].cosine = 0.02
    result.tensors[2].finding =
      "error 1.41 where Q4_K explains 0.1: rows are in another order than the source's"
    result.gates[0] = GateOutcome(
      name: "max-mean-kld", limit: 0.063, value: 0.412, bound: 0.437, passed: false,
      advice: "the drift begins at layer 0; worst tensor: blk.0.attn_q.weight (Q4_K, error 1.41)")
    result.gates.append(
      GateOutcome(
        name: "max-p99-kld", limit: 0.76, value: 0.5, bound: .infinity, passed: false,
        advice: "the estimate keeps the limit, its uncertainty does not: give a longer text"))
    result.warnings = ["the two tokenizers differ in 3 ids; both models got the reference's"]
    return result
  }

  /// Every text hostile, and numbers that are none.
  static var hostile: VerificationResult {
    let text = hostileText
    var result = failed
    result.reference.path = text
    result.reference.type = text
    result.candidate?.path = text
    result.protocolSettings?.textPath = text
    result.tensors[0].name = text
    result.tensors[0].finding = text
    result.uncomparedTensors = [text]
    result.tensors[1].relativeRMSError = .nan
    result.tensors[1].finding = text
    result.tensors[3].relativeRMSError = .infinity
    result.tensors[3].expert = 3
    result.layers[2].relativeRMSError = .nan
    result.layers[3].cosine = -.infinity
    result.gates[0].value = .nan
    result.gates[0].bound = .infinity
    result.gates[1].name = text
    result.gates[0].advice = text
    result.warnings = [text, "<b>&amp;"]
    result.worstTokens[0].context = text + String(repeating: "مرحبا ", count: 80)
    result.worstTokens[0].token = text
    result.worstTokens[0].divergence = .nan
    result.worstTokens[0].candidateTop = "\u{202E}drawkcab"
    result.distribution?.comparison?.meanDivergence = Estimate(
      value: .nan, standardError: .infinity)
    return result
  }

  static let hostileText =
    "<script>alert(1)</script>\u{202E}\u{0}\u{1B}[31m\"' &amp; ]]> --> | `x` **b** [a](b)\r\n\u{FFFE}"
    + " @everyone </td></svg>\u{85}\u{2028}"

  /// As large as they come: 80 layers and 3,000 tensors.
  static var large: VerificationResult {
    var result = base
    result.tensors = tensors(layerCount: 375)
    result.layers = (-1..<80).map {
      LayerDrift(
        layer: $0, cosine: 1 - Double($0 + 2) * 4e-5,
        relativeRMSError: 0.004 + Double($0 + 1) * 8e-4,
        isWhereDriftBegins: $0 == 41)
    }
    for index in stride(from: 7, to: result.tensors.count, by: 40) {
      result.tensors[index].relativeRMSError *= 9
      result.tensors[index].finding = "error above what its type explains"
    }
    return result
  }

  /// Tensors only.
  static var withoutText: VerificationResult {
    var result = passed
    result.protocolSettings = nil
    result.distribution = nil
    result.layers = []
    result.worstTokens = []
    result.gates = []
    return result
  }

  /// A plain perplexity.
  static var referenceOnly: VerificationResult {
    var result = base
    result.candidate = nil
    result.distribution?.comparison = nil
    result.layers = []
    result.worstTokens = []
    return result
  }

  static var all: [(name: String, result: VerificationResult)] {
    [
      ("passed", passed), ("failed", failed), ("hostile", hostile), ("large", large),
      ("without-text", withoutText), ("reference-only", referenceOnly),
    ]
  }

  private static var base: VerificationResult {
    var result = VerificationResult(
      reference: .init(
        path: "models/llama3", kind: .checkpoint, byteCount: 11_550_000, weightCount: 5_775_616,
        bitsPerWeight: 16, type: "BF16"),
      candidate: .init(
        path: "out/llama3-Q4_K_M.gguf", kind: .archive, byteCount: 3_572_992,
        weightCount: 5_775_616, bitsPerWeight: 4.86, type: "Q4_K_M"))
    result.protocolSettings = .init(
      textPath: "eval.txt", textByteCount: 64_000, tokenCount: 22_057, contextLength: 256,
      chunkCount: 86, scoredPositionCount: 10_922, startsWithBOS: true)
    result.distribution = DistributionDrift(
      referencePerplexity: Estimate(value: 11.79238, standardError: 0.28094), comparison: comparison
    )
    result.layers = (-1..<6).map {
      LayerDrift(
        layer: $0, cosine: 1 - Double($0 + 2) * 3e-4,
        relativeRMSError: [0.021, 0.034, 0.041, 0.078, 0.085, 0.093, 0.112][$0 + 1],
        isWhereDriftBegins: $0 == 2)
    }
    result.worstTokens = [
      WorstToken(
        chunk: 12, position: 201, divergence: 3.41,
        context:
          "def read(self, size=-1):\n    \"\"\"Read at most size bytes.\"\"\"\n    return self.",
        token: "  _buffer", referenceProbability: 0.61, candidateProbability: 0.018,
        referenceTop: "_buffer", candidateTop: "raw"),
      WorstToken(
        chunk: 70, position: 144, divergence: 2.2, context: "raise ValueError(\"", token: "unknown",
        referenceProbability: 0.2, candidateProbability: 1.7e-5, referenceTop: "invalid",
        candidateTop: "can"),
    ]
    result.elapsed = .milliseconds(14_250)
    result.peakResidentByteCount = 312 << 20
    return result
  }

  private static var comparison: DistributionDrift.Comparison {
    // Two bins for each factor of ten from 10⁻⁸ on, a hump at about 3·10⁻³.
    let counts = [0, 0, 2, 9, 41, 160, 420, 990, 1804, 2470, 2391, 1630, 720, 230, 49, 6, 0]
    let edges = (0...counts.count).map { index in
      (0..<index).reduce(1e-8) { value, _ in value * 10.0.squareRoot() }
    }
    return DistributionDrift.Comparison(
      candidatePerplexity: Estimate(value: 11.902156, standardError: 0.283787),
      logPerplexityRatio: Estimate(
        value: 0.009265, standardError: 0.00131, chunkStandardError: 0.0014),
      meanDivergence: Estimate(
        value: 0.011315, standardError: 0.000138, chunkStandardError: 0.00017),
      divergenceQuantiles: [
        .init(fraction: 0.5, value: 0.0049, upperBound: 0.0051),
        .init(fraction: 0.9, value: 0.0256, upperBound: 0.0266),
        .init(fraction: 0.95, value: 0.0371, upperBound: 0.0392),
        .init(fraction: 0.99, value: 0.067353, upperBound: 0.0731),
        .init(fraction: 0.999, value: 0.161, upperBound: 0.24),
        .init(fraction: 1, value: 0.51, upperBound: .infinity),
      ],
      topAgreement: Estimate(value: 0.93499, standardError: 0.00236),
      probabilityShiftRMS: Estimate(value: 0.02341, standardError: 0.0004),
      histogram: counts.indices.map {
        .init(lowerBound: edges[$0], upperBound: edges[$0 + 1], count: counts[$0])
      }, isFromSavedReference: false)
  }

  /// Eight tensors for each layer, of types as Q4_K_M has them.
  private static func tensors(layerCount: Int) -> [TensorError] {
    (0..<layerCount).flatMap { layer in
      [
        ("attn_norm", TensorType.f32, 0.0, nil as Double?), ("ffn_norm", .f32, 0, nil),
        ("attn_q", .q4_K, 0.071, 0.1), ("attn_k", .q4_K, 0.07, 0.1),
        ("attn_v", .q6_K, 0.018, 0.027),
        ("attn_output", .q4_K, 0.0702, 0.1), ("ffn_gate", .q5_K, 0.034, 0.05),
        ("ffn_down", .q6_K, 0.0181, 0.027),
      ].map { role, type, error, allowed in
        let weightCount = 65_536
        let shifted = error * (1 + Double((layer * 7 + role.utf8.count * 5) % 23) / 150)
        return TensorError(
          name: "blk.\(layer).\(role).weight", expert: nil,
          sourceName: "model.layers.\(layer).\(role).weight", type: type, weightCount: weightCount,
          byteCount: type.byteCount(weightCount: weightCount) ?? 0, relativeRMSError: shifted,
          cosine: 1 - shifted * shifted / 2, maximumError: shifted / 10,
          signalToNoise: shifted == 0 ? .infinity : 23, allowedError: allowed, finding: nil)
      }
    }
  }
}
