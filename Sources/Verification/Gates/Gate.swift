import ByteIO
import Planning

/// A figure that can be held against a limit.
///
/// Source: formats/verification/README.md.
package enum Gate: String, CaseIterable, Sendable {
  case maxMeanKLD = "max-mean-kld"
  case maxP99KLD = "max-p99-kld"
  case maxPPLRatio = "max-ppl-ratio"
  case minTop1 = "min-top1"
  case maxTensorError = "max-tensor-error"

  /// As the command line spells it.
  package var option: String { "--" + rawValue }

  /// What it measures, for people.
  package var title: String {
    switch self {
    case .maxMeanKLD: "Mean KL divergence"
    case .maxP99KLD: "KL divergence, 99th percentile"
    case .maxPPLRatio: "Perplexity ratio"
    case .minTop1: "Same first choice"
    case .maxTensorError: "Largest tensor error"
    }
  }

  /// Whether the figure has to be at least the limit, not at most.
  package var isMinimum: Bool { self == .minTop1 }

  /// Whether the figure comes from running both models over a text.
  package var needsText: Bool { self != .maxTensorError }

  /// Limits that make sense.
  package var allowedLimits: ClosedRange<Double> {
    switch self {
    case .maxMeanKLD, .maxP99KLD: 0...1000
    case .maxPPLRatio: 0.5...1000
    case .minTop1: 0...1
    case .maxTensorError: 0...1000
    }
  }

  /// Reads a limit from the command line; `min-top1` is a fraction or a percentage such as `99.5%`.
  ///
  /// - Throws: `OptionError` when it is no number or outside `allowedLimits`.
  package func limit(_ argument: String) throws(OptionError) -> Double {
    var digits = argument[...]
    var scale = 1.0
    if self == .minTop1, digits.last == "%" {
      digits = digits.dropLast()
      while digits.last == " " { digits = digits.dropLast() }
      scale = 100
    }
    guard let first = digits.first, first.isASCII, first.isNumber || first == ".",
      let number = Double(digits)
    else { throw error(argument, "is not a number; give \(rangeText)") }
    let value = number / scale
    guard allowedLimits.contains(value) else { throw error(argument, "is outside \(rangeText)") }
    return value
  }

  /// The allowed limits, for messages.
  package var allowedText: String {
    self == .minTop1 ? rangeText + " (99.5 % is 0.995)" : rangeText
  }

  private var rangeText: String {
    "\(typed(allowedLimits.lowerBound)) to \(typed(allowedLimits.upperBound))"
  }

  private func error(_ found: String, _ problem: String) -> OptionError {
    OptionError(
      option: option, found: found, problem: problem,
      advice: self == .minTop1 ? "99.5 % is 0.995 or 99.5%" : nil)
  }
}
