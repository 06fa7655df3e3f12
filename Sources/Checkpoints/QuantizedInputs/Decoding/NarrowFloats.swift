/// Values of the small floating-point formats that quantized releases store codes and scales in.
enum NarrowFloats {
  /// E4M3 as the OCP formats define it for weights: no infinity, and `S1111111` is NaN.
  ///
  ///     bit 7  sign   bits 6…3  exponent, bias 7   bits 2…0  mantissa
  static let e4m3: [Float] = (0..<256).map { code in
    if code & 0x7F == 0x7F { return .nan }
    return value(code: code, exponentBits: 4, bias: 7)
  }

  /// E5M2: an IEEE half without its last eight bits, infinity and NaN included.
  static let e5m2: [Float] = (0..<256).map { code in f16(UInt16(code) << 8) }

  /// E2M1, the four-bit float of MXFP4 and NVFP4: 0, ½, 1, 1½, 2, 3, 4, 6 and their negatives.
  static let e2m1: [Float] = (0..<16).map { code in
    value(code: (code & 8) << 4 | (code & 7), exponentBits: 2, bias: 1, mantissaBits: 1)
  }

  /// The same with +0 for −0.
  static let e2m1OfModelOpt: [Float] = e2m1.map { $0 == 0 ? 0 : $0 }

  /// NF4 of bitsandbytes: quantiles of the normal distribution, scaled to −1…1.
  static let nf4: [Float] = [
    -1, -0.696192800998688, -0.525073051452637, -0.394917488098145, -0.284441381692886,
    -0.184773430228233, -0.0910500362515450, 0, 0.0795802995562553, 0.160930201411247,
    0.246112301945686, 0.337915241718292, 0.440709829330444, 0.562617003917694, 0.722956836223602,
    1,
  ]

  /// FP4 of bitsandbytes, divided by its largest; bit 3 is the sign, but there is no −0.
  static let fp4: [Float] = {
    let magnitudes: [Float] = [0, 0.0625, 8, 12, 4, 6, 2, 3].map { $0 / 12 }
    return magnitudes + magnitudes.map { 0 - $0 }
  }()

  private static func value(code: Int, exponentBits: Int, bias: Int, mantissaBits: Int = 3) -> Float
  {
    let mantissa = code & (1 << mantissaBits - 1)
    let exponent = code >> mantissaBits & (1 << exponentBits - 1)
    let fraction = Float(mantissa) / Float(1 << mantissaBits)
    let magnitude =
      exponent == 0
      ? fraction * power(1 - bias) : (1 + fraction) * power(exponent - bias)
    return code & 0x80 == 0 ? magnitude : -magnitude
  }

  /// A power of two that single precision holds.
  private static func power(_ exponent: Int) -> Float {
    Float(sign: .plus, exponent: exponent, significand: 1)
  }

  /// E8M0, a bare exponent: 2^(code − 127); 255 is left to the caller.
  static func e8m0(_ code: UInt8) -> Float {
    // 2^−127 is below the normal numbers.
    Float(bitPattern: code == 0 ? 0x0040_0000 : UInt32(code) << 23)
  }

  static func bf16(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }

  static func f16(_ bits: UInt16) -> Float {
    let magnitude = UInt32(bits & 0x7FFF)
    // Shifted into place, the number is 2^112 times too small; this holds for subnormal ones too.
    var pattern = (Float(bitPattern: magnitude << 13) * 0x1p112).bitPattern
    if magnitude >= 0x7C00 { pattern = magnitude << 13 | 0x7F80_0000 }
    return Float(bitPattern: pattern | UInt32(bits & 0x8000) << 16)
  }

  /// Nearest BF16, ties to even.
  static func bf16(rounding value: Float) -> UInt16 {
    let bits = value.bitPattern
    let rounded = (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16
    let isNaN = bits & 0x7FFF_FFFF > 0x7F80_0000
    return UInt16(truncatingIfNeeded: isNaN ? bits >> 16 | 0x40 : rounded)
  }

  /// Nearest F16, ties to even; infinity beyond its range.
  static func f16(rounding value: Float) -> UInt16 {
    let bits = value.bitPattern
    let magnitude = bits & 0x7FFF_FFFF
    // The rounding of an addition to ½ cuts subnormal halves where they end, at 2^−24.
    let small = (Float(bitPattern: magnitude) + 0.5).bitPattern &- 0x3F00_0000
    let normal = (magnitude &+ 0xC800_0FFF &+ (magnitude >> 13 & 1)) >> 13
    var result = magnitude < 0x3880_0000 ? small : normal
    if magnitude >= 0x4780_0000 { result = magnitude > 0x7F80_0000 ? 0x7E00 : 0x7C00 }
    return UInt16(truncatingIfNeeded: result | bits >> 16 & 0x8000)
  }
}
