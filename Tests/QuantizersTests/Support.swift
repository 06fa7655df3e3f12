import Quantizers
import Tensors
import TestSupport

/// Types with a quantizer of their own, in the order of their numbers.
let quantizedTypes: [TensorType] = TensorType.allCases
  .filter { $0 != .f32 && KernelTable.scalar.canQuantize($0) }

extension KernelTable {
  /// Blocks of whole rows, in an array.
  ///
  /// A type that refuses to go without importance gets an importance of one everywhere.
  func blocks(
    _ type: TensorType, _ weights: [Float], columnCount: Int, importance: [Float]? = nil
  ) -> [UInt8] {
    let importance =
      importance
      ?? (canQuantizeWithoutImportance(type) ? nil : [Float](repeating: 1, count: columnCount))
    let byteCount = type.byteCount(weightCount: weights.count) ?? 0
    return [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, used in
      guard let target = UnsafeMutableRawPointer(buffer.baseAddress) else { return }
      weights.withUnsafeBufferPointer { rows in
        guard let rows = rows.baseAddress else { return }
        let rowCount = weights.count / columnCount
        if let importance {
          quantize(
            type, rows: rows, rowCount: rowCount, columnCount: columnCount,
            importance: importance, into: target)
        } else {
          quantize(
            type, rows: rows, rowCount: rowCount, columnCount: columnCount, importance: nil,
            into: target)
        }
      }
      used = byteCount
    }
  }

  /// Weights of whole blocks, in an array.
  func weights(_ type: TensorType, _ blocks: [UInt8]) -> [Float] {
    let count = blocks.count / type.bytesPerBlock * type.weightsPerBlock
    return [Float](unsafeUninitializedCapacity: count) { buffer, used in
      blocks.withUnsafeBytes { source in
        if let source = source.baseAddress, let target = buffer.baseAddress {
          dequantize(type, blocks: source, weightCount: count, into: target)
        }
      }
      used = count
    }
  }

  func firstInvalidBlock(_ type: TensorType, _ blocks: [UInt8]) -> Int? {
    blocks.withUnsafeBytes { source in
      source.baseAddress.flatMap {
        firstInvalidBlock(type, blocks: $0, blockCount: blocks.count / type.bytesPerBlock)
      }
    }
  }
}

/// Numbers of the kinds that quantizers meet, the same on every machine.
struct Random {
  private var generator: SplitMix64

  init(seed: UInt64) { generator = SplitMix64(seed: seed) }

  mutating func next() -> UInt64 { generator.next() }

  /// From 0 up to 1, on a grid of 2^-24.
  mutating func uniform() -> Float { Float(next() >> 40) * 0x1p-24 }

  /// Any finite bit pattern.
  mutating func finiteBits() -> Float {
    let number = Float(bitPattern: UInt32(truncatingIfNeeded: next()))
    return number.isFinite ? number : 1
  }

  mutating func powerOfTwo(from low: Int, through high: Int) -> Float {
    Float(sign: .plus, exponent: low + Int(next() % UInt64(high - low + 1)), significand: 1)
  }

  /// Bell-shaped with unit variance: the sum of twelve uniform numbers.
  mutating func bell() -> Float { (0..<12).reduce(Float(-6)) { sum, _ in sum + uniform() } }
}

/// Rows that reach the odd paths of the searches, by name; each `[3, 512]`.
let adversarialRows: [(name: String, weights: [Float])] = {
  var random = Random(seed: 2026)
  func rows(_ weight: (Int) -> Float) -> [Float] { (0..<3 * 512).map(weight) }
  return [
    ("bell", rows { _ in random.bell() * 0.03 }),
    ("BF16 grid", rows { _ in Float(bitPattern: (random.bell() * 0.02).bitPattern & 0xFFFF_0000) }),
    ("ties", rows { _ in (random.bell() * 3).rounded() / 8 }),
    ("zeros of both signs", rows { _ in random.next() & 1 == 0 ? 0 : -0.0 }),
    ("mostly zero", rows { _ in random.next() % 10 == 0 ? random.bell() : -0.0 }),
    ("constant", rows { $0 < 512 ? 0.25 : -0.25 }),
    ("constant sub-blocks", rows { Float($0 / 16 % 7 - 3) }),
    ("empty sub-blocks", rows { $0 / 32 % 5 == 1 ? -0.0 : random.bell() }),
    ("one outlier a row", rows { $0 % 512 == 100 ? -7 : 0 }),
    ("far outlier", rows { $0 % 512 == 300 ? 90 : random.bell() * 1e-3 }),
    ("positive", rows { _ in 10 + random.bell() * 1e-3 }),
    ("negative", rows { _ in -10 + random.bell() * 1e-3 }),
    ("two values", rows { _ in random.next() & 1 == 0 ? 0.5 : -0.5 }),
    ("denormal", rows { _ in random.bell() * 0x1p-130 }),
    ("least denormals", rows { _ in Float(Int(random.next() % 7) - 3) * .leastNonzeroMagnitude }),
    ("huge", rows { _ in random.bell() * 1e30 }),
    ("some not a number", rows { $0 % 97 == 5 ? .nan : random.bell() }),
    ("some infinite", rows { $0 % 97 == 5 ? .infinity : random.bell() }),
    ("every magnitude", rows { _ in random.finiteBits() }),
    // With 127 in every block the first step of IQ4 is 1, and weights meet its middles exactly.
    ("half integers", rows { $0 % 32 == 7 ? 127 : Float(Int(random.next() % 509) - 254) / 2 }),
  ]
}()

/// Importance for 512 columns, by name.
let adversarialImportance: [(name: String, weights: [Float])] = {
  var random = Random(seed: 512)
  func columns(_ weight: (Int) -> Float) -> [Float] { (0..<512).map(weight) }
  return [
    ("ones", columns { _ in 1 }),
    ("spread", columns { _ in random.uniform() * random.uniform() * 9 + 1e-4 }),
    ("some zero", columns { _ in random.next() & 1 == 0 ? 0 : random.uniform() }),
    ("few", columns { $0 % 37 == 0 ? 1 : 0 }),
    ("all zero", columns { _ in 0 }),
    ("far apart", columns { _ in random.powerOfTwo(from: -40, through: 20) }),
  ]
}()
