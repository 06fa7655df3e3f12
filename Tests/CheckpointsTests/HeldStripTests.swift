import ByteIO
import Checkpoints
import Synchronization
import TestSupport
import Tensors
import Testing

/// A source that counts how often rows are asked for, and may fail.
private final class CountingSource: TensorSource {
  let memory: MemorySource
  let visits = Atomic(0)
  /// Byte of the first tensor that cannot be read.
  let damaged = Atomic(-1)

  init(_ memory: MemorySource) { self.memory = memory }

  var files: [String] { memory.files }
  var fileByteCounts: [UInt64] { memory.fileByteCounts }
  var tensors: [TensorDescriptor] { memory.tensors }

  func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    visits.wrappingAdd(1, ordering: .relaxed)
    if (byteOffset..<byteOffset + buffer.count).contains(damaged.load(ordering: .relaxed)) {
      throw FormatError(file: "memory", field: "data", reason: .malformed("damaged"))
    }
    try memory.read(tensor, at: byteOffset, into: buffer)
  }

  func checkUnchanged() throws(FormatError) {}
}

private let columns = 96
private let rows = 1024
private let experts = 2

/// Two matrices side by side, `[experts, columns, 2 × rows]`, and one of its own.
private func makeSource() -> CountingSource {
  var generator = SplitMix64(seed: 12)
  func tensor(_ name: String, _ dimensions: [Int]) -> MemorySource.Tensor {
    let count = dimensions.reduce(2, *)
    return MemorySource.Tensor(
      name: name, type: .bf16, dimensions: dimensions,
      bytes: (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) })
  }
  let prefix = "model.layers.0.feed_forward.experts."
  return CountingSource(
    MemorySource([
      tensor(prefix + "gate_up_proj", [experts, columns, 2 * rows]),
      tensor(prefix + "down_proj", [experts, columns, rows]),
    ]))
}

private func read(_ stacks: ExpertStacks, _ tensor: TensorDescriptor, _ range: Range<Int>) throws
  -> [UInt8]
{
  var bytes = [UInt8](repeating: 0, count: range.count)
  try bytes.withUnsafeMutableBytes { try stacks.read(tensor, at: range.lowerBound, into: $0) }
  return bytes
}

/// What is held changes no byte, whatever is asked for and however little may be held.
@Test(arguments: [0, 1, columns * 2 * 512, columns * 2 * 700, columns * 2 * rows, 1 << 30])
func heldStripsChangeNoByte(_ byteLimit: Int) throws {
  let plain = try ExpertStacks(makeSource())
  let held = try ExpertStacks(makeSource())
  held.hold(upTo: byteLimit)
  var generator = SplitMix64(seed: 13)
  for tensor in plain.tensors {
    let whole = 0..<tensor.byteCount
    #expect(try read(held, tensor, whole) == read(plain, tensor, whole))
    for _ in 0..<60 {
      let start = Int.random(in: whole, using: &generator)
      let count = Int.random(in: 0...min(9_000, tensor.byteCount - start), using: &generator)
      let range = start..<start + count
      #expect(try read(held, tensor, range) == read(plain, tensor, range), "\(range)")
    }
  }
}

/// Rows of the file are read once for a strip, not once for each chunk of it.
@Test func stripsAreReadOnce() throws {
  let chunk = 64 * columns * 2
  func visits(byteLimit: Int) throws -> Int {
    let source = makeSource()
    let stacks = try ExpertStacks(source)
    stacks.hold(upTo: byteLimit)
    for tensor in stacks.tensors {
      for start in stride(from: 0, to: tensor.byteCount, by: chunk) {
        _ = try read(stacks, tensor, start..<start + chunk)
      }
    }
    return source.visits.load(ordering: .relaxed)
  }
  // Three matrices, each of whose chunks visits every row of an expert.
  let matrices = 3 * experts
  #expect(try visits(byteLimit: 0) == matrices * columns * rows / 64)
  #expect(try visits(byteLimit: columns * 2 * rows) == matrices * columns)
  #expect(try visits(byteLimit: columns * 2 * rows / 2) == matrices * columns * 2)
  // Less than two chunks' worth spares nothing.
  #expect(try visits(byteLimit: columns * 2 * 511) == matrices * columns * rows / 64)
}

/// Threads share a strip, whichever of them fills it, and late ones still get what they want.
@Test func threadsShareStrips() async throws {
  let source = makeSource()
  let plain = try ExpertStacks(source)
  let stacks = try ExpertStacks(CountingSource(source.memory))
  stacks.hold(upTo: columns * 2 * 512)
  let chunk = 64 * columns * 2
  for tensor in plain.tensors {
    let expected = try read(plain, tensor, 0..<tensor.byteCount)
    await withTaskGroup(of: Void.self) { group in
      for start in stride(from: 0, to: tensor.byteCount, by: chunk) {
        group.addTask {
          let bytes = try? read(stacks, tensor, start..<start + chunk)
          #expect(bytes == Array(expected[start..<start + chunk]), "\(start)")
        }
      }
    }
  }
}

/// A chunk fails whether the strip was begun by it or by another, and again when it is tried again.
@Test func damageIsFoundByEveryChunk() throws {
  let source = makeSource()
  let stacks = try ExpertStacks(source)
  stacks.hold(upTo: 1 << 30)
  let tensor = stacks.tensors[0]
  let chunk = 64 * columns * 2
  // In the last row of the first expert.
  source.damaged.store((columns - 1) * 2 * rows * 2 + 5, ordering: .relaxed)
  for start in [0, chunk, 0, 5 * chunk] {
    #expect(throws: FormatError.self) { try read(stacks, tensor, start..<start + chunk) }
  }
  source.damaged.store(-1, ordering: .relaxed)
  let plain = try ExpertStacks(source)
  #expect(try read(stacks, tensor, 0..<chunk) == read(plain, tensor, 0..<chunk))
}
