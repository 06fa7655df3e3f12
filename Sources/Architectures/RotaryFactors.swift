/// Divisors of the rotation frequencies, one per pair: the tensor `rope_freqs.weight`.
enum RotaryFactors {
  /// Factors of `llama3` scaling.
  ///
  /// Every step is rounded to single precision, and quotients of a constant are the reciprocal times
  /// the constant, because the framework that the reference runs in computes them so.
  ///
  /// - Parameters:
  ///   - theta: base of the frequencies.
  ///   - dimension: rotated entries of a head, even.
  ///   - scaling: the checked parameters.
  /// - Returns: `dimension / 2` factors, 1 for the fastest pairs.
  ///
  /// Source: section "Rotary factors" of formats/architectures/README.md.
  static func llama3(
    theta: Double, dimension: Int, _ scaling: RotaryConfiguration.Llama3Scaling
  ) -> [Float] {
    let original = Double(scaling.originalContextLength)
    let longest = Float(original / scaling.lowFrequencyFactor)
    let shortest = Float(original / scaling.highFrequencyFactor)
    let low = Float(scaling.lowFrequencyFactor)
    let band = Float(scaling.highFrequencyFactor - scaling.lowFrequencyFactor)
    let factor = Float(scaling.factor)
    let base = Double(Float(theta))

    return stride(from: 0, to: dimension, by: 2).map { index in
      let exponent = Float(index) / Float(dimension)
      let frequency: Float = 1 / ExactPower.power(base, Double(exponent))
      let wavelength = (1 / frequency) * Float(2 * Double.pi)
      if wavelength < shortest { return 1 }
      if wavelength > longest { return factor }
      let smooth = ((1 / wavelength) * Float(original) - low) / band
      return 1 / ((1 - smooth) / factor + smooth)
    }
  }
}
