/// Powers that come out the same on every platform: the system's `pow` differs in its last bit.
enum ExactPower {
  /// `base` to the power of `exponent`, rounded once to single precision.
  ///
  /// Computed as exp(exponent · ln(base)) with about 100 bits, so that the rounding is the correct
  /// one for all but about one in 2^70 arguments.
  ///
  /// - Precondition: `base` is positive, finite and normal as a double; the result is representable.
  static func power(_ base: Double, _ exponent: Double) -> Float {
    let product = logarithm(base) * Pair(exponent)
    return exponential(product)
  }

  /// ln(x), from x = m · 2^k with m near 1 and ln(m) = 2·artanh((m − 1) / (m + 1)).
  private static func logarithm(_ x: Double) -> Pair {
    var (m, k) = (x.significand, Double(x.exponent))
    if m > 1.5 { (m, k) = (m / 2, k + 1) }
    let s = (Pair(m) - Pair(1)) / (Pair(m) + Pair(1))
    let square = s * s
    // |s| ≤ 0.2: the terms shrink by 25 each; 26 of them reach past 2^-110.
    var sum = Pair(0)
    for term in stride(from: 51.0, through: 1, by: -2) { sum = sum * square + Pair(1) / Pair(term) }
    return sum * s * Pair(2) + Pair.ln2 * Pair(k)
  }

  /// exp(x), from x = r + k·ln(2) and the Taylor series of exp(r).
  private static func exponential(_ x: Pair) -> Float {
    let quotient = x.high / Pair.ln2.high
    let k = Int(quotient < 0 ? quotient - 0.5 : quotient + 0.5)
    let r = x - Pair.ln2 * Pair(Double(k))
    var sum = Pair(1)
    for term in stride(from: 30.0, through: 1, by: -1) { sum = sum * r / Pair(term) + Pair(1) }
    let power = Double(sign: .plus, exponent: k, significand: 1)
    return rounded(high: sum.high * power, low: sum.low * power)
  }

  /// The single nearest to `high + low`; `low` decides where `high` alone is half-way.
  private static func rounded(high: Double, low: Double) -> Float {
    let nearest = Float(high)
    let rest = high - Double(nearest)
    // Only an exact half-way case can be rounded wrongly by ignoring `low`.
    let neighbour = rest > 0 ? nearest.nextUp : nearest.nextDown
    let half = (Double(neighbour) - Double(nearest)) / 2
    guard rest == half, low != 0 else { return nearest }
    return (low > 0) == (rest > 0) ? neighbour : nearest
  }
}

/// An unevaluated sum of two doubles, about 106 bits.
private struct Pair {
  var high: Double
  var low: Double

  static let ln2 = Pair(high: 0x1.62e42fefa39efp-1, low: 0x1.abc9e3b39803fp-56)

  init(_ value: Double) { (high, low) = (value, 0) }
  init(high: Double, low: Double) { (self.high, self.low) = (high, low) }

  /// `a + b` exactly, for |a| ≥ |b|.
  private static func ordered(_ a: Double, _ b: Double) -> Pair {
    let sum = a + b
    return Pair(high: sum, low: b - (sum - a))
  }

  /// The upper 26 bits of a double and the rest, whose products are exact.
  private static func halves(_ value: Double) -> Pair {
    let scaled = value * 134_217_729  // 2^27 + 1
    let high = scaled - (scaled - value)
    return Pair(high: high, low: value - high)
  }

  static func + (a: Pair, b: Pair) -> Pair {
    let sum = a.high + b.high
    let part = sum - a.high
    let rest = (a.high - (sum - part)) + (b.high - part)
    return ordered(sum, rest + (a.low + b.low))
  }

  static func - (a: Pair, b: Pair) -> Pair { a + Pair(high: -b.high, low: -b.low) }

  static func * (a: Pair, b: Pair) -> Pair {
    let product = a.high * b.high
    let (x, y) = (halves(a.high), halves(b.high))
    let rest =
      ((x.high * y.high - product) + x.high * y.low + x.low * y.high) + x.low * y.low
    return ordered(product, rest + (a.high * b.low + a.low * b.high))
  }

  static func / (a: Pair, b: Pair) -> Pair {
    let first = a.high / b.high
    let rest = a - b * Pair(first)
    let second = rest.high / b.high
    let last = (rest - b * Pair(second)).high / b.high
    return ordered(first, second) + Pair(last)
  }
}
