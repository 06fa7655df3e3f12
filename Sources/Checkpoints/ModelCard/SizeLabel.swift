/// Weights of a model as its size label counts them.
package struct ParameterCounts: Hashable, Sendable {
  /// Elements of all tensors of the archive.
  package var total: Int
  /// Elements outside of experts.
  package var shared: Int
  /// Elements of one expert of each stacked tensor, summed.
  package var perExpert: Int
  /// Experts per layer; 0 for a dense model.
  package var expertCount: Int

  package init(total: Int, shared: Int, perExpert: Int, expertCount: Int) {
    self.total = total
    self.shared = shared
    self.perExpert = perExpert
    self.expertCount = expertCount
  }

  /// Counts for a model without experts.
  package init(dense total: Int) {
    self.init(total: total, shared: total, perExpert: 0, expertCount: 0)
  }

  /// Two or more digits and a unit, such as `6.7B` or `8x7B`; `nil` for a model without weights.
  package var sizeLabel: String? {
    guard total > 0 else { return nil }
    if expertCount > 0 { return "\(expertCount)x" + Self.rounded(shared &+ perExpert) }
    return Self.rounded(total)
  }

  /// `count` in thousands, millions, billions or trillions with at least two digits.
  static func rounded(_ count: Int) -> String {
    let value = Double(count)
    let (scaled, unit) =
      value > 1e12
      ? (value * 1e-12, "T")
      : value > 1e9 ? (value * 1e-9, "B") : value > 1e6 ? (value * 1e-6, "M") : (value * 1e-3, "K")
    // Digits of the nearest integer; a lone zero counts as none.
    let nearest = scaled.rounded(.toNearestOrEven)
    let digitCount = nearest < 1 ? 0 : nearest < 10 ? 1 : 2
    return decimal(scaled, places: 2 - digitCount) + unit
  }

  /// The decimal nearest to the exact binary value; ties to even.
  ///
  /// - Precondition: `0 ≤ value < 2^63`, at most two places.
  static func decimal(_ value: Double, places: Int) -> String {
    let scale: UInt128 = places == 0 ? 1 : places == 1 ? 10 : 100
    // value = significand · 2^exponent with a 53-bit integer significand.
    let exponent = max(Int(value.exponent == Int.min ? -52 : value.exponent) - 52, -1074)
    let significand = UInt128(value / Double(sign: .plus, exponent: exponent, significand: 1))
    var units: UInt128
    if exponent >= 0 {
      units = (significand << UInt128(exponent)) * scale
    } else if exponent < -110 {
      units = 0
    } else {
      let product = significand * scale
      let shift = UInt128(-exponent)
      units = product >> shift
      let rest = product - units << shift
      let half: UInt128 = 1 << (shift - 1)
      if rest > half || rest == half && units & 1 == 1 { units += 1 }
    }
    guard places > 0 else { return "\(units)" }
    let fraction = "\(units % scale)"
    return "\(units / scale)." + String(repeating: "0", count: places - fraction.count) + fraction
  }
}
