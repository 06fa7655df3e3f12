import Planning
import Tensors
import Testing
import Verification

private func result(
  mean: Estimate = Estimate(value: 0.01, standardError: 0.001),
  p99: (value: Double, bound: Double) = (0.06, 0.07),
  ratio: Estimate = Estimate(value: 0.01, standardError: 0.002),
  top: Estimate = Estimate(value: 0.94, standardError: 0.0),
  tensorErrors: [Double] = [0.02, 0.07]
) -> VerificationResult {
  var result = SampleResults.passed
  result.distribution?.comparison?.meanDivergence = mean
  result.distribution?.comparison?.divergenceQuantiles = [
    .init(fraction: 0.99, value: p99.value, upperBound: p99.bound)
  ]
  result.distribution?.comparison?.logPerplexityRatio = ratio
  result.distribution?.comparison?.topAgreement = top
  result.tensors = Array(result.tensors.filter { $0.type != .f32 }.prefix(tensorErrors.count))
  for (index, error) in tensorErrors.enumerated() {
    result.tensors[index].relativeRMSError = error
  }
  return result
}

private func outcome(_ gates: Gates, _ result: VerificationResult) throws -> GateOutcome {
  let outcomes = try gates.evaluate(result)
  return try #require(outcomes.count == 1 ? outcomes.first : nil)
}

/// For each gate: the bound by its definition, a limit at it passes, the next number beyond it
/// fails although the point estimate keeps it.
@Test(arguments: Gate.allCases)
func gatesCompareTheBound(_ gate: Gate) throws {
  let result = result()
  let expected: Double
  switch gate {
  case .maxMeanKLD: expected = 0.01 + 1.6449 * 0.001
  case .maxP99KLD: expected = 0.07
  case .maxPPLRatio: expected = ConfidenceBound.exponential(0.01 + 1.6449 * 0.002)
  case .minTop1:
    expected = ConfidenceBound.lower(
      fraction: Estimate(value: 0.94, standardError: 0), positionCount: 10_922)
  case .maxTensorError: expected = 0.07
  }
  var gates = Gates()
  gates[gate] = expected
  let kept = try outcome(gates, result)
  #expect(kept.passed && kept.bound == expected && kept.limit == expected && kept.advice == nil)
  #expect(kept.name == gate.rawValue)

  let beyond = gate.isMinimum ? expected.nextUp : expected.nextDown
  gates[gate] = beyond
  let failed = try outcome(gates, result)
  #expect(!failed.passed)
  #expect(failed.advice?.isEmpty == false)
  if gate != .maxTensorError {
    #expect(gate.isMinimum ? failed.value > beyond : failed.value < beyond)
    #expect(failed.advice?.contains("its uncertainty does not") == true)
  }
}

@Test func theMoreCautiousErrorCounts() throws {
  let mean = Estimate(value: 0.01, standardError: 0.001, chunkStandardError: 0.004)
  let kept = try outcome(Gates(maxMeanKLD: 1), result(mean: mean))
  #expect(kept.bound == 0.01 + 1.6449 * 0.004)
  let top = Estimate(value: 0.9, standardError: 0.003, chunkStandardError: 0.009)
  let worse = try outcome(Gates(minTop1: 0), result(top: top))
  let better = try outcome(
    Gates(minTop1: 0), result(top: Estimate(value: 0.9, standardError: 0.003)))
  #expect(worse.bound < better.bound)
  // For many positions Wilson's bound is the normal one.
  #expect(abs(worse.bound - (0.9 - 1.6449 * 0.009)) < 0.001)
}

@Test func fewPositionsProveLittle() throws {
  var few = result(top: Estimate(value: 1, standardError: 0))
  few.protocolSettings?.scoredPositionCount = 20
  let bound = try outcome(Gates(minTop1: 0.9), few).bound
  // Wilson for 20 of 20: n / (n + z²).
  #expect(abs(bound - 20 / (20 + 1.6449 * 1.6449)) < 1e-12)
  few.protocolSettings?.scoredPositionCount = 0
  #expect(try outcome(Gates(minTop1: 0.0), few).bound == 0)
}

@Test func numbersThatAreNoneNeverPass() throws {
  let bad = Estimate(value: .nan, standardError: 0.001)
  let unsure = Estimate(value: 0, standardError: .nan)
  for mean in [bad, unsure, Estimate(value: .infinity, standardError: 0)] {
    #expect(try !outcome(Gates(maxMeanKLD: 1000), result(mean: mean)).passed)
    #expect(try !outcome(Gates(maxPPLRatio: 1000), result(ratio: mean)).passed)
  }
  let below = Estimate(value: -.infinity, standardError: 0)
  #expect(try !outcome(Gates(maxMeanKLD: 1000), result(mean: below)).passed)
  #expect(try !outcome(Gates(minTop1: 0), result(top: bad)).passed)
  #expect(try !outcome(Gates(minTop1: 0), result(top: unsure)).passed)
  #expect(try !outcome(Gates(maxP99KLD: 1000), result(p99: (0.1, .infinity))).passed)
  #expect(try !outcome(Gates(maxP99KLD: 1000), result(p99: (.nan, 0.1))).passed)
  for errors in [[0.1, .nan], [.nan, 0.1], [.infinity, 0.1]] {
    let failed = try outcome(Gates(maxTensorError: 1000), result(tensorErrors: errors))
    #expect(!failed.passed && !failed.value.isFinite)
  }
}

@Test func adviceNamesTheLayerAndTheTensor() throws {
  var bad = result(mean: Estimate(value: 0.5, standardError: 0.01), tensorErrors: [0.05, 1.4])
  bad.tensors[1].finding = "rows are in another order"
  let advice = try #require(try outcome(Gates(maxMeanKLD: 0.1), bad).advice)
  #expect(advice.contains("the drift begins at layer 2"))
  #expect(
    advice.contains("worst tensor: blk.0.attn_k.weight (Q4_K, error 1.40): rows are in another"))
  let tensors = try #require(try outcome(Gates(maxTensorError: 0.1), bad).advice)
  #expect(tensors.hasPrefix("1 of 2 tensors above the limit, furthest blk.0.attn_k.weight (Q4_K, "))
  #expect(tensors.hasSuffix("the drift begins at layer 2"))
}

/// A tensor that is worst for its type may well keep the limit: the gate is about the others.
@Test func adviceOfTheTensorGateNamesATensorAboveTheLimit() throws {
  var result = result(tensorErrors: [0.009, 0.06])
  result.tensors[0].allowedError = 0.01
  result.tensors[1].allowedError = 0.1
  let names = result.tensors.map(\.name)
  let advice = try #require(try outcome(Gates(maxTensorError: 0.05), result).advice)
  #expect(advice.contains("furthest \(names[1]) (Q4_K, error 0.0600)"), "\(advice)")
  #expect(!advice.contains(names[0]))
  // What a divergence comes from is another question.
  let drift = try #require(try outcome(Gates(maxMeanKLD: 0.001), result).advice)
  #expect(
    drift.contains("no tensor is worse than its type explains, nearest to that is \(names[0])"))
  result.tensors[0].relativeRMSError = .nan
  let broken = try #require(try outcome(Gates(maxTensorError: 0.05), result).advice)
  #expect(broken.contains("2 of 2 tensors above the limit, furthest \(names[0])"), "\(broken)")
}

@Test func messagesSayWhatAGateLacks() {
  let gates = Gates(maxMeanKLD: 0.05)
  func message(_ gates: Gates, _ missing: Gates.Missing, policy: String? = nil) -> String {
    let error = #expect(throws: OptionError.self) {
      try gates.check(measured: [], missing: missing, policy: policy)
    }
    return error?.description ?? ""
  }
  #expect(
    message(gates, .original)
      == "--max-mean-kld 0.05: judges predictions, and there is no text; add --text FILE")
  #expect(
    message(gates, .candidate)
      == "--max-mean-kld 0.05: judges a candidate, and there is none; name the archive to judge")
  #expect(
    message(gates, .tensors, policy: "Q4_K_M")
      == "--policy Q4_K_M: its gate max-mean-kld 0.05 judges predictions, and there is no text;"
      + " add --text FILE")
  let tensors = Gates(maxTensorError: 1)
  #expect(message(tensors, .original).hasSuffix("give the original in its place"))
  #expect(message(tensors, .tensors).hasSuffix("leave out --no-tensors"))
}

@Test func unmeasuredGatesAreUsageErrors() throws {
  let withoutText = SampleResults.withoutText
  for gate in Gate.allCases {
    var gates = Gates()
    gates[gate] = gate.allowedLimits.upperBound
    let measured: Gates.Measured = gate.needsText ? .tensors : .text
    #expect(throws: OptionError.self) { try gates.check(measured: measured) }
    #expect(throws: Never.self) { try gates.check(measured: [.text, .tensors]) }
    if gate.needsText {
      #expect(throws: OptionError.self) { try gates.evaluate(withoutText) }
      #expect(throws: OptionError.self) { try gates.evaluate(SampleResults.referenceOnly) }
    } else {
      #expect(throws: Never.self) { try gates.evaluate(withoutText) }
      #expect(throws: OptionError.self) { try gates.evaluate(SampleResults.referenceOnly) }
    }
  }
  #expect(try Gates().evaluate(withoutText) == [])
}

@Test func limitsAreReadFromTheCommandLine() throws {
  #expect(try Gate.minTop1.limit("0.995") == 0.995)
  #expect(try Gate.minTop1.limit("99.5%") == 0.995)
  #expect(try Gate.minTop1.limit("99.5 %") == 0.995)
  #expect(try Gate.maxMeanKLD.limit("1e-3") == 0.001)
  #expect(try Gate.maxMeanKLD.limit(".5") == 0.5)
  for (gate, text) in [
    (Gate.minTop1, "99.5"), (.minTop1, "%"), (.minTop1, "101%"), (.maxMeanKLD, "5%"),
    (.maxMeanKLD, "nan"), (.maxMeanKLD, "inf"), (.maxMeanKLD, "-1"), (.maxMeanKLD, ""),
    (.maxPPLRatio, "0.05"), (.maxTensorError, "0.1x"), (.maxTensorError, "1e999"),
    (.maxP99KLD, "٣"),
  ] { #expect(throws: OptionError.self, "\(gate) \(text)") { try gate.limit(text) } }
  let error = #expect(throws: OptionError.self) { try Gate.minTop1.limit("99.5") }
  #expect(
    error?.description
      == "--min-top1 99.5: is outside 0 to 1; 99.5 % is 0.995 or 99.5%")
}
