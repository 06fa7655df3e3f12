import ByteIO
import Checkpoints
import Tensors
import TestSupport
import Testing

/// Shards of a layer with four query heads and as many key heads as wanted, each of two rows.
private enum Heads {
  static let width = 8

  /// Rows whose bytes depend on `seed`.
  static func rows(_ count: Int, seed: Int) -> [UInt8] {
    (0..<count * width).flatMap { index in
      withUnsafeBytes(of: Float(seed * 1000 + index).bitPattern.littleEndian) { Array($0) }
    }
  }

  /// The tensors of one of four shards; `keyHeads` of them hold different keys.
  static func shard(_ rank: Int, keyHeads: Int) -> [TorchArchive.Tensor] {
    let head = rank * keyHeads / 4
    return [
      ("norm.weight", [width], rows(1, seed: 9)),
      ("rope.freqs", [2], Array(rows(1, seed: 10 + rank).prefix(8))),
      ("layers.0.attention.wq.weight", [2, width], rows(2, seed: 100 + rank)),
      ("layers.0.attention.wk.weight", [2, width], rows(2, seed: 200 + head)),
      ("layers.0.attention.wv.weight", [2, width], rows(2, seed: 300 + head)),
    ].map { TorchArchive.Tensor(name: $0.0, storage: "FloatStorage", shape: $0.1, bytes: $0.2) }
  }

  static func folder(
    keyHeads: Int = 4, isZIP: Bool = true,
    _ change: (Int, inout [TorchArchive.Tensor]) -> Void = { _, _ in }
  ) -> TemporaryFolder {
    let folder = TemporaryFolder()
    folder.write("params.json", "{}")
    for rank in 0..<4 {
      var tensors = shard(rank, keyHeads: keyHeads)
      change(rank, &tensors)
      folder.write(
        "consolidated.0\(rank).pth", isZIP ? TorchArchive.bytes(tensors) : legacy(tensors))
    }
    return folder
  }

  /// The form without checksums.
  static func legacy(_ tensors: [TorchArchive.Tensor]) -> [UInt8] {
    let pickle = PickleBytes().dictionary { start in
      tensors.enumerated().reduce(start) { pickle, entry in
        let (index, tensor) = entry
        let strides = tensor.shape.count == 1 ? [1] : [tensor.shape[1], 1]
        return pickle.text(tensor.name).tensor(
          "\(index)", storageCount: tensor.shape.reduce(1, *), shape: tensor.shape,
          strides: strides)
      }
    }.op(.STOP)
    return LegacyBytes.file(
      pickle, keys: tensors.indices.map { "\($0)" },
      storages: tensors.flatMap { littleEndian(UInt64($0.shape.reduce(1, *))) + $0.bytes })
  }
}

private func failure(_ folder: TemporaryFolder, readsData: Bool = true) -> String {
  do {
    _ = try MetaDirectory(folder.path, readsData: readsData)
    return ""
  } catch {
    return "\(error)"
  }
}

@Test(arguments: [true, false])
func refusesAShardThatIsACopyOfAnother(_ isZIP: Bool) {
  let folder = Heads.folder(isZIP: isZIP) { rank, tensors in
    if rank == 2 { tensors = Heads.shard(0, keyHeads: 4) }
  }
  let message = failure(folder)
  #expect(message.contains("consolidated.02.pth: shards: duplicate shard 0"), "\(message)")
  // Without checksums only the data tells.
  #expect(failure(folder, readsData: false).contains("duplicate shard 0") == isZIP)
  #expect(failure(Heads.folder(isZIP: isZIP)) == "")
}

@Test(arguments: [true, false])
func comparesCopiedVectors(_ isZIP: Bool) {
  let folder = Heads.folder(isZIP: isZIP) { rank, tensors in
    if rank == 3 { tensors[0].bytes[17] ^= 1 }
  }
  let message = failure(folder)
  #expect(
    message.contains("consolidated.03.pth: norm.weight: differs from that of shard 0"), "\(message)"
  )
}

/// Heads that several shards repeat count once, as many as there are.
@Test(arguments: [(4, 1), (2, 2), (1, 4)], [true, false])
func repeatedHeadsCountOnce(_ heads: (count: Int, repeats: Int), _ isZIP: Bool) throws {
  let folder = Heads.folder(keyHeads: heads.count, isZIP: isZIP)
  defer { withExtendedLifetime(folder) {} }
  let directory = try MetaDirectory(folder.path)
  for (name, seed) in [("wk", 200), ("wv", 300)] {
    let tensor = try #require(
      directory.tensors.first { $0.name == ExactString("layers.0.attention.\(name).weight") })
    #expect(tensor.shape == Shape([2 * heads.count, Heads.width]))
    #expect(tensor.regions.map(\.file) == (0..<heads.count).map { $0 * heads.repeats })
    let expected = (0..<heads.count).flatMap { Heads.rows(2, seed: seed + $0) }
    var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
    try bytes.withUnsafeMutableBytes { try directory.read(tensor, at: 0, into: $0) }
    #expect(bytes == expected)
  }
  #expect(directory.tensors.first { $0.name.string.contains("wq") }?.shape == Shape([8, 8]))
  #expect(directory.notes.count == (heads.repeats > 1 ? 1 : 0))
  try directory.checkUnchanged()
}

/// Two tensors without end that repeat one entry: nothing of them is looked at.
@Test(arguments: [true, false])
func expandedTensorsAreNotCompared(_ readsData: Bool) throws {
  let pickle = PickleBytes().dictionary { start in
    ["output.weight", "tok_embeddings.weight"].enumerated().reduce(start) { pickle, entry in
      pickle.text(entry.element).tensor(
        "\(entry.offset)", storageCount: 1, shape: [1 << 29, 1 << 30], strides: [0, 0])
    }
  }.op(.STOP)
  let folder = TemporaryFolder()
  folder.write("params.json", "{}")
  folder.write(
    "consolidated.00.pth",
    TorchArchive.bytes(pickle: pickle.bytes, records: [[0, 0, 0, 0], [0, 0, 0, 0]]))
  var count = 0
  let time = try processorTime {
    count = try MetaDirectory(folder.path, readsData: readsData).tensors.count
  }
  #expect(count == 2)
  #expect(isOfOrder(time, of: 1))
}

/// Checksums say that the output is the embedding; data is only read in the end, to hold them to it.
@Test func aTiedOutputCostsOneReading() throws {
  let matrix = [UInt8](repeating: 7, count: 1 << 20)
  func write(_ folder: TemporaryFolder, flipping: Bool) {
    let tensors = ["norm.weight", "output.weight", "tok_embeddings.weight"].enumerated().map {
      TorchArchive.Tensor(
        name: $1, storage: "FloatStorage", shape: $0 == 0 ? [512] : [512, 512],
        bytes: $0 == 0 ? Array(matrix.prefix(2048)) : matrix)
    }
    var bytes = TorchArchive.bytes(tensors)
    // Inside the record of the output, which comes first of the two.
    if flipping { bytes[500_000] ^= 1 }
    folder.write("params.json", "{}")
    folder.write("consolidated.00.pth", bytes)
  }
  let folder = TemporaryFolder()
  write(folder, flipping: false)
  var directory: MetaDirectory?
  let opening = try byteCountRead { directory = try MetaDirectory(folder.path) }
  let tied = try #require(directory)
  #expect(tied.notes == ["output.weight equals tok_embeddings.weight and is left out"])
  if let opening { #expect(opening < 200_000, "\(opening)") }
  let reading = try byteCountRead {
    for tensor in tied.tensors {
      var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
      try bytes.withUnsafeMutableBytes { try tied.read(tensor, at: 0, into: $0) }
    }
    try tied.checkUnchanged()
  }
  if let reading { #expect(reading < matrix.count * 2 + 10_000, "\(reading)") }
  write(folder, flipping: true)
  let damaged = try MetaDirectory(folder.path)
  #expect(throws: FormatError.self) { try damaged.checkUnchanged() }
}

@Test func namesFilesThatAreNoShards() throws {
  let folder = Heads.folder()
  folder.write("consolidated.00 (1).pth", [UInt8]())
  #expect(try MetaDirectory(folder.path).notes == ["ignored: consolidated.00 (1).pth"])
}

@Test func findsUnfinishedShards() throws {
  let folder = Heads.folder()
  folder.write("consolidated.04.pth.incomplete", [UInt8]())
  let message = failure(folder)
  #expect(message.contains("missing shard 4") && message.contains("is not finished"), "\(message)")
  #expect(failure(Heads.folder()) == "")
}

@Test func knowsWhereHubsPutMetasFiles() throws {
  #expect(MetaDirectory.cardFolder(of: "Llama-3.1-405B/original/mp16") == "Llama-3.1-405B")
  #expect(MetaDirectory.cardFolder(of: "Llama-3.1-405B/mp16") == "Llama-3.1-405B/mp16")
  // A shard without params.json asks for it.
  let lone = TemporaryFolder()
  let path = lone.write("consolidated.00.pth", TorchArchive.bytes(Heads.shard(0, keyHeads: 4)))
  #expect(try MetaDirectory.folder(of: path) == lone.path)
  #expect(failure(lone).contains("missing params.json beside consolidated.00.pth"))
  lone.write("config.json", "{}")
  #expect(try MetaDirectory.folder(of: path) == nil)
}

@Test(arguments: ["original", "original/mp16", "mp8"])
func namesTheFolderInsideThatHoldsMetasFiles(_ name: String) throws {
  let folder = TemporaryFolder()
  folder.write("config.json", "{}")
  folder.write(name + "/consolidated.00.pth", [UInt8]())
  let error = try #require(throws: FormatError.self) { try CheckpointDirectory(folder.path) }
  #expect("\(error)".contains("name \(folder.path)/\(name)"), "\(error)")
}
