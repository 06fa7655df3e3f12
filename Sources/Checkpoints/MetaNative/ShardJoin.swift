import ByteIO
import Tensors

/// One tensor of a model-parallel checkpoint and how its shards make it up.
///
///     rows      shard 0 | shard 1 | …  one below the other: most matrices
///     columns   every row is a row of shard 0, of shard 1, …: `wo`, `w2`, and the embedding of
///               Llama 1 and 2
///     experts   every expert is its rows of shard 0, of shard 1, …: the experts' `w2`
///     copied    every shard has the whole vector, or the router; the first one's counts
///
/// Source: formats/meta-native.md
struct ShardJoin: Sendable {
  enum Layout: Hashable, Sendable { case rows, columns, experts, copied }

  let descriptor: TensorDescriptor
  let layout: Layout
  /// One per shard, or per shard that counts; the shapes are equal.
  let parts: [TensorDescriptor]
  /// The shard of each part.
  let owners: [Int]

  var name: ExactString { descriptor.name }
  var holdsSharedHeads: Bool { Self.name(name, endsWith: Self.sharedHeadSuffixes) }
  var isWeight: Bool { !Self.name(name, endsWith: [Self.frequenciesSuffix]) }

  static let embeddingName: ExactString = "tok_embeddings.weight"
  private static let normName: ExactString = "norm.weight"
  /// Matrices whose columns are distributed.
  private static let columnSuffixes = [
    ".attention.wo.weight", ".feed_forward.w2.weight", ".feed_forward.shared_expert.w2.weight",
    ".feed_forward.experts.w1", ".feed_forward.experts.w3",
  ]
  /// Matrices of experts, stored transposed, whose columns are distributed.
  private static let expertSuffixes = [".feed_forward.experts.w2"]
  /// Matrices that all shards have.
  private static let copiedSuffixes = [".feed_forward.router.weight"]
  /// Keys and values, whose heads several shards may share.
  private static let sharedHeadSuffixes = [".attention.wk.weight", ".attention.wv.weight"]
  /// Frequencies of the rotation, which are computed anew.
  private static let frequenciesSuffix = "rope.freqs"
  /// Most bytes of a shard that are read at once to be distributed over rows.
  private static let scratchByteCount = 1 << 20

  /// Joins every tensor, in the order of the names' bytes.
  ///
  /// - Throws: `FormatError` where shards differ in names, types or shapes.
  static func all(of shards: [any TensorSource]) throws(FormatError) -> [ShardJoin] {
    precondition(!shards.isEmpty)
    let tables = shards.map { shard in
      Dictionary(shard.tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    }
    for (index, table) in tables.enumerated().dropFirst() {
      try checkNames(tables[0], table, shards[0].files[0], shards[index].files[0])
    }
    // Norms are copied to every shard, so their length is the model's width.
    let width = tables[0][normName]?.shape.dimensions.first
    var joins: [ShardJoin] = []
    for name in tables[0].keys.sorted() {
      joins.append(
        try ShardJoin(
          tables.compactMap { $0[name] }, files: shards.map { $0.files[0] }, width: width))
    }
    return joins
  }

  private static func checkNames(
    _ first: [ExactString: TensorDescriptor], _ other: [ExactString: TensorDescriptor],
    _ firstFile: String, _ otherFile: String
  ) throws(FormatError) {
    if let missing = first.keys.filter({ other[$0] == nil }).min() {
      throw FormatError(
        file: otherFile, field: "tensors",
        reason: .missing("tensor \(printable(missing.string, limit: 120)), which shard 0 has"),
        advice: "the shards belong to different models or are damaged")
    }
    if let extra = other.keys.filter({ first[$0] == nil }).min() {
      throw FormatError(
        file: firstFile, field: "tensors",
        reason: .missing(
          "tensor \(printable(extra.string, limit: 120)), which \(printable(otherFile)) has"),
        advice: "the shards belong to different models or are damaged")
    }
  }

  private init(_ parts: [TensorDescriptor], files: [String], width: Int?) throws(FormatError) {
    let first = parts[0]
    let field = printable(first.name.string, limit: 120)
    for (part, file) in zip(parts, files).dropFirst() {
      guard part.type == first.type, part.shape == first.shape else {
        throw FormatError(
          file: file, field: field,
          reason: .inconsistent(
            "is \(part.type) \(part.shape), in shard 0 \(first.type) \(first.shape)"),
          advice: "the shards belong to different models or are damaged")
      }
    }
    layout = try Self.layout(first, count: parts.count, file: files[0], width: width)
    self.parts = parts
    owners = Array(parts.indices)
    var dimensions = first.shape.dimensions
    var overflow = false
    switch layout {
    case .copied: break
    case .rows:
      (dimensions[0], overflow) = dimensions[0].multipliedReportingOverflow(by: parts.count)
    case .columns, .experts:
      let place = dimensions.count - (layout == .columns ? 1 : 2)
      (dimensions[place], overflow) = dimensions[place].multipliedReportingOverflow(
        by: parts.count)
    }
    let shape = Shape(dimensions)
    guard !overflow, let elementCount = shape.checkedElementCount,
      first.type.byteCount(weightCount: elementCount) != nil
    else {
      throw FormatError(
        file: files[0], field: field,
        reason: .outOfRange(
          found: "\(parts.count) shards of \(first.shape)", allowed: "a size that fits 63 bits"))
    }
    let regions = (layout == .copied ? Array(parts.prefix(1)) : parts).enumerated()
      .flatMap { index, part in
        part.regions.map { region in
          TensorDescriptor.Region(
            file: index, fileOffset: region.fileOffset, byteCount: region.byteCount)
        }
      }
    descriptor = TensorDescriptor(
      name: first.name, shape: shape, type: first.type, regions: regions)
  }

  private static func layout(
    _ part: TensorDescriptor, count: Int, file: String, width: Int?
  ) throws(FormatError) -> Layout {
    if part.shape.rank < 2 || count == 1 { return .copied }
    if part.name == embeddingName {
      let columnCount = part.columnCount
      if columnCount == width { return .rows }
      let (joined, overflow) = columnCount.multipliedReportingOverflow(by: count)
      if !overflow, joined == width { return .columns }
      let total = columnCount > 0 ? (width ?? 0) / columnCount : 0
      let isShort = total > count && total * columnCount == width
      throw FormatError(
        file: file, field: embeddingName.string,
        reason: .inconsistent(
          "\(count) shards of \(part.shape) do not make up rows of \(width ?? 0), the length of "
            + normName.string),
        advice: isShort ? "\(count) shards are there, the sizes are those of \(total)" : nil)
    }
    if name(part.name, endsWith: copiedSuffixes) { return .copied }
    if part.shape.rank == 3, name(part.name, endsWith: expertSuffixes) { return .experts }
    return name(part.name, endsWith: columnSuffixes) ? .columns : .rows
  }

  private static func name(_ name: ExactString, endsWith suffixes: [String]) -> Bool {
    suffixes.contains { suffix in
      name.utf8.count >= suffix.utf8.count
        && name.utf8.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
    }
  }

  /// The tensor without what shards repeat: of each run of `count` shards only the first counts.
  ///
  /// - Precondition: `count` divides the shards, and rows are what they divide.
  func leavingOutRepeats(_ count: Int) -> ShardJoin {
    precondition(layout == .rows && parts.count.isMultiple(of: count))
    let kept = Array(stride(from: 0, to: parts.count, by: count))
    var dimensions = parts[0].shape.dimensions
    dimensions[0] *= kept.count
    return ShardJoin(
      descriptor: TensorDescriptor(
        name: name, shape: Shape(dimensions), type: descriptor.type,
        regions: descriptor.regions.filter { kept.contains($0.file) }),
      layout: layout, parts: kept.map { parts[$0] }, owners: kept)
  }

  private init(
    descriptor: TensorDescriptor, layout: Layout, parts: [TensorDescriptor], owners: [Int]
  ) {
    self.descriptor = descriptor
    self.layout = layout
    self.parts = parts
    self.owners = owners
  }

  // MARK: Reading

  func read(
    _ shards: [any TensorSource], at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    precondition(byteOffset >= 0 && byteOffset <= descriptor.byteCount - buffer.count)
    guard !buffer.isEmpty else { return }
    switch layout {
    case .copied: try shards[0].read(parts[0], at: byteOffset, into: buffer)
    case .rows:
      let whole = EqualParts(byteCount: parts[0].byteCount)
      try whole.forEach(in: byteOffset..<byteOffset + buffer.count) {
        (index, offset, place) throws(FormatError) in
        try shards[owners[index]].read(
          parts[index], at: offset, into: UnsafeMutableRawBufferPointer(rebasing: buffer[place]))
      }
    case .columns, .experts: try readPieces(shards, at: byteOffset, into: buffer)
    }
  }

  /// What one shard adds to a row, or to an expert.
  var pieceByteCount: Int {
    let part = parts[0]
    return layout == .experts
      ? part.byteCount / max(part.shape.dimensions[0], 1) : part.bytesPerRow
  }

  /// Distributes rows, or experts, of every shard over the joined ones.
  ///
  /// Whole rows of a shard are read together into a scratch buffer; rows that are longer than that,
  /// and what is wanted of a single row, go straight to their place.
  private func readPieces(
    _ shards: [any TensorSource], at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    let pieceByteCount = pieceByteCount
    let rowByteCount = pieceByteCount * parts.count
    let wanted = byteOffset..<(byteOffset + buffer.count)
    let rows =
      (wanted.lowerBound / rowByteCount)..<((wanted.upperBound - 1) / rowByteCount + 1)
    /// The part of a piece that is wanted, as a range of the joined tensor.
    func range(row: Int, shard: Int) -> Range<Int> {
      let start = row * rowByteCount + shard * pieceByteCount
      return (start..<(start + pieceByteCount)).clamped(to: wanted)
    }
    guard pieceByteCount <= Self.scratchByteCount, rows.count > 1 else {
      for row in rows {
        for shard in shards.indices {
          let piece = range(row: row, shard: shard)
          guard !piece.isEmpty else { continue }
          let inRow = piece.lowerBound - row * rowByteCount - shard * pieceByteCount
          let place = (piece.lowerBound - byteOffset)..<(piece.upperBound - byteOffset)
          try shards[shard].read(
            parts[shard], at: row * pieceByteCount + inRow,
            into: UnsafeMutableRawBufferPointer(rebasing: buffer[place]))
        }
      }
      return
    }
    let rowsAtOnce = max(1, Self.scratchByteCount / pieceByteCount)
    let scratch = UnsafeMutableRawBufferPointer.allocate(
      byteCount: min(rowsAtOnce, rows.count) * pieceByteCount, alignment: 16)
    defer { scratch.deallocate() }
    for start in stride(from: rows.lowerBound, to: rows.upperBound, by: rowsAtOnce) {
      let block = start..<min(start + rowsAtOnce, rows.upperBound)
      for shard in shards.indices {
        try shards[shard].read(
          parts[shard], at: start * pieceByteCount,
          into: UnsafeMutableRawBufferPointer(rebasing: scratch[..<(block.count * pieceByteCount)]))
        for row in block {
          let piece = range(row: row, shard: shard)
          guard !piece.isEmpty else { continue }
          let inRow = piece.lowerBound - row * rowByteCount - shard * pieceByteCount
          let from = (row - start) * pieceByteCount + inRow
          UnsafeMutableRawBufferPointer(
            rebasing: buffer[
              (piece.lowerBound - byteOffset)..<(piece.upperBound - byteOffset)]
          ).copyMemory(
            from: UnsafeRawBufferPointer(rebasing: scratch[from..<(from + piece.count)]))
        }
      }
    }
  }

  func prefetch(_ shards: [any TensorSource], at byteOffset: Int, byteCount: Int) {
    switch layout {
    case .copied: shards[0].prefetch(parts[0], at: byteOffset, byteCount: byteCount)
    case .rows:
      let end = min(byteOffset + byteCount, descriptor.byteCount)
      EqualParts(byteCount: parts[0].byteCount).forEach(in: byteOffset..<max(byteOffset, end)) {
        index, offset, place in
        shards[owners[index]].prefetch(parts[index], at: offset, byteCount: place.count)
      }
    case .columns, .experts:
      let start = byteOffset / parts.count
      let count = min(byteCount / parts.count + pieceByteCount, parts[0].byteCount - start)
      for (shard, part) in zip(shards, parts) { shard.prefetch(part, at: start, byteCount: count) }
    }
  }
}
