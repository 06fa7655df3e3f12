import Quantizers
import Tensors
import TestSupport
import Testing

/// The values of codes that are not evenly spaced, as their pages list them.
struct CodeValueTests {
  /// A block whose scale makes weights equal to values, up to the bytes of its codes.
  private static let unitScale: [TensorType: [UInt8]] = [
    .iq4_NL: [0x00, 0x3C],  // 1 in half precision
    .mxfp4: [128],  // 2^(128 − 127), halved
  ]

  @Test(arguments: KernelTable.runnableHere, [TensorType.iq4_NL, .mxfp4])
  func dequantizesCodesToTheValuesOfThePage(_ kernels: KernelTable, _ type: TensorType) throws {
    let table = try MarkdownTable(page: "quant/\(type.name).md", columns: ["code", "value"])
    #expect(table.rows.compactMap { $0["code"] } == (0..<16).map(String.init))
    let values = table.rows.compactMap { $0["value"].flatMap(Float.init) }
    // Byte i holds codes i and 15 − i: of weights i and i + 16.
    let codes = (UInt8(0)..<16).map { $0 | (15 - $0) << 4 }
    let weights = kernels.weights(type, try #require(Self.unitScale[type]) + codes)
    #expect(weights == values + values.reversed())
  }

  /// The search brings a weight to at most one middle, whatever step from 120 to 134 it tries.
  @Test func middlesOfIQ4AreFartherApartThanItsSteps() throws {
    let table = try MarkdownTable(page: "quant/IQ4_NL.md", columns: ["code", "value"])
    let values = table.rows.compactMap { $0["value"].flatMap(Float.init) }
    let middles = zip(values, values.dropFirst()).map { ($0 + $1) / 2 }
    #expect(middles == middles.sorted() && middles.count == 15)
    for side in [middles.filter { $0 > 0 }, middles.filter { $0 < 0 }.map { -$0 }.reversed()] {
      for (near, far) in zip(side, side.dropFirst()) { #expect(far / near > 134.1 / 120) }
    }
  }

  /// Every pair of neighbours, at the middle and on its two sides.
  @Test(arguments: KernelTable.runnableHere)
  func middlesOfMXFP4GoToTheValueNearerToZero(_ kernels: KernelTable) {
    let values: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    for code in UInt8(0)..<7 {
      let middle = (values[Int(code)] + values[Int(code) + 1]) / 2
      var row = [Float](repeating: 0, count: 32)
      // The greatest weight sets e = 127, scale 1.
      row[15] = 4
      row[0...5] = [
        middle.nextDown, middle, middle.nextUp, -middle.nextDown, -middle, -middle.nextUp,
      ]
      let blocks = kernels.blocks(.mxfp4, row, columnCount: 32)
      let low = code == 0 ? 0 : code + 8
      let isScaleOne = blocks[0] == 127
      #expect(isScaleOne)
      #expect(blocks[1...6].map { $0 & 15 } == [code, code, code + 1, low, low, code + 9])
    }
  }

  /// Magnitudes from which the exponent counts as the next power of two.
  ///
  /// Recorded from `floorf(log2f(x))` of glibc 2.36, whose results the page describes by a rule.
  @Test(arguments: KernelTable.runnableHere)
  func exponentOfMXFP4IsThatOfTheRoundedLogarithm(_ kernels: KernelTable) {
    let floatsBelow: [(power: Int, count: UInt32)] = [
      (-125, 44), (-64, 44), (-63, 22), (-32, 22), (-31, 11), (-16, 11), (-8, 5), (-4, 2),
      (-3, 1), (-2, 1), (-1, 0), (0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (8, 2), (9, 5),
      (16, 5), (17, 11), (32, 11), (33, 22), (64, 22), (65, 44), (127, 44),
    ]
    for (power, count) in floatsBelow {
      let bits = Float(sign: .plus, exponent: power, significand: 1).bitPattern
      for (bits, expected) in [(bits - count, power), (bits - count - 1, power - 1)] {
        var row = [Float](repeating: 0, count: 32)
        row[31] = Float(bitPattern: bits)
        let exponent = kernels.blocks(.mxfp4, row, columnCount: 32)[0]
        #expect(exponent == UInt8(truncatingIfNeeded: expected + 125), "\(bits)")
      }
    }
  }
}
