#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Means, quantiles and how sure they are.
package enum Statistics {
  /// Fewest values of which an uncertainty is given; `llama-perplexity` has the same.
  package static let smallestSample = 11

  /// Mean of `values`, which are those of whole chunks of `chunkCount` equal parts.
  package static func mean(_ values: [Double], chunkCount: Int) -> Estimate {
    guard !values.isEmpty else { return Estimate(value: .nan, standardError: .nan) }
    let mean = values.reduce(0, +) / Double(values.count)
    // Twice over the values: no difference of large squares.
    let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    var error = 0.0
    if values.count >= smallestSample {
      error = (squares / Double(values.count) / Double(values.count - 1)).squareRoot()
    }
    return Estimate(
      value: mean, standardError: error,
      chunkStandardError: chunkError(values, mean: mean, chunkCount: chunkCount),
      chunkCount: values.count < smallestSample ? 0 : chunkCount)
  }

  /// Standard error of the mean from the means of chunks: positions inside a chunk share their
  /// text, so that they are fewer observations than their number says.
  private static func chunkError(_ values: [Double], mean: Double, chunkCount: Int) -> Double {
    guard chunkCount >= 2, values.count % chunkCount == 0 else { return 0 }
    let length = values.count / chunkCount
    var squares = 0.0
    for chunk in 0..<chunkCount {
      let sum = values[chunk * length..<(chunk + 1) * length].reduce(0, +)
      let deviation = sum / Double(length) - mean
      squares += deviation * deviation
    }
    return (squares / Double(chunkCount - 1) / Double(chunkCount)).squareRoot()
  }

  /// Quantile of sorted values, linear between neighbours.
  package static func quantile(_ fraction: Double, ofSorted values: [Double]) -> Double {
    guard let last = values.last else { return .nan }
    let place = fraction * Double(values.count - 1)
    let index = Int(place)
    guard index + 1 < values.count else { return last }
    let part = place - Double(index)
    return (1 - part) * values[index] + part * values[index + 1]
  }

  /// The order statistic that lies above the true quantile with 95 % confidence.
  ///
  /// Of n values B lie above the true quantile, B being binomial with probability 1 − fraction. The
  /// value with j others above it lies below the quantile when B ≤ j: j is the largest number for
  /// which that has a probability of at most 5 %.
  package static func quantileUpperBound(_ fraction: Double, ofSorted values: [Double]) -> Double {
    let count = values.count
    guard count > 0, fraction > 0, fraction < 1 else { return .infinity }
    let above = 1 - fraction
    var logProbability = Double(count) * log(fraction)
    let logOdds = log(above / fraction)
    var cumulative = exp(logProbability)
    var j = -1
    var number = 0
    while cumulative <= 0.05, number < count {
      j = number
      logProbability += log(Double(count - number) / Double(number + 1)) + logOdds
      number += 1
      cumulative += exp(logProbability)
    }
    return j < 0 ? .infinity : values[count - 1 - j]
  }
}
