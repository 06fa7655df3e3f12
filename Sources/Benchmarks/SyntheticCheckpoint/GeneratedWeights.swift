import ByteIO
import SystemPackage

/// Weights that look like a model's, the same on every machine.
struct GeneratedWeights {
  private let table = normalTable()
  private var state: UInt64 = 0x9E37_79B9_7F4A_7C15

  /// Writes the next weights in BF16; norms are all 1.
  ///
  /// - Returns: checksum of what was written.
  @discardableResult
  mutating func write(_ tensor: SyntheticTensor, to file: FileDescriptor) throws -> CRC32 {
    let isNorm = tensor.shape.count == 1
    var crc = CRC32()
    var buffer = [UInt16](repeating: 0, count: 1 << 20)
    var left = tensor.weightCount
    while left > 0 {
      let batch = min(left, buffer.count)
      for index in stride(from: 0, to: batch, by: 4) {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        for lane in 0..<min(4, batch - index) {
          let value = table[Int(truncatingIfNeeded: state >> UInt64(16 * lane)) & 0xFFFF]
          buffer[index + lane] = isNorm ? 0x3F80 : value
        }
      }
      try buffer.withUnsafeBytes { bytes in
        let bytes = UnsafeRawBufferPointer(rebasing: bytes[..<(batch * 2)])
        _ = try file.writeAll(bytes)
        crc.update(bytes)
      }
      left -= batch
    }
    return crc
  }

  /// 65,536 BF16 values with about a normal distribution of deviation 0.02.
  private static func normalTable() -> [UInt16] {
    var state: UInt64 = 0x2545_F491_4F6C_DD1D
    return (0..<65536).map { _ in
      var sum: Float = 0
      for _ in 0..<12 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        sum += Float(state >> 40) / Float(1 << 24)
      }
      return UInt16(((sum - 6) * 0.02).bitPattern >> 16)
    }
  }
}

extension CheckpointForm {
  func writeSafetensors(
    _ path: String, _ tensors: [SyntheticTensor], _ weights: inout GeneratedWeights
  ) throws {
    var header = #"{"__metadata__":{"format":"pt"}"#
    var offset = 0
    for tensor in tensors {
      let end = offset + tensor.byteCount
      header +=
        ",\"\(tensor.name)\":{\"dtype\":\"BF16\",\"shape\":\(tensor.shape),\"data_offsets\":[\(offset),\(end)]}"
      offset = end
    }
    header += "}"
    header += String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
    let file = try SyntheticCheckpoint.create(path)
    defer { try? file.close() }
    _ = try file.writeAll(little(UInt64(header.utf8.count)) + Array(header.utf8))
    for tensor in tensors { try weights.write(tensor, to: file) }
  }
}

/// The bytes of a number, lowest first.
func little(_ value: some FixedWidthInteger) -> [UInt8] {
  withUnsafeBytes(of: value.littleEndian) { Array($0) }
}
