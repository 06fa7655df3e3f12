import ByteIO
import Tensors

/// What the memory of a run depends on, of one model.
package struct MemoryDimensions: Sendable {
  /// Sizes of one layer.
  package struct Layer: Sendable, Hashable {
    package var headCount: Int
    /// Heads of keys and values, which several query heads share.
    package var keyHeadCount: Int
    /// Width of a feed-forward network; of each expert where there are experts.
    package var feedForward: Int
    package var hasExperts: Bool
    /// Sees only the latest chunk of the context, and keeps no more.
    package var isChunked: Bool
  }

  package var architecture: String
  package var embedding: Int
  package var vocabulary: Int
  package var keyLength: Int
  package var valueLength: Int
  package var expertCount: Int
  package var usedExpertCount: Int
  package var layers: [Layer]
  /// Positions that chunked layers see; 0 where no layer is chunked.
  package var chunk: Int
  /// Context that the model was trained for; `nil` where the archive does not say.
  package var trainedContext: Int?

  /// Layers without positions: every so many; 0 for none.
  var unpositionedStep = 0
  /// Whether queries and keys are normalised after their rotation.
  var normalizesQueries = false
  var scalesExperts = false

  /// Keys of a layer, over all heads.
  func keyWidth(_ layer: Layer) -> Int { layer.keyHeadCount * keyLength }
  func valueWidth(_ layer: Layer) -> Int { layer.keyHeadCount * valueLength }

  /// Chunked and other layers.
  package var chunkedLayerCount: Int { layers.count(where: \.isChunked) }
}

extension MemoryDimensions {
  /// Reads the sizes from an archive's metadata, written or planned.
  ///
  /// - Parameters:
  ///   - metadata: keys of `general` and of the architecture.
  ///   - tensors: names and shapes; layers with experts are those whose tensors say so.
  ///   - file: for errors.
  /// - Throws: `FormatError` where a key is missing or impossible, or the architecture unknown.
  package init(_ metadata: Metadata, tensors: [MemoryTensor], file: String) throws(FormatError) {
    let keys = DimensionKeys(metadata: metadata, file: file)
    let architecture = try keys.architecture()
    let layerCount = try keys.count("block_count", 1...512)
    self.architecture = architecture
    embedding = try keys.count("embedding_length", 1...(1 << 20))
    let heads = try keys.perLayer("attention.head_count", layerCount, absent: nil)
    let keyHeads = try keys.perLayer("attention.head_count_kv", layerCount, absent: heads)
    let width = try keys.perLayer("feed_forward_length", layerCount, absent: nil)
    expertCount = try keys.count("expert_count", 0...65_536, absent: 0)
    usedExpertCount = try keys.count("expert_used_count", 0...65_536, absent: 0)
    let expertWidth = try keys.perLayer("expert_feed_forward_length", layerCount, absent: width)
    keyLength = try keys.count(
      "attention.key_length", 1...65_536, absent: max(1, embedding / max(1, heads[0])))
    valueLength = try keys.count("attention.value_length", 1...65_536, absent: keyLength)
    trainedContext = try keys.count("context_length", 0...(1 << 32), absent: 0)
    if trainedContext == 0 { trainedContext = nil }
    let scale = metadata["\(architecture).expert_weights_scale"]?.double ?? 0
    scalesExperts = scale != 0 && scale != 1
    vocabulary = try Self.vocabulary(metadata, tensors, keys)

    let routed = Set(
      tensors.lazy.filter { $0.name.hasSuffix(".ffn_gate_inp.weight") }.compactMap(\.layer))
    let isLlama4 = architecture == "llama4"
    // llama.cpp gives chunks this length whatever the archive says, except that 0 switches them off.
    let window = try keys.count("attention.sliding_window", 0...(1 << 32), absent: 8192)
    chunk = isLlama4 && window != 0 ? 8192 : 0
    let pattern =
      isLlama4
      ? try keys.count("attention.sliding_window_pattern", 1...512, absent: 4) : 1
    let chunked = chunk > 0
    layers = (0..<layerCount).map { index in
      Layer(
        headCount: heads[index], keyHeadCount: keyHeads[index],
        feedForward: routed.contains(index) ? expertWidth[index] : width[index],
        hasExperts: routed.contains(index),
        isChunked: chunked && index % pattern < pattern - 1)
    }
    unpositionedStep = isLlama4 ? (chunk > 0 ? 4 : layerCount) : 0
    normalizesQueries = isLlama4 && expertCount != 128
    if usedExpertCount > max(expertCount, 1) {
      throw keys.failure(
        "expert_used_count", .outOfRange(found: "\(usedExpertCount)", allowed: "0...\(expertCount)")
      )
    }
  }

  private static func vocabulary(
    _ metadata: Metadata, _ tensors: [MemoryTensor], _ keys: DimensionKeys
  ) throws(FormatError) -> Int {
    if let embedding = tensors.first(where: { $0.name == "token_embd.weight" }),
      let count = embedding.shape.dimensions.first, (1...(1 << 26)).contains(count)
    {
      return count
    }
    if let tokens = metadata["tokenizer.ggml.tokens"]?.strings?.count, tokens > 0 { return tokens }
    return try keys.count("vocab_size", 1...(1 << 26))
  }
}

/// A tensor of an archive, written or planned.
package struct MemoryTensor: Sendable, Hashable {
  package var name: String
  package var shape: Shape
  package var type: TensorType
  package var byteCount: Int
  /// The layer that the name gives.
  package var layer: Int?

  package init(name: String, shape: Shape, type: TensorType, byteCount: Int) {
    self.name = name
    self.shape = shape
    self.type = type
    self.byteCount = byteCount
    let parts = name.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
    layer = parts.count == 3 && parts[0] == "blk" ? Int(parts[1]) : nil
  }

  package init(_ tensor: TensorDescriptor) {
    self.init(
      name: tensor.name.string, shape: tensor.shape, type: tensor.type, byteCount: tensor.byteCount)
  }

  package init(_ tensor: ConversionPlan.Tensor) {
    self.init(
      name: tensor.name.string, shape: tensor.shape, type: tensor.type, byteCount: tensor.byteCount)
  }
}
