import Tensors

/// Bytes that grow on demand and are kept for the next use.
struct ScratchBuffer: ~Copyable {
  private var start = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64)
  private var capacity = 64

  /// The first `count` bytes; what they held before is gone when the buffer grows.
  mutating func bytes(_ count: Int) -> UnsafeMutableRawBufferPointer {
    if capacity < count {
      start.deallocate()
      start = .allocate(byteCount: count, alignment: 64)
      capacity = count
    }
    return UnsafeMutableRawBufferPointer(start: start, count: count)
  }

  mutating func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
    _ = bytes(count * 4)
    return start.bindMemory(to: Float.self, capacity: max(1, count))
  }

  mutating func doubles(_ count: Int) -> UnsafeMutablePointer<Double> {
    _ = bytes(count * 8)
    return start.bindMemory(to: Double.self, capacity: max(1, count))
  }

  deinit { start.deallocate() }
}

/// What one call of `read` needs besides the caller's buffer.
struct DecodeScratch: ~Copyable {
  /// Codes as they lie in the file.
  var codes = ScratchBuffer()
  /// Scales, zero points or group numbers as they lie in the file.
  var stored = ScratchBuffer()
  var scales = ScratchBuffer()
  var zeroPoints = ScratchBuffer()
  /// Group of each column, 32 bits each.
  var groups = ScratchBuffer()
  /// Decoded weights before they are rounded to the delivered type.
  var weights = ScratchBuffer()
  /// One row before it is rounded.
  var sums = ScratchBuffer()
  /// Both matrices of an adaptor.
  var a = ScratchBuffer()
  var b = ScratchBuffer()
}

extension TensorType {
  /// Rounds decoded weights to this type, which is F32, F16 or BF16.
  func store(
    _ weights: UnsafePointer<Float>, count: Int, into target: UnsafeMutableRawPointer
  ) {
    switch self {
    case .bf16:
      for index in 0..<count {
        target.storeBytes(
          of: NarrowFloats.bf16(rounding: weights[index]).littleEndian, toByteOffset: index * 2,
          as: UInt16.self)
      }
    case .f16:
      for index in 0..<count {
        target.storeBytes(
          of: NarrowFloats.f16(rounding: weights[index]).littleEndian, toByteOffset: index * 2,
          as: UInt16.self)
      }
    default:
      precondition(self == .f32)
      target.copyMemory(from: weights, byteCount: count * 4)
    }
  }

  /// Widens scales that are stored in this type.
  ///
  /// - Precondition: `ScaleGrid.types` has this type.
  func loadScales(
    _ stored: UnsafeRawBufferPointer, count: Int, into values: UnsafeMutablePointer<Float>
  ) {
    for index in 0..<count {
      switch self {
      case .f32:
        values[index] = Float(
          bitPattern: UInt32(
            littleEndian: stored.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self)))
      case .f16, .bf16:
        let bits = UInt16(
          littleEndian: stored.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self))
        values[index] = self == .f16 ? NarrowFloats.f16(bits) : NarrowFloats.bf16(bits)
      case .f8_E4M3: values[index] = NarrowFloats.e4m3[Int(stored[index])]
      // As bytes, 255 is the next power of two, which is infinite; as E8M0 it is NaN.
      case .u8:
        values[index] = stored[index] == 255 ? .infinity : NarrowFloats.e8m0(stored[index])
      case .f8_E8M0:
        values[index] = stored[index] == 255 ? .nan : NarrowFloats.e8m0(stored[index])
      default: preconditionFailure("scales of type \(self)")
      }
    }
  }
}
