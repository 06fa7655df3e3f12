import ByteIO
import Checkpoints
import Tensors
import Testing

/// Runs of every length, distance and start, in all the ways that shards are joined: inside one shard,
/// over the border of two, and column by column.
@Test func readsRunsOfJoinedTensorsAsTheirRanges() throws {
  let shapes: [(name: String, shape: [Int])] = [
    ("norm.weight", [8]), ("layers.0.feed_forward.w1.weight", [3, 4]),
    ("layers.0.feed_forward.w2.weight", [5, 3]), ("layers.0.feed_forward.experts.w1", [2, 3, 2]),
    ("layers.0.feed_forward.experts.w2", [3, 2, 3]),
    ("layers.0.feed_forward.router.weight", [2, 4]),
  ]
  let shards = (0..<2).map { rank in
    var source = ShardSource(file: "shard \(rank)")
    for (name, shape) in shapes {
      let isCopied = shape.count == 1 || name.contains("router")
      source.add(
        ExactString(name), shape,
        (0..<shape.reduce(4, *)).map { UInt8($0 &+ (isCopied ? 0 : 100 * rank)) })
    }
    return source
  }
  let directory = try MetaDirectory(shards: shards, path: "memory")
  for tensor in directory.tensors {
    var whole = [UInt8](repeating: 0, count: tensor.byteCount)
    try whole.withUnsafeMutableBytes { try directory.read(tensor, at: 0, into: $0) }
    for byteCount in [1, 4, 12, 20] {
      for distance in [byteCount, 12, 16, 24, 48] where distance >= byteCount {
        for start in stride(from: 0, through: tensor.byteCount - byteCount, by: 2) {
          let runs = ByteRuns(
            start: start, byteCount: byteCount,
            count: (tensor.byteCount - byteCount - start) / distance + 1, stride: distance)
          var found = [UInt8](repeating: 0, count: runs.count * byteCount)
          try found.withUnsafeMutableBytes { try directory.read(tensor, runs: runs, into: $0) }
          let expected = (0..<runs.count).flatMap {
            whole[runs.start(of: $0)..<runs.start(of: $0) + byteCount]
          }
          #expect(found == expected, "\(tensor.name) \(runs)")
        }
      }
    }
  }
}
