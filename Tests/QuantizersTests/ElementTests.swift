import Quantizers
import Tensors
import Testing

/// F16, BF16 and F64 against arithmetic that shares nothing with the kernels.
struct ElementTests {
  /// The value of a half precision number by its definition.
  private func value(ofHalf half: UInt16) -> Float {
    let sign: Float = half >> 15 == 0 ? 1 : -1
    let exponent = Int(half >> 10 & 31)
    let fraction = Float(half & 0x3FF)
    switch exponent {
    case 0: return sign * fraction * 0x1p-24
    case 31: return fraction == 0 ? sign * .infinity : .nan
    default: return sign * Float(sign: .plus, exponent: exponent - 25, significand: 1024 + fraction)
    }
  }

  @Test(arguments: KernelTable.runnableHere)
  func everyHalfBecomesItsValueAndBack(_ kernels: KernelTable) {
    let halves = (0...UInt16.max).map { $0 }
    let bytes = halves.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }
    let weights = kernels.weights(.f16, bytes)
    for (half, weight) in zip(halves, weights) {
      let expected = value(ofHalf: half)
      #expect(
        expected.isNaN
          ? weight.isNaN && weight.sign == (half >> 15 == 0 ? .plus : .minus)
          : weight.bitPattern == expected.bitPattern, "\(half)")
    }
    let numbers = halves.filter { $0 & 0x7FFF <= 0x7C00 }
    let back = kernels.blocks(.f16, numbers.map(value(ofHalf:)), columnCount: numbers.count)
    #expect(back == numbers.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] })
  }

  /// Midpoints between neighbours go to the even one, and their neighbours to the nearer one.
  @Test(arguments: KernelTable.runnableHere)
  func roundsToTheNearestHalfAndTiesToEven(_ kernels: KernelTable) {
    var inputs: [Float] = []
    var expected: [UInt16] = []
    for half in UInt16(0)..<0x7C00 {
      let low = value(ofHalf: half)
      // Above the largest half lies the power of two that overflow is measured against.
      let high = half == 0x7BFF ? 65536 : value(ofHalf: half + 1)
      let middle = low + (high - low) / 2
      inputs += [middle.nextDown, middle, middle.nextUp, -middle]
      let even = half & 1 == 0 ? half : half + 1
      expected += [half, even, half + 1, even | 0x8000]
    }
    let made = kernels.blocks(.f16, inputs, columnCount: inputs.count)
    #expect(made == expected.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] })
  }

  @Test(arguments: KernelTable.runnableHere)
  func halfOfNaNIsOneQuietNaN(_ kernels: KernelTable) {
    let inputs = [
      Float(bitPattern: 0x7FC0_0001), Float(bitPattern: 0xFF80_0001),
      Float(bitPattern: 0x7FFF_FFFF),
    ]
    #expect(
      kernels.blocks(.f16, inputs, columnCount: 3) == [0x00, 0x7E, 0x00, 0xFE, 0x00, 0x7E])
  }

  /// Denormals, overflow and every kind of NaN among random bits; a number of odd length leaves a
  /// rest for every width of vectors.
  @Test(arguments: KernelTable.runnableHere.dropFirst(), [TensorType.f16, .bf16])
  func conversionsMatchScalarOnAnyBits(_ kernels: KernelTable, _ type: TensorType) {
    var random = Random(seed: 32)
    let floats = (0..<(1 << 18) - 3).map { _ in
      Float(bitPattern: UInt32(truncatingIfNeeded: random.next()))
    }
    #expect(
      kernels.blocks(type, floats, columnCount: floats.count)
        == KernelTable.scalar.blocks(type, floats, columnCount: floats.count))
    let shorts = (0...UInt16.max).flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }
    #expect(
      kernels.weights(type, shorts).map(\.bitPattern)
        == KernelTable.scalar.weights(type, shorts).map(\.bitPattern))
  }

  @Test(arguments: KernelTable.runnableHere)
  func upperHalfRoundsToEven(_ kernels: KernelTable) {
    let cases: [(UInt32, UInt16)] = [
      (0x3F80_8000, 0x3F80), (0x3F81_8000, 0x3F82), (0x3F80_8001, 0x3F81), (0x3F80_7FFF, 0x3F80),
      (0x8000_0000, 0x8000), (0x0000_8001, 0x0001), (0x7F7F_FFFF, 0x7F80), (0x7F80_0000, 0x7F80),
      (0x7F80_0001, 0x7FC0), (0xFFC1_2345, 0xFFC1),
    ]
    let made = kernels.blocks(
      .bf16, cases.map { Float(bitPattern: $0.0) }, columnCount: cases.count)
    #expect(made == cases.flatMap { [UInt8(truncatingIfNeeded: $0.1), UInt8($0.1 >> 8)] })
    #expect(
      kernels.weights(.bf16, made).map(\.bitPattern) == cases.map { UInt32($0.1) << 16 })
  }

  @Test(arguments: KernelTable.runnableHere)
  func doublesRoundToFloats(_ kernels: KernelTable) {
    let doubles: [Double] = [
      1, -0.0, 0.1, 1e-46, 1e39, 1 + 0x1p-24, 1 + 0x1p-23 + 0x1p-24, -.infinity,
    ]
    let bytes = doubles.flatMap { number in
      (0..<8).map { UInt8(truncatingIfNeeded: number.bitPattern >> ($0 * 8)) }
    }
    #expect(
      kernels.weights(.f64, bytes).map(\.bitPattern) == doubles.map { Float($0).bitPattern })
    #expect(!kernels.canQuantize(.f64))
  }

  @Test(arguments: KernelTable.runnableHere)
  func floatsAreCopied(_ kernels: KernelTable) {
    let bits: [UInt32] = [0x3F80_0000, 0x8000_0001, 0x7FC0_0123]
    let bytes = bits.flatMap { bit in (0..<4).map { UInt8(truncatingIfNeeded: bit >> ($0 * 8)) } }
    #expect(
      kernels.blocks(.f32, bits.map { Float(bitPattern: $0) }, columnCount: 3) == bytes)
    #expect(kernels.weights(.f32, bytes).map(\.bitPattern) == bits)
  }

  /// Half away from zero in Q8_0: the scale is 1, so the codes are the rounded weights.
  @Test(arguments: KernelTable.runnableHere)
  func byteCodesRoundHalfAwayFromZero(_ kernels: KernelTable) {
    var weights = [Float](repeating: 0, count: 32)
    weights.replaceSubrange(0..<8, with: [127, 0.5, -0.5, 1.5, -2.5, 0.49999997, -126.5, 2.4])
    let codes = kernels.blocks(.q8_0, weights, columnCount: 32)
    #expect(Array(codes[..<2]) == [0x00, 0x3C])
    #expect(codes[2..<10].map { Int8(bitPattern: $0) } == [127, 1, -1, 2, -3, 0, -127, 2])
  }
}
