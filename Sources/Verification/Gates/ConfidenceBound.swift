#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// One-sided 95 % confidence bounds: what a gate compares instead of the point estimate.
package enum ConfidenceBound {
  /// Of the normal distribution: 95 % lie below it.
  package static let z = 1.6449

  /// The end of a mean's interval that is worse for a maximum.
  package static func upper(_ estimate: Estimate) -> Double {
    estimate.value + margin(estimate)
  }

  /// Half of the width of a mean's two-sided 90 % interval, one side of which is left out.
  ///
  /// The larger of two: z times the error of independent positions, and Student's t times the error
  /// from chunks, of which there may be few.
  ///
  /// - Returns: infinite below 2 chunks: what one chunk says cannot be told from its text.
  static func margin(_ estimate: Estimate) -> Double {
    let independent = z * estimate.standardError
    guard let count = estimate.chunkCount else {
      return max(independent, z * estimate.chunkStandardError)
    }
    guard count >= 2 else { return .infinity }
    return max(independent, studentT(degreesOfFreedom: count - 1) * estimate.chunkStandardError)
  }

  /// 95 % of Student's t distribution lie below it.
  static func studentT(degreesOfFreedom: Int) -> Double {
    precondition(degreesOfFreedom > 0)
    if degreesOfFreedom <= quantiles.count { return quantiles[degreesOfFreedom - 1] }
    // The first term of the expansion around the normal quantile; exact to 0.001 from here on.
    return z + (z * z * z + z) / 4 / Double(degreesOfFreedom)
  }

  private static let quantiles = [
    6.3138, 2.9200, 2.3534, 2.1318, 2.0150, 1.9432, 1.8946, 1.8595, 1.8331, 1.8125, 1.7959,
    1.7823, 1.7709, 1.7613, 1.7531, 1.7459, 1.7396, 1.7341, 1.7291, 1.7247,
  ]

  /// The lower end of Wilson's interval for a fraction.
  ///
  /// Wilson's, because a fraction near 1 has next to no standard error of its own: 200 of 200 does
  /// not prove 100 %. Positions of one chunk depend on each other, so they count as as many
  /// independent ones as would give the cautious error.
  ///
  /// - Parameters:
  ///   - estimate: a fraction, 0 to 1.
  ///   - positionCount: that it is a fraction of.
  /// - Returns: 0 to 1; not a number when the estimate is none.
  package static func lower(fraction estimate: Estimate, positionCount: Int) -> Double {
    let p = estimate.value
    let error = margin(estimate) / z
    guard p.isFinite, !error.isNaN, (0...1).contains(p) else { return .nan }
    guard positionCount > 0, error.isFinite else { return 0 }
    var count = Double(positionCount)
    let variance = error * error
    if variance > 0, p * (1 - p) > 0 { count = min(count, p * (1 - p) / variance) }
    let weight = z * z / count
    let centre = p + weight / 2
    let spread = (p * (1 - p) * weight + weight * weight / 4).squareRoot()
    return max(0, (centre - spread) / (1 + weight))
  }

  /// e to the power of a logarithm.
  package static func exponential(_ logarithm: Double) -> Double { exp(logarithm) }
}
