import Formats
import Quantizers
import Tensors
import Testing

import Verification

/// Normal deviates by the polar method, from a fixed sequence.
private func normalWeights(_ count: Int) -> [Float] {
  var state: UInt64 = 0x1234_5678_9ABC_DEF0
  func uniform() -> Double {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Double(state >> 11) / Double(1 << 53) * 2 - 1
  }
  var weights: [Float] = []
  while weights.count < count {
    let (x, y) = (uniform(), uniform())
    let square = x * x + y * y
    guard square > 0, square < 1 else { continue }
    let factor = (-2 * naturalLogarithm(square) / square).squareRoot()
    weights.append(Float(x * factor * 0.02))
    weights.append(Float(y * factor * 0.02))
  }
  return Array(weights.prefix(count))
}

/// ln by its series: what the platform gives does not matter here.
private func naturalLogarithm(_ x: Double) -> Double {
  let s = (x.significand - 1) / (x.significand + 1)
  var (term, sum) = (s, 0.0)
  for k in stride(from: 1.0, to: 60, by: 2) {
    sum += term / k
    term *= s * s
  }
  return 2 * sum + Double(x.exponent) * 0.693147180559945309
}

/// Whatever a forward pass reads is judged.
@Test func everyReadableTypeHasABand() {
  for type in TensorType.allCases where KernelTable.scalar.canDequantize(type) {
    #expect(ErrorBand.normal(type) != nil, "\(type)")
  }
}

/// The page gives the error of normally distributed weights, which the kernels have.
@Test(arguments: TensorType.allCases.filter { KernelTable.scalar.canQuantize($0) && $0 != .f32 })
func errorBandsAreThoseOfNormalWeights(_ type: TensorType) throws {
  let kernels = try KernelTable.choice.get()
  let (rows, columns) = (32, 1024)
  let weights = normalWeights(rows * columns)
  let byteCount = try #require(type.byteCount(weightCount: weights.count))
  var blocks = [UInt8](repeating: 0, count: byteCount)
  var restored = [Float](repeating: 0, count: weights.count)
  let importance = [Float](repeating: 1, count: columns)
  kernels.quantize(
    type, rows: weights, rowCount: rows, columnCount: columns,
    importance: kernels.canQuantizeWithoutImportance(type) ? nil : importance, into: &blocks)
  kernels.dequantize(type, blocks: blocks, weightCount: weights.count, into: &restored)
  var products = VectorPair()
  kernels.compare(restored, weights, count: weights.count, into: &products)
  let band = try #require(ErrorBand.normal(type), "\(type) \(products.relativeError)")
  #expect(
    abs(products.relativeError / band - 1) < 0.02, "\(type): \(products.relativeError)")
}
