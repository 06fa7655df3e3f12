import ByteIO
import Tensors

/// One shard of a Llama 4 with the names and shapes that the running model gives its tensors.
///
///     stored                                             here
///     attention.wqkv.weight [queries + 2·keys, dim]      attention.wq, wk, wv: its rows
///     feed_forward.mlp.fc1_weight [2·F, dim]             feed_forward.w1, w3: its halves
///     feed_forward.experts.moe_w_in_eD_F [E·dim, F]      feed_forward.experts.w1 [E, dim, F]
///     feed_forward.router_DE [dim, E]                    feed_forward.router [E, dim]
///
/// Nothing is held: every tensor here is a range of a stored one, or reads it by strides. The vision
/// tower and statistics of the training are left out.
///
/// Source: formats/meta-native.md, "Llama 4"
struct Llama4Shard: TensorSource {
  private enum Content {
    /// Bytes of the stored tensor from here on.
    case range(TensorDescriptor, start: Int)
    case strided(TensorDescriptor, StridedView)
  }

  private let source: any TensorSource
  private let contents: [ExactString: Content]
  let tensors: [TensorDescriptor]
  /// Tensors of the vision tower and its projector that are left out.
  let visionCount: Int

  var files: [String] { source.files }
  var fileByteCounts: [UInt64] { source.fileByteCounts }

  /// - Throws: `FormatError` where a stored shape does not divide as the sizes say, and for two
  ///   tensors of one meaning.
  init(_ source: any TensorSource, _ sizes: Llama4Sizes) throws(FormatError) {
    self.source = source
    var tensors: [TensorDescriptor] = []
    var contents: [ExactString: Content] = [:]
    var visionCount = 0
    for tensor in source.tensors {
      let name = tensor.name.string
      if name.hasSuffix(Llama4Part.stateSuffix) { continue }
      if Llama4Part.visionPrefixes.contains(where: name.hasPrefix) {
        visionCount += 1
        continue
      }
      let divided = Llama4Part.divided(name)
      let parts = divided.flatMap { Llama4Part.byStoredName[$0.rest] }
      let whole = Llama4Part(stored: name, name: name, form: .whole)
      for part in parts ?? [whole] where part.form != .leftOut {
        let (shape, content) = try Self.content(part.form, tensor, sizes, source)
        let here = ExactString(parts == nil ? name : (divided?.layer ?? "") + part.name)
        guard contents.updateValue(content, forKey: here) == nil else {
          throw source.error(
            tensor, .duplicate("of another tensor that is \(printable(here.string, limit: 120))"))
        }
        tensors.append(
          TensorDescriptor(
            name: here, shape: shape, type: tensor.type, regions: Self.regions(content, shape)))
      }
    }
    self.tensors = tensors
    self.contents = contents
    self.visionCount = visionCount
  }

  private static func content(
    _ form: Llama4Part.Form, _ tensor: TensorDescriptor, _ sizes: Llama4Sizes,
    _ source: any TensorSource
  ) throws(FormatError) -> (Shape, Content) {
    if form == .whole { return (tensor.shape, .range(tensor, start: 0)) }
    guard tensor.shape.rank == 2, !tensor.type.isBlockType else {
      throw source.error(
        tensor,
        .unsupported(found: "\(tensor.type) \(tensor.shape)", allowed: "a matrix of plain weights"))
    }
    let (rows, columns) = (tensor.shape.dimensions[0], tensor.shape.dimensions[1])
    func slice(_ range: Range<Int>) -> (Shape, Content) {
      (Shape([range.count, columns]), .range(tensor, start: range.lowerBound * tensor.bytesPerRow))
    }
    switch form {
    case .queries, .keys, .values:
      // All shards have whole heads of each, in the same proportion.
      let heads = sizes.headCount + 2 * sizes.headCountKV
      let unit = try quotient(rows, heads, "n_heads + 2 · n_kv_heads", tensor, source)
      let (queries, keys) = (unit * sizes.headCount, unit * sizes.headCountKV)
      return switch form {
      case .queries: slice(0..<queries)
      case .keys: slice(queries..<(queries + keys))
      default: slice((queries + keys)..<rows)
      }
    case .firstHalf, .secondHalf:
      let half = try quotient(rows, 2, "the two matrices in it", tensor, source)
      return slice(form == .firstHalf ? 0..<half : half..<rows)
    case .experts:
      let inner = try quotient(rows, sizes.expertCount, "num_experts", tensor, source)
      return (Shape([sizes.expertCount, inner, columns]), .range(tensor, start: 0))
    case .transposed:
      let width = tensor.type.bytesPerBlock
      return (
        Shape([columns, rows]),
        .strided(
          tensor,
          StridedView(
            start: 0, bytesPerElement: width, dimensions: [columns, rows],
            strides: [width, columns * width]))
      )
    case .whole, .leftOut: preconditionFailure("no part of a matrix")
    }
  }

  private static func quotient(
    _ rows: Int, _ divisor: Int, _ meaning: String, _ tensor: TensorDescriptor,
    _ source: any TensorSource
  ) throws(FormatError) -> Int {
    guard rows > 0, rows.isMultiple(of: divisor) else {
      throw source.error(
        tensor, .inconsistent("has \(rows) rows, which \(meaning), \(divisor), does not divide"))
    }
    return rows / divisor
  }

  /// Where the bytes lie; of a part of what is not in one piece, the whole.
  private static func regions(_ content: Content, _ shape: Shape) -> [TensorDescriptor.Region] {
    guard case .range(let tensor, let start) = content, let region = tensor.regions.first,
      tensor.regions.count == 1, region.byteCount == tensor.byteCount
    else {
      switch content {
      case .range(let tensor, _), .strided(let tensor, _): return tensor.regions
      }
    }
    // Checked with the whole that this is a part of.
    let byteCount = tensor.type.byteCount(weightCount: shape.checkedElementCount ?? 0) ?? 0
    return [
      .init(
        file: region.file, fileOffset: region.fileOffset + UInt64(start), byteCount: byteCount)
    ]
  }

  // MARK: Reading

  func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    switch contents[tensor.name] {
    case .range(let stored, let start):
      try source.read(stored, at: start + byteOffset, into: buffer)
    case .strided(let stored, let entries):
      try entries.read(at: byteOffset, into: buffer) { runs, bytes throws(FormatError) in
        try source.read(stored, runs: runs, into: bytes)
      }
    case nil: preconditionFailure("no tensor \(tensor.name)")
    }
  }

  func read(
    _ tensor: TensorDescriptor, runs: ByteRuns, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    guard case .range(let stored, let start) = contents[tensor.name] else {
      try readEach(tensor, runs, into: buffer)
      return
    }
    try source.read(stored, runs: runs.moved(by: start), into: buffer)
  }

  func prefetch(_ tensor: TensorDescriptor, at byteOffset: Int, byteCount: Int) {
    guard case .range(let stored, let start) = contents[tensor.name] else { return }
    source.prefetch(stored, at: start + byteOffset, byteCount: byteCount)
  }

  func heldByteLimit(threadCount: Int) -> Int {
    source.heldByteLimit(threadCount: threadCount) + threadCount * StridedView.scratchByteCount
  }

  func checkUnchanged() throws(FormatError) { try source.checkUnchanged() }
}
