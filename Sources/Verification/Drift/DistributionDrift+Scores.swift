#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

extension DistributionDrift {
  /// Percentiles that are reported; 1 is the maximum.
  static let fractions = [0.5, 0.9, 0.95, 0.99, 0.999, 1]

  /// Sums up scored positions.
  ///
  /// - Parameters:
  ///   - scores: position after position, chunk after chunk; not empty.
  ///   - chunkCount: chunks of equal length that they are of.
  ///   - hasCandidate: whether there is something to compare.
  ///   - isFromSavedReference: whether the divergences are estimates.
  ///
  /// Source: section "Figures" of formats/verification/README.md.
  package init(
    _ scores: [PositionScore], chunkCount: Int, hasCandidate: Bool, isFromSavedReference: Bool
  ) {
    let reference = Statistics.mean(scores.map(\.referenceLoss), chunkCount: chunkCount)
    self.init(referencePerplexity: reference.exponential)
    if hasCandidate {
      comparison = Comparison(
        scores, chunkCount: chunkCount, isFromSavedReference: isFromSavedReference)
    }
  }
}

extension DistributionDrift.Comparison {
  fileprivate init(_ scores: [PositionScore], chunkCount: Int, isFromSavedReference: Bool) {
    func mean(_ figure: (PositionScore) -> Double) -> Estimate {
      Statistics.mean(scores.map(figure), chunkCount: chunkCount)
    }
    let squaredShift = mean {
      let shift = exp(-$0.candidateLoss) - exp(-$0.referenceLoss)
      return shift * shift
    }
    let sorted = scores.map(\.divergence).sorted()
    self.init(
      candidatePerplexity: mean(\.candidateLoss).exponential,
      logPerplexityRatio: mean { $0.candidateLoss - $0.referenceLoss },
      meanDivergence: mean(\.divergence),
      divergenceQuantiles: DistributionDrift.fractions.map { fraction in
        DistributionDrift.Quantile(
          fraction: fraction, value: Statistics.quantile(fraction, ofSorted: sorted),
          upperBound: Statistics.quantileUpperBound(fraction, ofSorted: sorted))
      },
      topAgreement: mean { $0.candidateTop == $0.referenceTop ? 1 : 0 },
      probabilityShiftRMS: squaredShift.squareRoot,
      histogram: Self.histogram(sorted),
      isFromSavedReference: isFromSavedReference)
  }

  /// Four bins to a decade from 1e-8 to 100 nats, and one below; empty ends are left out.
  private static func histogram(_ sorted: [Double]) -> [DistributionDrift.HistogramBin] {
    let edges = [0] + (-32...8).map { pow(10, Double($0) / 4) } + [Double.infinity]
    var bins: [DistributionDrift.HistogramBin] = []
    var index = 0
    for (lower, upper) in zip(edges, edges.dropFirst()) {
      let start = index
      while index < sorted.count, sorted[index] < upper { index += 1 }
      bins.append(.init(lowerBound: lower, upperBound: upper, count: index - start))
    }
    guard let first = bins.firstIndex(where: { $0.count > 0 }),
      let last = bins.lastIndex(where: { $0.count > 0 })
    else { return [] }
    return Array(bins[first...last])
  }
}

extension Estimate {
  /// exp of the estimate, errors to first order.
  fileprivate var exponential: Estimate {
    let result = exp(value)
    return Estimate(
      value: result, standardError: result * standardError,
      chunkStandardError: result * chunkStandardError, chunkCount: chunkCount)
  }

  /// Root of the estimate, errors to first order.
  fileprivate var squareRoot: Estimate {
    let result = value.squareRoot()
    let slope = result > 0 ? 0.5 / result : 0
    return Estimate(
      value: result, standardError: slope * standardError,
      chunkStandardError: slope * chunkStandardError, chunkCount: chunkCount)
  }
}
