import ByteIO
import Checkpoints
import Tensors
import TestSupport
import Testing

/// Shards of a model two rows of four wide, whose entries are their own numbers.
private enum Example {
  /// Joined shapes by name, and the dimension that shards divide; `nil` for a copied vector.
  static let tensors: [(name: String, shape: [Int], dimension: Int?)] = [
    ("tok_embeddings.weight", [6, 4], 1), ("norm.weight", [4], nil),
    ("output.weight", [6, 4], 0), ("layers.0.attention.wq.weight", [4, 4], 0),
    ("layers.0.attention.wo.weight", [4, 4], 1), ("layers.0.feed_forward.w1.weight", [6, 4], 0),
    ("layers.0.feed_forward.w2.weight", [4, 6], 1), ("layers.0.ffn_norm.weight", [4], nil),
  ]

  static func bytes(_ index: Int, _ shape: [Int]) -> [UInt8] {
    (0..<shape.reduce(1, *)).flatMap { littleEndian(Float(index * 1000 + $0)) }
  }

  static func littleEndian(_ value: Float) -> [UInt8] {
    withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) }
  }

  /// The tensors of one shard.
  static func shard(
    _ rank: Int, of count: Int, embeddingDimension: Int = 1
  ) -> [TorchArchive.Tensor] {
    tensors.enumerated().map { index, tensor in
      let isEmbedding = tensor.name == "tok_embeddings.weight"
      let dimension = isEmbedding ? embeddingDimension : tensor.dimension
      var bytes = bytes(index, tensor.shape)
      var shape = tensor.shape
      if let dimension {
        shape[dimension] /= count
        let rowByteCount = tensor.shape[1] * 4
        let width = dimension == 1 ? rowByteCount / count : rowByteCount
        let rows = dimension == 0 ? rank * shape[0]..<(rank + 1) * shape[0] : 0..<shape[0]
        let start = dimension == 1 ? rank * width : 0
        bytes = rows.flatMap { row in
          bytes[(row * rowByteCount + start)..<(row * rowByteCount + start + width)]
        }
      }
      return TorchArchive.Tensor(
        name: tensor.name, storage: "FloatStorage", shape: shape, bytes: bytes)
    }
  }

  /// A folder of `count` shards, changed by `change`.
  static func folder(
    count: Int = 2, embeddingDimension: Int = 1,
    _ change: (Int, inout [TorchArchive.Tensor]) -> Void = { _, _ in }
  ) -> TemporaryFolder {
    let folder = TemporaryFolder()
    folder.write("params.json", "{}")
    for rank in 0..<count {
      var shard = shard(rank, of: count, embeddingDimension: embeddingDimension)
      change(rank, &shard)
      folder.write("consolidated.0\(rank).pth", TorchArchive.bytes(shard))
    }
    return folder
  }
}

private func failure(_ folder: TemporaryFolder) -> String {
  do {
    _ = try MetaDirectory(folder.path)
    return ""
  } catch {
    #expect(!"\(error)".contains("\n"))
    return "\(error)"
  }
}

@Test(arguments: [(1, 0), (2, 0), (2, 1)])
func joinsShardsWhateverRangeIsRead(_ count: Int, _ embeddingDimension: Int) throws {
  let folder = Example.folder(count: count, embeddingDimension: embeddingDimension)
  let directory = try MetaDirectory(folder.path)
  #expect(directory.tensors.map(\.name) == Example.tensors.map { ExactString($0.name) }.sorted())
  #expect(directory.files.count == count)
  for (index, expected) in Example.tensors.enumerated() {
    let tensor = try #require(
      directory.tensors.first { $0.name == ExactString(expected.name) })
    #expect(tensor.shape == Shape(expected.shape))
    #expect(tensor.regions.count == (expected.dimension == nil ? 1 : count))
    let bytes = Example.bytes(index, expected.shape)
    for start in 0..<bytes.count {
      for end in start...bytes.count where (end - start) % 3 == 0 || end == bytes.count {
        var found = [UInt8](repeating: 0xEE, count: end - start)
        try found.withUnsafeMutableBytes { try directory.read(tensor, at: start, into: $0) }
        guard found == Array(bytes[start..<end]) else {
          Issue.record("\(expected.name) \(start)..<\(end)")
          return
        }
      }
    }
  }
  try directory.checkUnchanged()
}

/// Rows longer than the scratch buffer, and many rows in one: both ways of distributing columns.
@Test(arguments: [(3, 300_000), (600, 700)])
func distributesLongAndManyRows(_ rowCount: Int, _ columnCount: Int) throws {
  let shards = (0..<2).map { rank in
    var source = ShardSource(file: "shard \(rank)")
    source.add("norm.weight", [8], [UInt8](repeating: 0, count: 32))
    source.add(
      "layers.0.feed_forward.w2.weight", [rowCount, columnCount],
      (0..<rowCount * columnCount * 4).map {
        let (row, column) = $0.quotientAndRemainder(dividingBy: columnCount * 4)
        return UInt8(truncatingIfNeeded: row &* 31 &+ column &* 7 &+ rank &* 101)
      })
    return source
  }
  let directory = try MetaDirectory(shards: shards, path: "memory")
  let tensor = try #require(directory.tensors.first { $0.shape.rank == 2 })
  #expect(tensor.shape == Shape([rowCount, columnCount * 2]))
  let row = columnCount * 8
  for range in [0..<tensor.byteCount, (row / 3)..<(row * 2 + 5), (row - 1)..<(row + 1)] {
    var found = [UInt8](repeating: 0, count: range.count)
    try found.withUnsafeMutableBytes {
      try directory.read(tensor, at: range.lowerBound, into: $0)
    }
    let wrong = found.indices.first { index in
      let (row, inRow) = (range.lowerBound + index).quotientAndRemainder(dividingBy: row)
      let (rank, column) = inRow.quotientAndRemainder(dividingBy: columnCount * 4)
      return found[index] != UInt8(truncatingIfNeeded: row &* 31 &+ column &* 7 &+ rank &* 101)
    }
    #expect(wrong == nil)
  }
}

@Test func leavesOutAnOutputThatIsTheEmbedding() throws {
  let folder = Example.folder { _, tensors in
    // Other shards than the embedding's: by rows here, by columns there.
    let rank = tensors[2].bytes == Example.shard(0, of: 2)[2].bytes ? 0 : 1
    tensors[2].bytes = Array(Example.bytes(0, [6, 4])[(rank * 48)..<(rank * 48 + 48)])
  }
  let directory = try MetaDirectory(folder.path)
  #expect(!directory.tensors.contains { $0.name == "output.weight" })
  #expect(directory.notes == ["output.weight equals tok_embeddings.weight and is left out"])
}

// MARK: Rejections

@Test func refusesShardsThatDoNotFitTogether() {
  let others: [(String, (Int, inout [TorchArchive.Tensor]) -> Void)] = [
    ("missing tensor norm.weight", { if $0 == 1 { $1.remove(at: 1) } }),
    ("missing tensor norm.weight", { if $0 == 0 { $1.remove(at: 1) } }),
    (
      "is F32 [1, 4], in shard 0 F32 [2, 4]",
      { rank, tensors in
        guard rank == 1 else { return }
        tensors[3].shape = [1, 4]
        tensors[3].bytes = Array(tensors[3].bytes.prefix(16))
      }
    ),
    (
      "is F16 [2, 4]",
      { rank, tensors in
        guard rank == 1 else { return }
        tensors[3].storage = "HalfStorage"
        tensors[3].bytes = Array(tensors[3].bytes.prefix(16))
      }
    ),
    (
      "do not make up rows of 4, the length of norm.weight",
      { _, tensors in
        tensors[0].shape = [4, 3]
      }
    ),
  ]
  for (expected, change) in others {
    let message = failure(Example.folder(change))
    #expect(message.contains(expected), "\(message)")
  }
}

@Test func refusesMissingAndExtraShards() {
  let first = TorchArchive.bytes(Example.shard(0, of: 2))
  func message(_ names: [String]) -> String {
    let folder = TemporaryFolder()
    for name in names { folder.write(name, name.hasSuffix(".pth") ? first : Array("{}".utf8)) }
    return failure(folder)
  }
  let (zero, one, two) = ("consolidated.00.pth", "consolidated.01.pth", "consolidated.02.pth")
  #expect(message(["params.json", one]).contains("missing shard 0: 1 are there"))
  #expect(message(["params.json", zero, two]).contains("missing shard 1: 2 are there"))
  #expect(message(["params.json", zero, "consolidated.0.pth"]).contains("duplicate shard 0"))
  #expect(message(["params.json", zero, "consolidated.5000.pth"]).contains("shard 5000"))
  #expect(message([zero]).contains("missing params.json beside consolidated.00.pth"))
  #expect(message(["params.json"]).contains("missing consolidated.00.pth"))
}

@Test func knowsWhichDirectoriesAreMetas() throws {
  let folder = Example.folder()
  #expect(try MetaDirectory.folder(of: folder.path) == folder.path)
  #expect(try MetaDirectory.folder(of: folder.file("consolidated.01.pth")) == folder.path)
  #expect(try MetaDirectory.folder(of: folder.file("params.json")) == nil)
  folder.write("model.safetensors", SafetensorsBytes.vectors([("a", 1)]))
  #expect(try MetaDirectory.folder(of: folder.path) == nil)
  #expect(try MetaDirectory.folder(of: Fixtures.path("models/llama2")) == nil)
  #expect(MetaDirectory.cardFolder(of: "hub/Llama-3.1-8B/original") == "hub/Llama-3.1-8B")
  #expect(MetaDirectory.cardFolder(of: "original/") == ".")
  #expect(MetaDirectory.cardFolder(of: "Llama-2-7b") == "Llama-2-7b")
}

/// Tensors in memory.
struct ShardSource: TensorSource {
  var file: String
  var tensors: [TensorDescriptor] = []
  private var data: [ExactString: [UInt8]] = [:]

  init(file: String) { self.file = file }

  var files: [String] { [file] }
  var fileByteCounts: [UInt64] { [data.values.reduce(0) { $0 + UInt64($1.count) }] }

  mutating func add(_ name: ExactString, _ shape: [Int], _ bytes: [UInt8]) {
    tensors.append(
      TensorDescriptor(
        name: name, shape: Shape(shape), type: .f32,
        regions: [.init(file: 0, fileOffset: 0, byteCount: bytes.count)]))
    data[name] = bytes
  }

  func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    let bytes = data[tensor.name] ?? []
    buffer.copyBytes(from: bytes[byteOffset..<(byteOffset + buffer.count)])
  }

  func checkUnchanged() throws(FormatError) {}
}
