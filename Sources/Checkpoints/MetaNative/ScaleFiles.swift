import ByteIO
import Tensors

/// `fp8_scales_N.pt`: the scales of the weights of shard N that Meta stores in eight bits.
///
/// Source: formats/meta-native.md, "Scale files"
struct ScaleFiles {
  /// File names in the order of the ranks; empty when there are none.
  let names: [String]

  private static let prefix = "fp8_scales_"
  private static let int4Prefix = "int4_scales_"
  private static let suffix = ".pt"

  /// - Throws: `FormatError` when some are missing, and for those of four-bit weights.
  init(among present: [String], shardCount: Int, folder: String) throws(FormatError) {
    if let name = present.filter({ Self.rank(of: $0, Self.int4Prefix) != nil }).min() {
      throw FormatError(
        file: DirectoryListing.join(folder, name), field: "int4_scales",
        reason: .unsupported(
          found: "four-bit weights of a mixture of experts", allowed: "fp8_scales_N.pt"),
        advice: "start from the model in BF16")
    }
    let ranks = Set(present.compactMap { Self.rank(of: $0, Self.prefix) })
    guard let last = ranks.max() else {
      names = []
      return
    }
    let expected = 0..<shardCount
    if let missing = expected.first(where: { !ranks.contains($0) }) {
      throw FormatError(
        file: folder, field: Self.name(missing),
        reason: .missing(
          "the scales of shard \(missing): \(ranks.count) of \(shardCount) are there"),
        advice: "download the checkpoint again")
    }
    guard last < shardCount else {
      throw FormatError(
        file: folder, field: Self.name(last),
        reason: .inconsistent("there are only \(shardCount) shards"),
        advice: "the files belong to different downloads")
    }
    names = expected.map(Self.name)
  }

  private static func name(_ rank: Int) -> String { "\(prefix)\(rank)\(suffix)" }

  private static func rank(of name: String, _ prefix: String) -> Int? {
    guard name.hasPrefix(prefix), name.hasSuffix(suffix) else { return nil }
    let digits = name.dropFirst(prefix.count).dropLast(suffix.count)
    guard (1...4).contains(digits.utf8.count), let rank = Int(digits), "\(rank)" == digits else {
      return nil
    }
    return rank
  }
}

/// A shard with the scales of its weights as if they were stored beside them.
///
///     scale file   L_feed_forward.wK_N                    [rows]
///     here         layers.L.feed_forward.wK.weight_scale
///
///     of experts   layers.L.feed_forward.experts.w1       [experts, rows]
///     here         layers.L.feed_forward.experts.moe_w_in_eD_F_scale
struct ScaledShard: TensorSource {
  private let weights: any TensorSource
  private let scales: any TensorSource
  let tensors: [TensorDescriptor]
  /// Descriptors in the scale file, by the name that they have here.
  private let stored: [ExactString: TensorDescriptor]

  var files: [String] { weights.files + scales.files }
  var fileByteCounts: [UInt64] { weights.fileByteCounts + scales.fileByteCounts }

  /// - Throws: `FormatError` for an entry of the scale file that is none of a Llama 3.
  init(_ weights: any TensorSource, scales: any TensorSource, rank: Int) throws(FormatError) {
    self.weights = weights
    self.scales = scales
    var tensors = weights.tensors
    var stored: [ExactString: TensorDescriptor] = [:]
    for scale in scales.tensors {
      let ofExperts = Self.expertName(scale.name.string)
      guard let name = ofExperts ?? Self.name(scale.name.string, rank: rank) else {
        throw scales.error(
          scale,
          .unsupported(
            found: "the scale of another tensor",
            allowed: "L_feed_forward.w1_\(rank), w2 and w3 of Llama 3, or "
              + "layers.L.feed_forward.experts.w1, w2 and w3 of Llama 4"))
      }
      guard scale.type == .f32, scale.shape.rank == (ofExperts == nil ? 1 : 2) else {
        throw scales.error(
          scale,
          .unsupported(
            found: "\(scale.type) \(scale.shape)",
            allowed: ofExperts == nil ? "F32 [rows]" : "F32 [experts, rows]"))
      }
      stored[name] = scale
      tensors.append(
        TensorDescriptor(
          name: name, shape: scale.shape, type: scale.type,
          regions: scale.regions.map {
            .init(
              file: $0.file + weights.files.count, fileOffset: $0.fileOffset,
              byteCount: $0.byteCount)
          }))
    }
    self.tensors = tensors
    self.stored = stored
  }

  private static func name(_ key: String, rank: Int) -> ExactString? {
    let parts = key.split(separator: "_", omittingEmptySubsequences: false)
    guard parts.count == 4, let layer = Int(parts[0]), layer >= 0, "\(layer)" == parts[0],
      parts[1] == "feed", ["forward.w1", "forward.w2", "forward.w3"].contains(parts[2]),
      parts[3] == "\(rank)"
    else { return nil }
    return ExactString("layers.\(layer).feed_\(parts[2]).weight_scale")
  }

  /// The scale of the stored tensor that becomes `layers.L.feed_forward.experts.wK`.
  private static func expertName(_ key: String) -> ExactString? {
    guard let (layer, rest) = Llama4Part.divided(key),
      let part = Llama4Part.ofExperts.first(where: { $0.name == rest })
    else { return nil }
    return ExactString(layer + part.stored + "_scale")
  }

  func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    if let scale = stored[tensor.name] {
      try scales.read(scale, at: byteOffset, into: buffer)
    } else {
      try weights.read(tensor, at: byteOffset, into: buffer)
    }
  }

  func prefetch(_ tensor: TensorDescriptor, at byteOffset: Int, byteCount: Int) {
    guard stored[tensor.name] == nil else { return }
    weights.prefetch(tensor, at: byteOffset, byteCount: byteCount)
  }

  func heldByteLimit(threadCount: Int) -> Int {
    weights.heldByteLimit(threadCount: threadCount) + scales.heldByteLimit(threadCount: threadCount)
  }

  func checkUnchanged() throws(FormatError) {
    try weights.checkUnchanged()
    try scales.checkUnchanged()
  }
}
