import Testing
import Verification

@Test func meanHasTheUncertaintyOfThePeer() {
  // sqrt((E[x²] − E[x]²) / (n − 1)), by hand for 0…11: variance 143/12, 11 degrees of freedom.
  let estimate = Statistics.mean((0..<12).map(Double.init), chunkCount: 1)
  #expect(estimate.value == 5.5)
  let variance: Double = 143 / 12
  #expect(abs(estimate.standardError - (variance / 11).squareRoot()) < 1e-12)
  #expect(estimate.chunkStandardError == 0)
  // Fewer than 11 values say nothing about their spread.
  #expect(Statistics.mean([1, 2, 3], chunkCount: 1).standardError == 0)
}

@Test func dependenceInsideChunksCounts() {
  // Two chunks, each of equal values: the means differ by 2, so the error of their mean is 1.
  let values: [Double] = Array(repeating: 1, count: 50) + Array(repeating: 3, count: 50)
  let estimate = Statistics.mean(values, chunkCount: 2)
  #expect(abs(estimate.chunkStandardError - 1) < 1e-12)
  #expect(estimate.standardError < 0.11)
  #expect(estimate.cautiousError == estimate.chunkStandardError)
}

@Test func quantilesLieBetweenNeighbours() {
  let values = (0...10).map(Double.init)
  #expect(Statistics.quantile(0, ofSorted: values) == 0)
  #expect(Statistics.quantile(0.5, ofSorted: values) == 5)
  #expect(Statistics.quantile(1, ofSorted: values) == 10)
  #expect(abs(Statistics.quantile(0.99, ofSorted: values) - 9.9) < 1e-12)
  #expect(Statistics.quantile(0.5, ofSorted: []).isNaN)
}

/// P(B ≤ j) for a binomial B, term by term.
private func binomial(_ count: Int, _ probability: Double, upTo limit: Int) -> Double {
  var sum = 0.0
  for number in 0...limit {
    var term = 1.0
    for factor in 0..<number { term *= Double(count - factor) / Double(number - factor) }
    for _ in 0..<number { term *= probability }
    for _ in 0..<count - number { term *= 1 - probability }
    sum += term
  }
  return sum
}

@Test(arguments: [(0.5, 20), (0.9, 60), (0.99, 298), (0.99, 299), (0.99, 500), (0.999, 500)])
func upperBoundsOfQuantilesHoldInNineteenOfTwentyCases(_ fraction: Double, _ count: Int) {
  let values = (0..<count).map(Double.init)
  let bound = Statistics.quantileUpperBound(fraction, ofSorted: values)
  if binomial(count, 1 - fraction, upTo: 0) > 0.05 {
    #expect(bound == .infinity)
    return
  }
  // With j values above it, it is wrong in at most one case of twenty; one lower would be wrong more often.
  let above = count - 1 - Int(bound)
  #expect(binomial(count, 1 - fraction, upTo: above) <= 0.05)
  #expect(binomial(count, 1 - fraction, upTo: above + 1) > 0.05)
}

@Test func driftSumsUpScores() throws {
  var scores: [PositionScore] = []
  for index in 0..<40 {
    scores.append(
      PositionScore(
        referenceLoss: 2, candidateLoss: index % 2 == 0 ? 2 : 3,
        divergence: Double(index) / 100, referenceTop: 5,
        candidateTop: index % 4 == 0 ? 6 : 5))
  }
  let drift = DistributionDrift(
    scores, chunkCount: 4, hasCandidate: true, isFromSavedReference: false)
  #expect(abs(drift.referencePerplexity.value - 7.38905609893065) < 1e-12)
  #expect(drift.referencePerplexity.standardError == 0)
  let comparison = try #require(drift.comparison)
  #expect(abs(comparison.logPerplexityRatio.value - 0.5) < 1e-12)
  #expect(abs(comparison.meanDivergence.value - 0.195) < 1e-12)
  #expect(comparison.topAgreement.value == 0.75)
  #expect(comparison.quantile(1)?.value == 0.39)
  #expect(comparison.histogram.reduce(0) { $0 + $1.count } == 40)
  // Half of the positions lose e⁻² − e⁻³.
  let shift: Double = 0.1353352832366127 - 0.049787068367863944
  let expected: Double = shift / 2.0.squareRoot()
  #expect(abs(comparison.probabilityShiftRMS.value - expected) < 1e-12)
  let alone = DistributionDrift(
    scores, chunkCount: 4, hasCandidate: false, isFromSavedReference: false)
  #expect(alone.comparison == nil)
}
