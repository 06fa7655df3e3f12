#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// How far each pair of a head turns per position, and which entries are a pair.
package struct RotaryFrequencies: Hashable, Sendable {
  /// Which two entries of a head of `d` turn together.
  package enum Layout: Hashable, Sendable {
    /// `i` and `i + d/2`, as checkpoints of the Hugging Face layout hold them.
    case halves
    /// `2i` and `2i + 1`, as archives of the architecture `llama` hold them.
    case neighbours
  }

  /// Radians per position, `[headDimension / 2]`.
  package var frequencies: [Float]
  package var layout: Layout
  /// Multiplies cosine and sine; 1 unless a scaling says so.
  package var attentionFactor: Float = 1

  /// `base` to the power `-2i / dimension`, as the framework of the checkpoints rounds it.
  static func unscaled(base: Double, dimension: Int) -> [Float] {
    stride(from: 0, to: dimension, by: 2).map { index in
      let exponent = Float(index) / Float(dimension)
      return 1 / Float(pow(Double(Float(base)), Double(exponent)))
    }
  }
}
