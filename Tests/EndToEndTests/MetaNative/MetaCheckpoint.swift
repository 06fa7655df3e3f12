import ByteIO
import Checkpoints
import Tensors
import TestSupport

/// A bundled model written as Meta ships it, from its Hugging Face files.
///
/// Rows of queries and keys go back to Meta's order, which the Hugging Face files permute: within a
/// head of D rows, row 2j + t is row t·D/2 + j there.
///
/// Origin of `Fixtures/models/llama3-meta` and `llama2-meta`: the files that were written with the
/// bundled models when they were trained; `tokenizer.model` in the form that tiktoken reads.
enum MetaCheckpoint {
  private static let layerNames = [
    "input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attention.wq", "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv", "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1", "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
  ]

  private static func name(_ name: String) -> String {
    switch name {
    case "model.embed_tokens.weight": return "tok_embeddings.weight"
    case "model.norm.weight": return "norm.weight"
    case "lm_head.weight": return "output.weight"
    default: break
    }
    let parts = name.split(separator: ".").map(String.init)
    let inner = parts[3..<(parts.count - 1)].joined(separator: ".")
    return "layers.\(parts[2]).\(layerNames[inner] ?? inner).weight"
  }

  /// Writes the model's weights as `shardCount` shards into `folder`.
  ///
  /// - Parameters:
  ///   - model: folder below `Fixtures`.
  ///   - folder: gets `consolidated.NN.pth`.
  ///   - shardCount: divides every dimension that is distributed.
  ///   - headDimension: of the model.
  ///   - embeddingDimension: the dimension of the embedding that is distributed.
  /// - Throws: when the fixture cannot be read.
  static func write(
    _ model: String, to folder: TemporaryFolder, shardCount: Int, headDimension: Int,
    embeddingDimension: Int
  ) throws {
    let source = try CheckpointDirectory(Fixtures.path(model))
    var shards = [[TorchArchive.Tensor]](repeating: [], count: shardCount)
    for tensor in source.tensors {
      var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
      try bytes.withUnsafeMutableBytes { try source.read(tensor, at: 0, into: $0) }
      let name = name(tensor.name.string)
      if name.hasSuffix("wq.weight") || name.hasSuffix("wk.weight") {
        bytes = (0..<tensor.rowCount).flatMap { row in
          let (head, inHead) = row.quotientAndRemainder(dividingBy: headDimension)
          let from = head * headDimension + inHead % 2 * headDimension / 2 + inHead / 2
          return bytes[(from * tensor.bytesPerRow)..<((from + 1) * tensor.bytesPerRow)]
        }
      }
      var dimension: Int?
      if tensor.shape.rank == 2 {
        let isByColumns = name.hasSuffix("wo.weight") || name.hasSuffix("w2.weight")
        dimension = name.hasPrefix("tok_") ? embeddingDimension : isByColumns ? 1 : 0
      }
      for rank in 0..<shardCount {
        shards[rank].append(
          part(tensor, name, bytes, rank: rank, of: shardCount, dimension: dimension))
      }
    }
    for (rank, tensors) in shards.enumerated() {
      let storage = tensors.map(\.storage)[0]
      let frequencies = TorchArchive.Tensor(
        name: "rope.freqs", storage: storage, shape: [headDimension / 2],
        bytes: [UInt8](repeating: 0, count: headDimension))
      folder.write("consolidated.0\(rank).pth", TorchArchive.bytes(tensors + [frequencies]))
    }
  }

  private static func part(
    _ tensor: TensorDescriptor, _ name: String, _ bytes: [UInt8], rank: Int, of count: Int,
    dimension: Int?
  ) -> TorchArchive.Tensor {
    var shape = tensor.shape.dimensions
    var part = bytes
    if let dimension {
      shape[dimension] /= count
      if dimension == 0 {
        part = Array(bytes[(rank * bytes.count / count)..<((rank + 1) * bytes.count / count)])
      } else {
        let width = tensor.bytesPerRow / count
        part = (0..<tensor.rowCount).flatMap { row in
          bytes[(row * tensor.bytesPerRow + rank * width)...].prefix(width)
        }
      }
    }
    return TorchArchive.Tensor(
      name: name, storage: tensor.type == .f16 ? "HalfStorage" : "BFloat16Storage", shape: shape,
      bytes: part)
  }

  /// `Fixtures/models/llama2` as Meta ships it.
  static func llama2(shardCount: Int) throws -> TemporaryFolder {
    let folder = TemporaryFolder()
    try write(
      "models/llama2", to: folder, shardCount: shardCount, headDimension: 32,
      embeddingDimension: 1)
    folder.write("params.json", try Fixtures.bytes("models/llama2-meta/params.json"))
    folder.write("tokenizer.model", try Fixtures.bytes("models/llama2/tokenizer.model"))
    return folder
  }

  /// `Fixtures/models/llama3` as Meta ships it.
  ///
  /// Its rotation is scaled from another length than that of Meta's releases, which their files do
  /// not state: `config.json` does, if it lies beside.
  static func llama3(shardCount: Int, copying names: [String] = []) throws -> TemporaryFolder {
    let folder = TemporaryFolder()
    try write(
      "models/llama3", to: folder, shardCount: shardCount, headDimension: 32,
      embeddingDimension: 0)
    for name in ["params.json", "tokenizer.model"] {
      folder.write(name, try Fixtures.bytes("models/llama3-meta/\(name)"))
    }
    for name in names { folder.write(name, try Fixtures.bytes("models/llama3/\(name)")) }
    return folder
  }
}
