import Quantizers
import Tensors

/// What is measured of a type.
enum KernelTask: String, CaseIterable {
  case quantize
  case quantizeWithImportance = "with importance"
  case dequantize

  func applies(to type: TensorType) -> Bool {
    switch self {
    case .quantize: KernelTable.scalar.canQuantizeWithoutImportance(type)
    case .quantizeWithImportance: type.isBlockType && type != .q8_0
    case .dequantize: true
    }
  }
}

/// Rows like those of a checkpoint: bell-shaped, on the BF16 grid; the same on every machine.
struct Workload {
  let rowCount: Int
  let columnCount: Int
  /// Row-major `[rowCount, columnCount]`.
  let weights: [Float]
  /// `[columnCount]`, positive, spread over some magnitudes.
  let importance: [Float]

  var weightCount: Int { rowCount * columnCount }

  init(rowCount: Int, columnCount: Int) {
    self.rowCount = rowCount
    self.columnCount = columnCount
    var state: UInt64 = 1
    // SplitMix64, from 0 up to 1.
    func uniform() -> Float {
      state &+= 0x9E37_79B9_7F4A_7C15
      var bits = state
      bits = (bits ^ bits >> 30) &* 0xBF58_476D_1CE4_E5B9
      bits = (bits ^ bits >> 27) &* 0x94D0_49BB_1331_11EB
      return Float((bits ^ bits >> 31) >> 40) * 0x1p-24
    }
    weights = (0..<rowCount * columnCount).map { _ in
      let bell = (0..<12).reduce(Float(-6)) { sum, _ in sum + uniform() }
      return Float(bitPattern: (bell * 0.02).bitPattern & 0xFFFF_0000)
    }
    importance = (0..<columnCount).map { _ in
      let u = uniform()
      return u * u * 9 + 1e-3
    }
  }

  /// All rows as blocks of a type.
  func blocks(_ type: TensorType) -> [UInt8] {
    let byteCount = weightCount / type.weightsPerBlock * type.bytesPerBlock
    return [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, used in
      if let target = UnsafeMutableRawPointer(buffer.baseAddress) {
        KernelTable.scalar.quantize(
          type, rows: weights, rowCount: rowCount, columnCount: columnCount,
          importance: importance, into: target)
      }
      used = byteCount
    }
  }
}

extension KernelTable {
  /// This set at one task.
  func contender(
    _ type: TensorType, _ task: KernelTask, _ workload: Workload, _ blocks: [UInt8]
  ) -> Contender {
    if task == .dequantize {
      return Contender(name: name, outputByteCount: workload.weightCount * 4) { output in
        blocks.withUnsafeBytes { source in
          if let source = source.baseAddress {
            dequantize(
              type, blocks: source, weightCount: workload.weightCount,
              into: output.assumingMemoryBound(to: Float.self))
          }
        }
      }
    }
    let importance = task == .quantizeWithImportance ? workload.importance : nil
    return Contender(name: name, outputByteCount: blocks.count) { output in
      workload.weights.withUnsafeBufferPointer { rows in
        withOptionalPointer(importance) { importance in
          if let rows = rows.baseAddress {
            quantize(
              type, rows: rows, rowCount: workload.rowCount, columnCount: workload.columnCount,
              importance: importance, into: output)
          }
        }
      }
    }
  }
}

/// Calls with a pointer to the numbers, or with none.
func withOptionalPointer(_ numbers: [Float]?, _ body: (UnsafePointer<Float>?) -> Void) {
  if let numbers {
    numbers.withUnsafeBufferPointer { body($0.baseAddress) }
  } else {
    body(nil)
  }
}
