#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Noise that depends on position and token alone, so that every run and every worker has the same.
///
/// The tokens with the k largest sums of logit and standard Gumbel noise are a sample without
/// replacement in proportion to the probabilities.
package struct GumbelNoise: Hashable, Sendable {
  /// Of position 0 of the selection, in the whole text.
  package var firstPosition: Int

  package init(firstPosition: Int) { self.firstPosition = firstPosition }

  /// 64 mixed bits.
  package func bits(position: Int, token: Int) -> UInt64 {
    // SplitMix64's output function over a number that no other pair has.
    var z = UInt64(truncatingIfNeeded: firstPosition + position) << 32
    z = (z | UInt64(truncatingIfNeeded: token)) &* 0x9E37_79B9_7F4A_7C15 &+ 0x632B_E59B_D9B4_E019
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }

  /// −ln(−ln u), u the uniform number that the bits are.
  package static func value(_ bits: UInt64) -> Float {
    // Neither 0 nor 1.
    let uniform = (Double(bits >> 12) + 0.5) / Double(1 << 52)
    return Float(-log(-log(uniform)))
  }

  /// Not below `value`.
  ///
  /// With n leading ones u < 1 − 2^−(n + 1), so −ln u > 2^−(n + 1) and the value < (n + 1) ln 2.
  package static func bound(_ bits: UInt64) -> Float {
    Float((~bits).leadingZeroBitCount + 1) * 0.693148
  }
}
