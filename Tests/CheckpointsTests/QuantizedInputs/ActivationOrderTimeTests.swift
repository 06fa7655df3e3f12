import ByteIO
import Checkpoints
import StrictJSON
import Tensors
import TestSupport
import Testing

/// A source that counts what is read of each tensor.
private struct CountingSource: TensorSource {
  private final class Counts: Sendable {
    let bytes = Guarded<[ExactString: Int]>([:])
  }

  private let source: MemorySource
  private let counts = Counts()
  var files: [String] { source.files }
  var fileByteCounts: [UInt64] { source.fileByteCounts }
  var tensors: [TensorDescriptor] { source.tensors }

  init(_ source: MemorySource) { self.source = source }

  func byteCount(_ name: ExactString) -> Int { counts.bytes.withLock { $0[name] ?? 0 } }

  func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    counts.bytes.withLock { $0[tensor.name, default: 0] += buffer.count }
    try source.read(tensor, at: byteOffset, into: buffer)
  }

  func checkUnchanged() throws(FormatError) {}
}

/// One row of groups of one column, column c in group (c · step) mod count.
private func longRow(_ count: Int, step: Int, isSymmetric: Bool) -> [MemorySource.Tensor] {
  var groups: [UInt8] = []
  var scales: [UInt8] = []
  for column in 0..<count {
    withUnsafeBytes(of: Int32(column &* step % count).littleEndian) { groups += $0 }
    withUnsafeBytes(of: Float(column).bitPattern.littleEndian) { scales += $0 }
  }
  let shape = [1, count].flatMap { size in
    withUnsafeBytes(of: Int64(size).littleEndian) { Array($0) }
  }
  let codes = [UInt8](repeating: 0x99, count: count / 2)
  var tensors: [MemorySource.Tensor] = [
    .init(name: "a.weight_packed", type: .i32, dimensions: [1, count / 8], bytes: codes),
    .init(name: "a.weight_scale", type: .f32, dimensions: [1, count], bytes: scales),
    .init(name: "a.weight_shape", type: .i64, dimensions: [2], bytes: shape),
    .init(name: "a.weight_g_idx", type: .i32, dimensions: [count], bytes: groups),
  ]
  if !isSymmetric {
    let zeros = [UInt8](repeating: 8, count: count * 4)
    tensors.append(
      .init(name: "a.weight_zero_point", type: .i32, dimensions: [1, count], bytes: zeros))
  }
  return tensors
}

private func open(_ source: any TensorSource, isSymmetric: Bool) throws -> QuantizedSource {
  let text = """
    {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"g": {
     "targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "strategy": "group",
     "group_size": 1, "symmetric": \(isSymmetric)}}}}
    """
  return try QuantizedSource(
    source,
    QuantizationConfiguration(JSONValue(parsing: Array(text.utf8), file: "x"), file: "x"))
}

/// A row of many tiles reads every scale a bounded number of times, wherever its groups lie.
@Test(arguments: [1, 7, 4099, 65537], [true, false])
func readsScalesOfALongRowOnce(_ step: Int, _ isSymmetric: Bool) throws {
  let count = 1 << 20
  let counting = CountingSource(
    MemorySource(longRow(count, step: step, isSymmetric: isSymmetric)))
  let source = try open(counting, isSymmetric: isSymmetric)
  let weights = try source.floats(source.tensor("a.weight"))
  let differing = weights.indices.filter { weights[$0] != Float($0 &* step % count) }
  #expect(differing.isEmpty, "\(differing.count) differ")
  // 32 tiles; gaps of at most 16 between groups are read along.
  #expect(counting.byteCount("a.weight_scale") <= count * 4 * min(step, 17))
  if !isSymmetric {
    #expect(counting.byteCount("a.weight_zero_point") <= count * 4 * min(step, 17))
  }
}

@Test func timeOfALongRowGrowsInProportion() throws {
  func time(_ count: Int) throws -> Double {
    let source = try open(
      MemorySource(longRow(count, step: 1, isSymmetric: true)), isSymmetric: true)
    let tensor = try source.tensor("a.weight")
    return try (0..<3).map { _ in try processorTime { _ = try source.bytes(tensor) } }.min() ?? 0
  }
  // Four times the columns: sixteen times the time if every tile read the whole row of scales.
  let (short, long) = (try time(1 << 18), try time(1 << 20))
  #expect(long < 8 * short + 0.05, "\(short) s, then \(long) s")
}
