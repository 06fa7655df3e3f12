import ByteIO
import Planning

/// The limits that a candidate has to keep.
///
/// A gate compares the worse end of a one-sided 95 % confidence interval with its limit, so that
/// too short a text fails rather than passes by luck.
package struct Gates: Hashable, Sendable {
  private var limits: [Gate: Double] = [:]

  package init() {}

  package init(
    maxMeanKLD: Double? = nil, maxP99KLD: Double? = nil, maxPPLRatio: Double? = nil,
    minTop1: Double? = nil, maxTensorError: Double? = nil
  ) {
    self[.maxMeanKLD] = maxMeanKLD
    self[.maxP99KLD] = maxP99KLD
    self[.maxPPLRatio] = maxPPLRatio
    self[.minTop1] = minTop1
    self[.maxTensorError] = maxTensorError
  }

  /// The limit of one gate; `nil` when it is not set.
  package subscript(gate: Gate) -> Double? {
    get { limits[gate] }
    set {
      precondition(newValue.map(gate.allowedLimits.contains) ?? true)
      limits[gate] = newValue
    }
  }

  package var isEmpty: Bool { limits.isEmpty }

  /// The gates that are set, in their usual order.
  package var all: [Gate] { Gate.allCases.filter { limits[$0] != nil } }

  /// These gates with those of `stronger` in the place of their own.
  package func overridden(by stronger: Gates) -> Gates {
    var result = self
    result.limits.merge(stronger.limits) { $1 }
    return result
  }

  /// What a run measures, known before it starts.
  package struct Measured: OptionSet, Sendable {
    package let rawValue: Int
    package init(rawValue: Int) { self.rawValue = rawValue }
    /// Both models run over a text.
    package static let text = Measured(rawValue: 1)
    /// Tensors are compared with their sources.
    package static let tensors = Measured(rawValue: 2)
  }

  /// Refuses gates on what is not measured, before hours are spent on the rest.
  ///
  /// - Parameters:
  ///   - measured: by the run.
  ///   - missing: why tensors or everything may be unmeasured, for the message.
  ///   - policy: what `--policy` was given, when these are its gates.
  /// - Throws: `OptionError`.
  package func check(
    measured: Measured, missing: Missing = .original, policy: String? = nil
  ) throws(OptionError) {
    for gate in all {
      guard !measured.contains(gate.needsText ? .text : .tensors) else { continue }
      throw unmeasured(gate, missing, policy: policy)
    }
  }

  /// What else than a text a run may lack.
  package enum Missing: Sendable {
    /// There is only a reference.
    case candidate
    /// There is only a saved reference, which has no tensors.
    case original
    /// The comparison of tensors was switched off.
    case tensors
  }

  /// Holds every gate against what was found.
  ///
  /// - Throws: `OptionError` when a gate is set on something that was not measured.
  package func evaluate(_ result: VerificationResult) throws(OptionError) -> [GateOutcome] {
    var outcomes: [GateOutcome] = []
    for gate in all {
      guard let limit = limits[gate] else { continue }
      guard let (value, bound) = gate.measure(result) else {
        throw unmeasured(gate, result.candidate == nil ? .candidate : .original)
      }
      let keeps = gate.isMinimum ? bound >= limit : bound <= limit
      var outcome = GateOutcome(
        name: gate.rawValue, limit: limit, value: value, bound: bound,
        passed: value.isFinite && bound.isFinite && keeps)
      if !outcome.passed { outcome.advice = gate.advice(outcome, result) }
      outcomes.append(outcome)
    }
    return outcomes
  }

  private func unmeasured(
    _ gate: Gate, _ missing: Missing, policy: String? = nil
  ) -> OptionError {
    let limit = limits[gate].map { typed($0) } ?? ""
    let (problem, advice) =
      switch missing {
      case .candidate: ("judges a candidate, and there is none", "name the archive to judge")
      case _ where gate.needsText: ("judges predictions, and there is no text", "add --text FILE")
      case .original:
        ("judges tensors, and a saved reference has none", "give the original in its place")
      case .tensors: ("judges tensors, which are not compared", "leave out --no-tensors")
      }
    guard let policy else {
      return OptionError(option: gate.option, found: limit, problem: problem, advice: advice)
    }
    return OptionError(
      option: "--policy", found: policy, problem: "its gate \(gate.rawValue) \(limit) \(problem)",
      advice: advice)
  }
}

extension Gate {
  /// The point estimate and the bound that is compared; `nil` when not measured.
  fileprivate func measure(_ result: VerificationResult) -> (value: Double, bound: Double)? {
    let comparison = result.distribution?.comparison
    switch self {
    case .maxMeanKLD:
      return comparison.map {
        ($0.meanDivergence.value, ConfidenceBound.upper($0.meanDivergence))
      }
    case .maxP99KLD:
      return comparison?.quantile(0.99).map { ($0.value, $0.upperBound) }
    case .maxPPLRatio:
      return comparison.map {
        let ratio = $0.logPerplexityRatio
        return (
          ConfidenceBound.exponential(ratio.value),
          ConfidenceBound.exponential(ConfidenceBound.upper(ratio))
        )
      }
    case .minTop1:
      return comparison.map {
        let count = result.protocolSettings?.scoredPositionCount ?? 0
        return (
          $0.topAgreement.value,
          ConfidenceBound.lower(fraction: $0.topAgreement, positionCount: count)
        )
      }
    case .maxTensorError:
      // Every weight is compared: there is nothing to be uncertain about.
      return result.tensors.largestError.map { ($0, $0) }
    }
  }

  /// Where to look first when the gate failed.
  fileprivate func advice(_ outcome: GateOutcome, _ result: VerificationResult) -> String {
    if self == .maxTensorError { return result.tensorAdvice(limit: outcome.limit) }
    guard outcome.value.isFinite else {
      return "the figure is no number: look for overflow in the weights; \(result.whereToLook)"
    }
    let keeps = isMinimum ? outcome.value >= outcome.limit : outcome.value <= outcome.limit
    if keeps {
      return "the estimate keeps the limit, its uncertainty does not: give a longer text"
        + " or more chunks"
    }
    return result.whereToLook
  }
}

extension [TensorError] {
  /// The largest relative error; the first that is no finite number counts as the largest.
  fileprivate var largestError: Double? {
    lazy.map(\.relativeRMSError).first { !$0.isFinite } ?? lazy.map(\.relativeRMSError).max()
  }
}

extension VerificationResult {
  /// The layer and the tensor that most likely cause a drift.
  fileprivate var whereToLook: String {
    var hints = [driftOrigin].compactMap { $0 }
    if let worst = tensors.worstFirst.first, worst.finding != nil {
      hints.append("worst tensor: " + worst.summary)
    } else if let worst = tensors.worstFirst.first, worst.relativeRMSError != 0 {
      hints.append(
        "no tensor is worse than its type explains, nearest to that is \(worst.summary):"
          + " larger types or importance data bring less drift")
    }
    if hints.isEmpty { return "compare with the original's tensors to find the place" }
    return hints.joined(separator: "; ")
  }

  private var driftOrigin: String? {
    layers.first(where: \.isWhereDriftBegins).map { "the drift begins at \($0.place)" }
  }

  /// Names the tensor that is furthest above a limit, be it as its type explains or not.
  fileprivate func tensorAdvice(limit: Double) -> String {
    let above = tensors.filter { !($0.relativeRMSError <= limit) }
    guard
      let worst = above.first(where: { !$0.relativeRMSError.isFinite })
        ?? above.max(by: { $0.relativeRMSError < $1.relativeRMSError })
    else { return whereToLook }
    let hints = [
      "\(above.count) of \(counted(tensors.count, "tensor")) above the limit, furthest"
        + " \(worst.summary)", driftOrigin,
    ]
    return hints.compactMap { $0 }.joined(separator: "; ")
  }
}

extension TensorError {
  /// `blk.0.attn_q.weight (Q4_K, error 1.40): what is wrong with it`.
  fileprivate var summary: String {
    "\(displayName) (\(type.name), error \(significant(relativeRMSError, 3)))"
      + (finding.map { ": " + printable($0) } ?? "")
  }
}
