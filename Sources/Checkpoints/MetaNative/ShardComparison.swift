import ByteIO
import Tensors

/// Whether tensors of shards hold the same bytes: by the files' checksums where they tell, so that
/// nothing is read of the usual checkpoint, otherwise by the data.
struct ShardComparison {
  let shards: [any TensorSource]
  /// Whether data may be read where checksums do not tell.
  let readsData: Bool
  /// Bytes that may still be read; what files hold once is never more.
  private var readableByteCount: UInt64

  /// One shard's part of a tensor.
  struct Part {
    var shard: Int
    var tensor: TensorDescriptor
  }

  /// Bytes at the start of a tensor that tell it from another.
  private static let leadingByteCount = 4096
  private static let pieceByteCount = 1 << 20
  /// Most delivered bytes per stored one: quantized weights are larger than their codes, but a
  /// tensor that repeats one entry is not looked at.
  private static let largestExpansion = 16

  init(_ shards: [any TensorSource], readsData: Bool) {
    self.shards = shards
    self.readsData = readsData
    readableByteCount =
      2 * UInt64(Self.largestExpansion)
      * shards.reduce(0) { sum, shard in shard.fileByteCounts.reduce(sum, &+) }
  }

  /// Whether two parts of one type and shape are equal; `nil` where that cannot be told.
  mutating func areEqual(_ first: Part, _ second: Part) throws(FormatError) -> Bool? {
    guard first.tensor.byteCount > 0 else { return nil }
    let files = [first, second].map { shards[$0.shard] as? PyTorchFile }
    if let a = files[0], let b = files[1] {
      if first.shard == second.shard, a.isSameView(first.tensor, second.tensor) { return true }
      if let one = a.digest(of: first.tensor), let other = b.digest(of: second.tensor) {
        guard one == other else { return false }
        // That the checksums are those of the data is seen at the end.
        a.touch(first.tensor)
        b.touch(second.tensor)
        return true
      }
    }
    guard isStored([first.tensor]), isStored([second.tensor]) else { return nil }
    let sources = shards
    return try areEqual(first.tensor.byteCount) { position, buffer throws(FormatError) in
      try sources[first.shard].read(first.tensor, at: position, into: buffer)
    } _: { position, buffer throws(FormatError) in
      try sources[second.shard].read(second.tensor, at: position, into: buffer)
    }
  }

  /// Whether two joined tensors are equal; `nil` where that cannot be told.
  mutating func areEqual(_ first: ShardJoin, _ second: ShardJoin) throws(FormatError) -> Bool? {
    guard first.descriptor.shape == second.descriptor.shape,
      first.descriptor.type == second.descriptor.type
    else { return false }
    if first.layout == second.layout {
      var areAllKnown = true
      for (index, (one, other)) in zip(first.parts, second.parts).enumerated() {
        let isEqual = try areEqual(
          Part(shard: index, tensor: one), Part(shard: index, tensor: other))
        if isEqual == false { return false }
        areAllKnown = areAllKnown && isEqual == true
        if first.layout == .copied { break }
      }
      return areAllKnown ? true : nil
    }
    guard isStored(first.parts), isStored(second.parts) else { return nil }
    let sources = shards
    return try areEqual(first.descriptor.byteCount) { position, buffer throws(FormatError) in
      try first.read(sources, at: position, into: buffer)
    } _: { position, buffer throws(FormatError) in
      try second.read(sources, at: position, into: buffer)
    }
  }

  /// Whether the files hold about as many bytes as the tensors have, and those may be read.
  private func isStored(_ tensors: [TensorDescriptor]) -> Bool {
    readsData
      && tensors.allSatisfy { tensor in
        tensor.byteCount > 0
          && tensor.regions.reduce(0) { $0 + $1.byteCount } >= tensor.byteCount
            / Self.largestExpansion
      }
  }

  private typealias Reading = (Int, UnsafeMutableRawBufferPointer) throws(FormatError) -> Void

  /// Compares piece by piece and stops at the first difference.
  private mutating func areEqual(
    _ byteCount: Int, _ readFirst: Reading, _ readSecond: Reading
  ) throws(FormatError) -> Bool? {
    let half = min(byteCount, Self.pieceByteCount)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * half, alignment: 16)
    defer { buffer.deallocate() }
    var done = 0
    while done < byteCount {
      let count = min(done == 0 ? Self.leadingByteCount : half, half, byteCount - done)
      guard readableByteCount >= UInt64(count) else { return nil }
      readableByteCount -= UInt64(count)
      let first = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
      let second = UnsafeMutableRawBufferPointer(rebasing: buffer[half..<(half + count)])
      try readFirst(done, first)
      try readSecond(done, second)
      guard first.elementsEqual(second) else { return false }
      done += count
    }
    return true
  }
}

// MARK: Shards that are not what they should be

extension ShardComparison {
  /// What tells one shard's part of a tensor from another's.
  private enum Mark: Hashable {
    case checksum(UInt32)
    case leading([UInt8])
    /// Nothing is known, so that it equals nothing.
    case none(shard: Int)
  }

  /// Refuses a shard that is a copy of another under a new number, and shards whose copied vectors
  /// differ.
  mutating func refuseWrongShards(_ joins: [ShardJoin]) throws(FormatError) {
    guard shards.count > 1 else { return }
    try refuseCopies(joins)
    for join in joins where join.layout == .copied && join.isWeight {
      for (shard, part) in join.parts.enumerated().dropFirst() {
        let isEqual = try areEqual(
          Part(shard: 0, tensor: join.parts[0]), Part(shard: shard, tensor: part))
        guard isEqual == false else { continue }
        throw FormatError(
          file: shards[shard].files[0], field: printable(join.name.string, limit: 120),
          reason: .inconsistent("differs from that of shard 0, of which it should be a copy"),
          advice: "the shards belong to different models or are damaged")
      }
    }
  }

  /// Divides the shards by one tensor after the other, until none is like another.
  private func refuseCopies(_ joins: [ShardJoin]) throws(FormatError) {
    var groups = [Array(shards.indices)]
    var isDivided = false
    for join in joins where join.layout != .copied && join.descriptor.byteCount > 0 {
      isDivided = true
      var divided: [[Int]] = []
      for group in groups {
        var byMark: [Mark: [Int]] = [:]
        for shard in group {
          byMark[try mark(Part(shard: shard, tensor: join.parts[shard])), default: []].append(shard)
        }
        divided += byMark.values.filter { $0.count > 1 }
      }
      groups = divided
      if groups.isEmpty { return }
    }
    guard isDivided, let copies = groups.min(by: { $0[0] < $1[0] }) else { return }
    throw FormatError(
      file: shards[copies[1]].files[0], field: "shards",
      reason: .duplicate(
        "shard \(copies[0]): what shards divide is in both files the same"),
      advice: "download shard \(copies[1]) again")
  }

  private func mark(_ part: Part) throws(FormatError) -> Mark {
    if let file = shards[part.shard] as? PyTorchFile, let digest = file.digest(of: part.tensor) {
      return .checksum(digest.crc32)
    }
    guard readsData else { return .none(shard: part.shard) }
    var bytes = [UInt8](repeating: 0, count: min(Self.leadingByteCount, part.tensor.byteCount))
    var failure: FormatError?
    bytes.withUnsafeMutableBytes { buffer in
      do throws(FormatError) {
        try shards[part.shard].read(part.tensor, at: 0, into: buffer)
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return .leading(bytes)
  }
}

// MARK: Repeated heads

extension ShardComparison {
  /// Shards one after the other that have the same heads of keys and values; 1 where all differ.
  ///
  /// A model with fewer such heads than shards has each of them in several, as Llama 3.1 405B in
  /// 16 shards.
  mutating func repeatedHeadCount(_ joins: [ShardJoin]) throws(FormatError) -> Int {
    let heads = joins.filter { $0.holdsSharedHeads && $0.layout == .rows }
    guard shards.count > 1, !heads.isEmpty else { return 1 }
    var count = 1
    while count < shards.count, try isNextEqual(count - 1, heads) { count += 1 }
    guard count > 1, shards.count.isMultiple(of: count) else { return 1 }
    for shard in shards.indices.dropLast() where (shard + 1) % count != 0 && shard >= count {
      guard try isNextEqual(shard, heads) else { return 1 }
    }
    return count
  }

  private mutating func isNextEqual(_ shard: Int, _ heads: [ShardJoin]) throws(FormatError) -> Bool
  {
    for join in heads {
      let parts = [shard, shard + 1].map { Part(shard: $0, tensor: join.parts[$0]) }
      guard try areEqual(parts[0], parts[1]) == true else { return false }
    }
    return true
  }
}
