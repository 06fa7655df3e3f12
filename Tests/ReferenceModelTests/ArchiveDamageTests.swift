import ByteIO
import GGUF
import ReferenceModel
import Tensors
import TestSupport
import Testing

/// A tiny archive of zeros in which tests spoil one thing.
struct TinyArchive {
  var metadata = Metadata()
  var tensors: [GGUFTensorInfo] = []

  init() {
    metadata["general.architecture"] = .string("llama")
    metadata["llama.block_count"] = .uint32(1)
    metadata["llama.context_length"] = .uint32(64)
    metadata["llama.embedding_length"] = .uint32(32)
    metadata["llama.feed_forward_length"] = .uint32(64)
    metadata["llama.attention.head_count"] = .uint32(4)
    metadata["llama.attention.head_count_kv"] = .uint32(2)
    metadata["llama.attention.layer_norm_rms_epsilon"] = .float32(1e-5)
    metadata["llama.vocab_size"] = .uint32(5)
    metadata["tokenizer.ggml.tokens"] = .array(.string(StringTable(["a", "b", "c", "d", "e"])))
    add("token_embd.weight", [5, 32], .q8_0)
    add("output_norm.weight", [32])
    add("blk.0.attn_norm.weight", [32])
    add("blk.0.attn_q.weight", [32, 32], .q4_0)
    add("blk.0.attn_k.weight", [16, 32], .q4_0)
    add("blk.0.attn_v.weight", [16, 32], .q4_0)
    add("blk.0.attn_output.weight", [32, 32], .q4_0)
    add("blk.0.ffn_norm.weight", [32])
    add("blk.0.ffn_gate.weight", [64, 32], .q4_0)
    add("blk.0.ffn_up.weight", [64, 32], .q4_0)
    add("blk.0.ffn_down.weight", [32, 64], .q4_0)
  }

  mutating func add(_ name: String, _ shape: [Int], _ type: TensorType = .f32) {
    tensors.append(GGUFTensorInfo(name: ExactString(name), shape: Shape(shape), type: type))
  }

  mutating func change(_ name: String, _ body: (inout GGUFTensorInfo) -> Void) {
    for index in tensors.indices where tensors[index].name == ExactString(name) {
      body(&tensors[index])
    }
  }

  func open() throws -> ReferenceModel {
    let layout = try GGUFLayout(metadata: metadata, tensors: tensors)
    var bytes = layout.headerBytes
    bytes += [UInt8](repeating: 0, count: Int(layout.fileByteCount) - bytes.count)
    let folder = TemporaryFolder()
    return try ReferenceModel(archive: folder.write("model.gguf", bytes))
  }
}

/// Damaged archives are refused, with the place.
@Suite struct ArchiveDamageTests {
  @Test func undamagedOpens() throws {
    let model = try TinyArchive().open()
    #expect(model.dimensions.headDimension == 8)
    #expect(model.rotary.frequencies.count == 4 && model.rotary.layout == .neighbours)
    #expect(model.rotary.frequencies[0] == 1 && model.rotary.frequencies[1] == 0.1)
    // Zeros in, zeros out.
    #expect(try model.logits([0, 1, 2]).allSatisfy { $0 == 0 })
  }

  struct Damage: Sendable, CustomTestStringConvertible {
    var key: String
    var value: MetadataValue?
    var says: [String]
    var testDescription: String { "\(key) \(value.map { "\($0)" } ?? "removed")" }
  }

  static let damages =
    [
      "block_count", "context_length", "embedding_length", "feed_forward_length",
      "attention.head_count",
    ].flatMap { name -> [Damage] in
      let key = "llama.\(name)"
      return [
        Damage(key: key, value: nil, says: ["missing", key]),
        Damage(key: key, value: .uint32(0), says: [key, "found 0"]),
        Damage(key: key, value: .uint64(.max), says: [key]),
        Damage(key: key, value: .string("2"), says: [key]),
      ]
    } + [
      Damage(key: "general.architecture", value: nil, says: ["missing"]),
      Damage(key: "general.architecture", value: .string("qwen2"), says: ["qwen2", "llama"]),
      Damage(key: "llama.block_count", value: .uint32(2), says: ["missing tensor blk.1."]),
      Damage(key: "llama.block_count", value: .uint32(513), says: ["512"]),
      Damage(key: "llama.embedding_length", value: .uint32(64), says: ["[5, 32]", "[5, 64]"]),
      Damage(key: "llama.embedding_length", value: .uint32(33), says: ["does not divide"]),
      Damage(key: "llama.attention.head_count_kv", value: .uint32(3), says: ["3 does not divide"]),
      Damage(key: "llama.attention.head_count_kv", value: .uint32(4), says: ["attn_k.weight"]),
      Damage(
        key: "llama.attention.head_count", value: .array(.uint32([4])), says: ["head_count"]),
      Damage(key: "llama.attention.key_length", value: .uint32(7), says: ["an even size"]),
      Damage(key: "llama.attention.key_length", value: .uint32(1 << 24), says: ["at most"]),
      Damage(key: "llama.attention.key_length", value: .uint32(16), says: ["attn_"]),
      Damage(key: "llama.attention.value_length", value: .uint32(4), says: ["value_length"]),
      Damage(key: "llama.rope.dimension_count", value: .uint32(4), says: ["dimension_count"]),
      Damage(
        key: "llama.attention.layer_norm_rms_epsilon", value: .float32(.nan), says: ["epsilon"]),
      Damage(key: "llama.attention.layer_norm_rms_epsilon", value: nil, says: ["missing"]),
      Damage(key: "llama.rope.freq_base", value: .float32(0), says: ["freq_base"]),
      Damage(key: "llama.rope.scaling.type", value: .string("yarn"), says: ["not there yet"]),
      Damage(key: "llama.rope.scaling.type", value: .string("spiral"), says: ["spiral"]),
      Damage(key: "llama.rope.scaling.type", value: .uint32(1), says: ["no string"]),
      Damage(key: "llama.rope.scaling.factor", value: .float32(-2), says: ["scaling.factor"]),
      Damage(
        key: "llama.expert_count", value: .uint32(8), says: ["missing", "expert_used_count"]),
      Damage(key: "llama.expert_count", value: .uint32(5000), says: ["expert_count", "4096"]),
      Damage(
        key: "llama.attention.sliding_window", value: .uint32(64), says: ["sliding_window", "64"]),
      Damage(key: "llama.attention.causal", value: .bool(false), says: ["causal"]),
      Damage(key: "llama.vocab_size", value: .uint32(6), says: ["6 tokens", "5 rows"]),
      Damage(
        key: "tokenizer.ggml.tokens", value: .array(.string(StringTable(["a"]))),
        says: ["1 tokens", "5 rows"]),
    ]

  @Test(arguments: damages) func metadataIsRefused(_ damage: Damage) throws {
    var archive = TinyArchive()
    archive.metadata[damage.key] = damage.value
    let text = formatError(damage.testDescription) { _ = try archive.open() }
    for part in damage.says { #expect(text.contains(part), "\(text)") }
  }

  @Test func tensorsAreRefused() throws {
    func refusal(_ change: (inout TinyArchive) -> Void) -> String {
      var archive = TinyArchive()
      change(&archive)
      return formatError("tensor") { _ = try archive.open() }
    }
    var text = refusal { $0.tensors.removeAll { $0.name == "blk.0.ffn_up.weight" } }
    #expect(text.contains("missing tensor blk.0.ffn_up.weight"), "\(text)")
    text = refusal { $0.tensors.removeAll { $0.name == "token_embd.weight" } }
    #expect(text.contains("missing tensor token_embd.weight"), "\(text)")
    text = refusal { $0.tensors.removeAll() }
    #expect(text.contains("missing tensor"), "\(text)")
    text = refusal { $0.change("blk.0.attn_k.weight") { $0.shape = Shape([32, 32]) } }
    #expect(text.contains("attn_k") && text.contains("[16, 32]"), "\(text)")
    text = refusal { $0.change("blk.0.attn_k.weight") { $0.type = .i32 } }
    #expect(text.contains("attn_k") && text.contains("I32"), "\(text)")
    text = refusal { $0.change("blk.0.ffn_norm.weight") { $0.type = .q8_0 } }
    #expect(text.contains("ffn_norm") && text.contains("for a vector"), "\(text)")
    text = refusal { $0.add("blk.0.attn_q_norm.weight", [8]) }
    #expect(text.contains("attn_q_norm"), "\(text)")
    text = refusal { $0.add("rope_freqs.weight", [3]) }
    #expect(text.contains("rope_freqs") && text.contains("[4]"), "\(text)")
    text = refusal { $0.add("rope_freqs.weight", [4]) }
    #expect(text.contains("finite factors above 0"), "\(text)")
  }

  @Test func linearScalingDividesTheFrequencies() throws {
    let plain = try TinyArchive().open().rotary.frequencies
    for key in ["llama.rope.scaling.factor", "llama.rope.scale_linear"] {
      var archive = TinyArchive()
      archive.metadata[key] = .float32(4)
      #expect(try archive.open().rotary.frequencies == plain.map { $0 / 4 }, "\(key)")
      archive.metadata["llama.rope.scaling.type"] = .string("none")
      #expect(try archive.open().rotary.frequencies == plain)
    }
  }
}
