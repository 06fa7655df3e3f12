import ByteIO
import Tensors

extension ShardJoin {
  /// Fills `buffer` with runs of the joined tensor, asking each shard for as many as lie in it.
  func read(
    _ shards: [any TensorSource], _ runs: ByteRuns, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    guard layout != .copied else {
      try shards[0].read(parts[0], runs: runs, into: buffer)
      return
    }
    // Pieces of the shards in turn make up the tensor; where rows are joined, each has one.
    let pieceByteCount = layout == .rows ? parts[0].byteCount : pieceByteCount
    var next = 0
    while next < runs.count {
      let start = runs.start(of: next)
      let (piece, inPiece) = start.quotientAndRemainder(dividingBy: pieceByteCount)
      let (row, part) = piece.quotientAndRemainder(dividingBy: parts.count)
      let roomAfter = pieceByteCount - inPiece - runs.byteCount
      guard roomAfter >= 0 else {
        try read(shards, at: start, into: runs.place(of: next, in: buffer))
        next += 1
        continue
      }
      var some = runs
      some.start = row * pieceByteCount + inPiece
      some.count = runs.count - next
      if runs.stride.isMultiple(of: pieceByteCount * parts.count) {
        // The same columns of every row, so all are in this shard.
        some.stride = runs.stride / parts.count
      } else {
        some.count = min(some.count, roomAfter / runs.stride + 1)
      }
      let place = (next * runs.byteCount)..<((next + some.count) * runs.byteCount)
      try shards[owners[part]].read(
        parts[part], runs: some, into: UnsafeMutableRawBufferPointer(rebasing: buffer[place]))
      next += some.count
    }
  }
}
