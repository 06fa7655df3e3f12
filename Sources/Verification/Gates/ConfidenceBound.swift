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
    estimate.value + z * estimate.cautiousError
  }

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
    guard p.isFinite, estimate.cautiousError.isFinite, (0...1).contains(p) else { return .nan }
    guard positionCount > 0 else { return 0 }
    var count = Double(positionCount)
    let variance = estimate.cautiousError * estimate.cautiousError
    if variance > 0, p * (1 - p) > 0 { count = min(count, p * (1 - p) / variance) }
    let weight = z * z / count
    let centre = p + weight / 2
    let spread = (p * (1 - p) * weight + weight * weight / 4).squareRoot()
    return max(0, (centre - spread) / (1 + weight))
  }

  /// e to the power of a logarithm.
  package static func exponential(_ logarithm: Double) -> Double { exp(logarithm) }
}
