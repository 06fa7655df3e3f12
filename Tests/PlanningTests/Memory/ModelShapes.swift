import Planning
import Tensors

/// Sizes of a published model, and the archive that it makes.
struct ModelShape: Sendable {
  var architecture = "llama"
  var layers: Int
  var embedding: Int
  var heads: Int
  var keyHeads: Int
  var head: Int
  var feedForward: Int
  var vocabulary: Int
  var experts = 0
  var used = 0
  var expertForward = 0
  /// Every so many layers has experts.
  var step = 1
  var isTied = false
  var context = 131_072

  static let llama8B = ModelShape(
    layers: 32, embedding: 4096, heads: 32, keyHeads: 8, head: 128, feedForward: 14_336,
    vocabulary: 128_256)
  static let llama1B = ModelShape(
    layers: 16, embedding: 2048, heads: 32, keyHeads: 8, head: 64, feedForward: 8192,
    vocabulary: 128_256, isTied: true)
  static let mixtral = ModelShape(
    layers: 32, embedding: 4096, heads: 32, keyHeads: 8, head: 128, feedForward: 14_336,
    vocabulary: 32_000, experts: 8, used: 2, expertForward: 14_336, context: 32_768)
  static let scout = ModelShape(
    architecture: "llama4", layers: 48, embedding: 5120, heads: 40, keyHeads: 8, head: 128,
    feedForward: 16_384, vocabulary: 202_048, experts: 16, used: 1, expertForward: 8192,
    context: 10_485_760)
  static let maverick = ModelShape(
    architecture: "llama4", layers: 48, embedding: 5120, heads: 40, keyHeads: 8, head: 128,
    feedForward: 16_384, vocabulary: 202_048, experts: 128, used: 1, expertForward: 8192, step: 2,
    context: 1_048_576)
  /// The trained fixture.
  static let llama3 = ModelShape(
    layers: 6, embedding: 256, heads: 8, keyHeads: 4, head: 32, feedForward: 768, vocabulary: 2048,
    context: 2048)
  /// Experts in every layer, three of four chunked.
  static let smallLlama4 = ModelShape(
    architecture: "llama4", layers: 4, embedding: 256, heads: 8, keyHeads: 4, head: 32,
    feedForward: 512, vocabulary: 2048, experts: 8, used: 1, expertForward: 256, context: 2048)

  var metadata: Metadata {
    var metadata = Metadata()
    metadata["general.architecture"] = .string(architecture)
    func set(_ key: String, _ value: Int) {
      metadata["\(architecture).\(key)"] = .uint32(UInt32(value))
    }
    set("block_count", layers)
    set("context_length", context)
    set("embedding_length", embedding)
    set("feed_forward_length", feedForward)
    set("attention.head_count", heads)
    set("attention.head_count_kv", keyHeads)
    set("attention.key_length", head)
    set("attention.value_length", head)
    set("vocab_size", vocabulary)
    if experts > 0 {
      set("expert_count", experts)
      set("expert_used_count", used)
    }
    if architecture == "llama4" { set("expert_feed_forward_length", expertForward) }
    return metadata
  }

  /// Every matrix in one type, as the archive has them.
  func tensors(_ type: TensorType = .q4_K) -> [MemoryTensor] {
    var tensors: [MemoryTensor] = []
    func add(_ name: String, _ dimensions: Int..., plain: Bool = false) {
      let stored: TensorType = plain || dimensions.count == 1 ? .f32 : type
      let shape = Shape(dimensions)
      tensors.append(
        MemoryTensor(
          name: name, shape: shape, type: stored,
          byteCount: stored.byteCount(weightCount: dimensions.reduce(1, *)) ?? 0))
    }
    add("token_embd.weight", vocabulary, embedding)
    add("output_norm.weight", embedding)
    if !isTied { add("output.weight", vocabulary, embedding) }
    add("rope_freqs.weight", head / 2)
    for layer in 0..<layers {
      let block = "blk.\(layer)."
      add(block + "attn_norm.weight", embedding)
      add(block + "ffn_norm.weight", embedding)
      add(block + "attn_q.weight", heads * head, embedding)
      add(block + "attn_k.weight", keyHeads * head, embedding)
      add(block + "attn_v.weight", keyHeads * head, embedding)
      add(block + "attn_output.weight", embedding, heads * head)
      guard experts > 0, (layer + 1) % step == 0 else {
        add(block + "ffn_gate.weight", feedForward, embedding)
        add(block + "ffn_up.weight", feedForward, embedding)
        add(block + "ffn_down.weight", embedding, feedForward)
        continue
      }
      add(block + "ffn_gate_inp.weight", experts, embedding, plain: true)
      add(block + "ffn_gate_exps.weight", experts, expertForward, embedding)
      add(block + "ffn_up_exps.weight", experts, expertForward, embedding)
      add(block + "ffn_down_exps.weight", experts, embedding, expertForward)
      guard architecture == "llama4" else { continue }
      add(block + "ffn_gate_shexp.weight", expertForward, embedding)
      add(block + "ffn_up_shexp.weight", expertForward, embedding)
      add(block + "ffn_down_shexp.weight", embedding, expertForward)
    }
    return tensors
  }

  func dimensions() throws -> MemoryDimensions {
    try MemoryDimensions(metadata, tensors: tensors(), file: "shape.gguf")
  }
}

/// MiB as llama.cpp prints them: two decimals.
func mebibytes(_ byteCount: Int) -> Double {
  (Double(byteCount) / 1_048_576 * 100).rounded() / 100
}

let gibibyte = 1 << 30
