import Architectures
import ByteIO
import GGUF
import Tensors

/// The architecture's keys that a forward pass needs, checked one by one.
struct ArchiveKeys {
  let metadata: Metadata
  private let file: String
  private let architecture: Architecture

  enum Architecture: String {
    case llama, llama4
  }

  private static let architectureKey = "general.architecture"
  /// Far above every published model, low enough that no product of two sizes overflows.
  private static let lengths = 1...(1 << 24)

  init(_ metadata: Metadata, file: String) throws(FormatError) {
    self.metadata = metadata
    self.file = file
    guard let name = metadata[Self.architectureKey]?.string else {
      throw FormatError(
        file: file, field: Self.architectureKey, reason: .missing("the architecture's name"))
    }
    guard let architecture = Architecture(rawValue: name) else {
      throw FormatError(
        file: file, field: Self.architectureKey,
        reason: .unsupported(
          found: "\"\(printable(name, limit: 40))\"", allowed: "\"llama\", \"llama4\""))
    }
    self.architecture = architecture
    try checkWindow()
    if let value = metadata[full("attention.causal")], value.bool != true {
      throw error(
        full("attention.causal"), .unsupported(found: text(value), allowed: "causal attention"))
    }
  }

  func dimensions(_ archive: GGUFFile) throws(FormatError) -> ForwardDimensions {
    let embedding = try required("embedding_length", Self.lengths)
    let heads = try required("attention.head_count", Self.lengths)
    let keyHeads = try optional("attention.head_count_kv", Self.lengths) ?? heads
    guard heads % keyHeads == 0 else {
      throw error(
        full("attention.head_count_kv"),
        .inconsistent("\(keyHeads) does not divide the head count \(heads)"))
    }
    let stated = try optional("attention.key_length", Self.lengths)
    guard let head = stated ?? (embedding % heads == 0 ? embedding / heads : nil) else {
      throw error(
        full("attention.head_count"),
        .inconsistent("\(heads) does not divide the embedding length \(embedding)"))
    }
    guard head % 2 == 0, heads * head <= Self.lengths.upperBound else {
      throw error(
        full(stated == nil ? "attention.head_count" : "attention.key_length"),
        .outOfRange(
          found: "\(heads) heads of \(head)",
          allowed: "an even size, at most \(Self.lengths.upperBound) in all"))
    }
    for key in ["attention.value_length", "rope.dimension_count"] {
      if let other = try optional(key, Self.lengths), other != head {
        throw error(
          full(key),
          .unsupported(found: "\(other)", allowed: "the size of a head of keys, \(head)"))
      }
    }
    let layerCount = try required("block_count", 1...512)
    let feedForward = try required("feed_forward_length", Self.lengths)
    return ForwardDimensions(
      layerCount: layerCount, embeddingLength: embedding,
      feedForwardLength: feedForward, headCount: heads,
      headCountKV: keyHeads, headDimension: head, vocabularySize: try vocabularySize(archive),
      normEpsilon: try positive("attention.layer_norm_rms_epsilon", absent: nil),
      contextLength: try required("context_length", 1...Int(UInt32.max)),
      experts: try experts(layerCount: layerCount, feedForwardLength: feedForward))
  }

  /// Whether layers look back without limit, but for what the architecture itself says.
  private func checkWindow() throws(FormatError) {
    for key in ["attention.sliding_window", "attention.sliding_window_pattern"] {
      guard let value = metadata[full(key)] else { continue }
      // llama4 takes 0 for no chunks at all, and rotates in other layers then.
      let isPlain = architecture == .llama ? value.int == 0 : (value.int ?? 0) > 0
      guard isPlain, key == "attention.sliding_window" else {
        throw error(
          full(key),
          .unsupported(
            found: text(value),
            allowed: architecture == .llama ? "full attention" : "the usual chunks"))
      }
    }
  }

  // MARK: Experts

  /// Far above every published model.
  private static let expertCounts = 1...4096

  private func experts(layerCount: Int, feedForwardLength: Int) throws(FormatError)
    -> ForwardExperts?
  {
    if architecture == .llama, metadata[full("expert_count")].map({ $0.int == 0 }) ?? true {
      return nil
    }
    let count = try required("expert_count", Self.expertCounts)
    let used = try required("expert_used_count", 1...count)
    switch architecture {
    case .llama:
      return ForwardExperts(
        count: count, usedCount: used, feedForwardLength: feedForwardLength, layerStep: 1,
        hasShared: false, weighting: .outputByProbability)
    case .llama4:
      return ForwardExperts(
        count: count, usedCount: used,
        feedForwardLength: try required("expert_feed_forward_length", Self.lengths),
        layerStep: try required("interleave_moe_layer_step", 1...layerCount), hasShared: true,
        weighting: .inputBySigmoid)
    }
  }

  /// What llama.cpp computes, unless keys of our own say otherwise.
  func chunkedAttention(_ dimensions: ForwardDimensions) throws(FormatError) -> ChunkedAttention? {
    guard architecture == .llama4, let experts = dimensions.experts else { return nil }
    let stock = ChunkedAttention.stock(
      layerCount: dimensions.layerCount, expertCount: experts.count)
    typealias Own = NonstockAttention
    let chunk = metadata[Own.chunkLengthKey]
    let floor = metadata[Own.floorKey]
    let scale = metadata[Own.scaleKey]
    let rotates = metadata[Own.rotatesKey]
    let normalizes = metadata[Own.normalizesKey]
    let given = [chunk, floor, scale, rotates, normalizes]
    if given.allSatisfy({ $0 == nil }) { return stock }
    guard let chunk = chunk?.int, chunk >= 0 else { throw own(Own.chunkLengthKey, "a length") }
    guard case .array(.bool(let flags)) = rotates, flags.count == dimensions.layerCount else {
      throw own(Own.rotatesKey, "\(dimensions.layerCount) flags")
    }
    guard let normalizes = normalizes?.bool else { throw own(Own.normalizesKey, "a flag") }
    guard let floor = floor?.double, floor >= 0, floor.isFinite else {
      throw own(Own.floorKey, "a finite number, 0 or more")
    }
    guard let scale = scale?.double, scale.isFinite else {
      throw own(Own.scaleKey, "a finite number")
    }
    return ChunkedAttention(
      chunkLength: chunk == 0 ? nil : chunk, rotates: flags, normalizesRotated: normalizes,
      temperature: floor == 0 ? nil : .init(floor: floor, scale: scale))
  }

  /// All of our keys are there or none.
  private func own(_ key: String, _ allowed: String) -> FormatError {
    guard let value = metadata[key] else { return error(key, .missing("key \(key)")) }
    return error(key, .outOfRange(found: text(value), allowed: allowed))
  }

  /// Rows of the embedding, which tokenizer and metadata may not contradict.
  private func vocabularySize(_ archive: GGUFFile) throws(FormatError) -> Int {
    let name = ReferenceModel.embeddingName
    guard let embedding = archive.tensors.first(where: { $0.name == ExactString(name) }) else {
      throw error("tensors", .missing("tensor \(name)"))
    }
    let rows = embedding.rowCount
    guard Self.lengths.contains(rows) else {
      throw error(
        "tensor \(name)",
        .outOfRange(
          found: "shape \(embedding.shape)", allowed: "1 to \(Self.lengths.upperBound) tokens"))
    }
    let tokens = metadata["tokenizer.ggml.tokens"]?.strings?.count
    for (key, count) in [
      ("tokenizer.ggml.tokens", tokens), (full("vocab_size"), metadata[full("vocab_size")]?.int),
    ] {
      guard let count, count != rows else { continue }
      throw error(
        key, .inconsistent("says \(count) tokens, but \(name) has \(rows) rows"),
        advice: "convert the model again")
    }
    return rows
  }

  /// Radians per position of each pair of a head of `dimension` entries; the divisors are those of
  /// the tensor `rope_freqs.weight`, where there is one.
  func frequencies(dimension: Int, divisors: [Float]?) throws(FormatError) -> [Float] {
    let base = try positive("rope.freq_base", absent: 10_000)
    let scale = try linearFactor()
    let frequencies = RotaryFrequencies.unscaled(base: Double(base), dimension: dimension)
    return frequencies.enumerated().map { pair, frequency in
      frequency / (divisors?[pair] ?? 1) / scale
    }
  }

  func attentionFactor() throws(FormatError) -> Float {
    try positive("rope.scaling.attn_factor", absent: 1)
  }

  private func linearFactor() throws(FormatError) -> Float {
    let key = full("rope.scaling.type")
    let type = metadata[key]
    switch type?.string {
    case "none": return 1
    case "linear": return try positive("rope.scaling.factor", absent: 1)
    case nil where type == nil:
      // Old files give the factor alone.
      let old = try positive("rope.scale_linear", absent: 1)
      return try positive("rope.scaling.factor", absent: old)
    case let name:
      throw error(
        key,
        .unsupported(
          found: name.map { "\"\(printable($0, limit: 40))\"" } ?? "no string",
          allowed: "\"none\", \"linear\""),
        advice: name == "yarn" ? "a forward pass with yarn scaling is not there yet" : nil)
    }
  }

  // MARK: Single keys

  private func full(_ key: String) -> String { "\(architecture.rawValue).\(key)" }

  private func required(_ key: String, _ allowed: ClosedRange<Int>) throws(FormatError) -> Int {
    guard let number = try optional(key, allowed) else { throw missing(key) }
    return number
  }

  private func optional(_ key: String, _ allowed: ClosedRange<Int>) throws(FormatError) -> Int? {
    guard let value = metadata[full(key)] else { return nil }
    guard let number = value.int, allowed.contains(number) else {
      throw error(
        full(key),
        .outOfRange(
          found: text(value), allowed: "\(allowed.lowerBound) to \(allowed.upperBound)"))
    }
    return number
  }

  private func positive(_ key: String, absent: Float?) throws(FormatError) -> Float {
    guard let value = metadata[full(key)] else {
      guard let absent else { throw missing(key) }
      return absent
    }
    guard let number = value.double.map({ Float($0) }), number > 0, number.isFinite else {
      throw error(
        full(key), .outOfRange(found: text(value), allowed: "a finite number above 0"))
    }
    return number
  }

  private func text(_ value: MetadataValue) -> String {
    if let int = value.int { return "\(int)" }
    if let double = value.double { return "\(double)" }
    if let bool = value.bool { return "\(bool)" }
    return "a value of type \(value.ggufType)"
  }

  private func missing(_ key: String) -> FormatError {
    error("gguf.kv", .missing("key \(full(key))"))
  }

  private func error(_ field: String, _ reason: FormatError.Reason, advice: String? = nil)
    -> FormatError
  {
    FormatError(file: file, field: field, reason: reason, advice: advice)
  }
}
