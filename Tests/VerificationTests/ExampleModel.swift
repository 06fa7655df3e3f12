import ByteIO
import GGUF
import Tensors
import TestSupport
import Verification

/// A tiny Llama archive in which tests spoil one thing.
struct ExampleModel {
  static let layerCount = 2
  var metadata = Metadata()
  var tensors: [GGUFTensorInfo] = []
  /// Tensor data by name; zeros where nothing is given.
  var data: [ExactString: [UInt8]] = [:]

  init() {
    metadata["general.architecture"] = .string("llama")
    metadata["general.type"] = .string("model")
    metadata["llama.block_count"] = .uint32(2)
    metadata["llama.context_length"] = .uint32(64)
    metadata["llama.embedding_length"] = .uint32(32)
    metadata["llama.feed_forward_length"] = .uint32(96)
    metadata["llama.attention.head_count"] = .uint32(4)
    metadata["llama.attention.head_count_kv"] = .uint32(2)
    metadata["llama.attention.layer_norm_rms_epsilon"] = .float32(1e-5)
    metadata["llama.rope.freq_base"] = .float32(10000)
    metadata["llama.rope.dimension_count"] = .uint32(8)
    metadata["llama.vocab_size"] = .uint32(5)
    metadata["tokenizer.ggml.model"] = .string("gpt2")
    metadata["tokenizer.ggml.tokens"] = .array(
      .string(StringTable(["<s>", "a", "b", "ab", "</s>"])))
    metadata["tokenizer.ggml.token_type"] = .array(.int32([3, 1, 1, 1, 3]))
    metadata["tokenizer.ggml.merges"] = .array(.string(StringTable(["a b"])))
    metadata["tokenizer.ggml.bos_token_id"] = .uint32(0)
    metadata["tokenizer.ggml.eos_token_id"] = .uint32(4)
    metadata["tokenizer.ggml.add_bos_token"] = .bool(true)
    add("token_embd.weight", [5, 32], .q8_0)
    add("output_norm.weight", [32])
    add("output.weight", [5, 32])
    for layer in 0..<Self.layerCount {
      let block = "blk.\(layer)."
      add(block + "attn_norm.weight", [32])
      add(block + "attn_q.weight", [32, 32], .q4_0)
      add(block + "attn_k.weight", [16, 32], .q4_0)
      add(block + "attn_v.weight", [16, 32], .q4_0)
      add(block + "attn_output.weight", [32, 32], .q4_0)
      add(block + "ffn_norm.weight", [32])
      add(block + "ffn_gate.weight", [96, 32], .q4_0)
      add(block + "ffn_up.weight", [96, 32], .q4_0)
      add(block + "ffn_down.weight", [32, 96], .q4_0)
    }
  }

  mutating func add(_ name: String, _ shape: [Int], _ type: TensorType = .f32) {
    tensors.append(GGUFTensorInfo(name: ExactString(name), shape: Shape(shape), type: type))
  }

  mutating func remove(_ name: String) { tensors.removeAll { $0.name == ExactString(name) } }

  mutating func change(_ name: String, _ body: (inout GGUFTensorInfo) -> Void) {
    for index in tensors.indices where tensors[index].name == ExactString(name) {
      body(&tensors[index])
    }
  }

  func bytes() throws -> [UInt8] {
    let layout = try GGUFLayout(metadata: metadata, tensors: tensors)
    var bytes = layout.headerBytes
    bytes += [UInt8](repeating: 0, count: Int(layout.fileByteCount) - bytes.count)
    for (tensor, offset) in zip(tensors, layout.tensorOffsets) {
      guard let given = data[tensor.name] else { continue }
      bytes.replaceSubrange(Int(offset)..<Int(offset) + given.count, with: given)
    }
    return bytes
  }

  /// Runs the check on the archive.
  func check(threadCount: Int = 1) throws -> CheckReport {
    let folder = TemporaryFolder()
    let path = folder.write("model.gguf", try bytes())
    return try ArchiveCheck(rules: .forTests, threadCount: threadCount).run(path)
  }
}

extension ArchiveCheck.BlockRules {
  /// Knows F32, and calls a Q4_0 block invalid whose F16 scale is not finite.
  static let forTests = ArchiveCheck.BlockRules(
    canValidate: { [.f32, .q4_0, .q8_0].contains($0) },
    firstInvalidBlock: { type, blocks, count in
      (0..<count).first { index in
        if type == .f32 {
          let bits = blocks.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)
          return !Float(bitPattern: UInt32(littleEndian: bits)).isFinite
        }
        let scale = blocks.loadUnaligned(
          fromByteOffset: type.bytesPerBlock * index, as: UInt16.self)
        return UInt16(littleEndian: scale) & 0x7C00 == 0x7C00
      }
    })
}
