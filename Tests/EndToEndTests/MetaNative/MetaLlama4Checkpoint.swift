import TestSupport

/// A random Llama 4 written as Meta ships it, from the tensors that Hugging Face's files have.
///
/// What goes where is what Meta's own joining (`models/checkpoint.py` of llama-models) and its load
/// hooks undo; Tests/Interop/make_meta_releases.py writes the same layout with torch.
struct MetaLlama4Checkpoint {
  let folder = TemporaryFolder()
  private let shardCount: Int
  private var shards: [[TorchArchive.Tensor]]

  /// A BF16 tensor that can be cut.
  private struct Block {
    var shape: [Int]
    var bytes: [UInt8]

    /// Part `index` of `count` equal ones along a dimension.
    func part(_ index: Int, of count: Int, along dimension: Int) -> Block {
      let outer = shape[..<dimension].reduce(1, *)
      let run = shape[(dimension + 1)...].reduce(2, *) * shape[dimension]
      var part = Block(shape: shape, bytes: [])
      part.shape[dimension] /= count
      for row in 0..<outer {
        let start = row * run + index * run / count
        part.bytes += bytes[start..<start + run / count]
      }
      return part
    }

    var transposed: Block {
      var bytes: [UInt8] = []
      for column in 0..<shape[1] {
        for row in 0..<shape[0] {
          let element = row * shape[1] + column
          bytes += self.bytes[2 * element..<2 * element + 2]
        }
      }
      return Block(shape: [shape[1], shape[0]], bytes: bytes)
    }

    func above(_ other: Block) -> Block {
      Block(shape: [shape[0] + other.shape[0], shape[1]], bytes: bytes + other.bytes)
    }

    /// `[a, b, c]` as `[a · b, c]`.
    var flat: Block { Block(shape: [shape[0] * shape[1], shape[2]], bytes: bytes) }
  }

  /// - Parameters:
  ///   - tensors: of a `RandomCheckpoint`.
  ///   - parameters: `params.json`.
  ///   - shardCount: divides every dimension that is distributed.
  init(_ tensors: [RandomCheckpoint.Tensor], parameters: String, shardCount: Int) {
    self.shardCount = shardCount
    shards = .init(repeating: [], count: shardCount)
    let blocks = Dictionary(
      uniqueKeysWithValues: tensors.map {
        ($0.name, Block(shape: $0.shape, bytes: $0.bytes))
      })
    let prefix = "language_model.model.layers."
    for (name, block) in blocks.sorted(by: { $0.key < $1.key }) {
      switch name {
      case "language_model.model.embed_tokens.weight": divide("tok_embeddings.weight", block, 0)
      case "language_model.lm_head.weight": divide("output.weight", block, 0)
      case "language_model.model.norm.weight": copy("norm.weight", block)
      case let name where name.hasPrefix(prefix):
        let parts = name.dropFirst(prefix.count).split(separator: ".", maxSplits: 1)
        put("layers.\(parts[0]).", String(parts[1]), block) { blocks["\(prefix)\(parts[0]).\($0)"] }
      // Vectors of the tower differ from shard to shard.
      case let name where block.shape[0] % shardCount != 0: copy("vision_embeddings.\(name)", block)
      default: divide("vision_embeddings.\(name)", block, 0)
      }
    }
    copy("rope.freqs", Block(shape: [4], bytes: [UInt8](repeating: 0, count: 8)))
    for (rank, tensors) in shards.enumerated() {
      folder.write("consolidated.0\(rank).pth", TorchArchive.bytes(tensors))
    }
    folder.write("params.json", parameters)
  }

  private mutating func put(
    _ layer: String, _ name: String, _ block: Block, beside: (String) -> Block?
  ) {
    let forward = layer + "feed_forward."
    switch name {
    case "input_layernorm.weight": copy(layer + "attention.wqkv.layer_norm_weight", block)
    case "post_attention_layernorm.weight":
      let isDense = beside("feed_forward.gate_proj.weight") != nil
      copy(forward + (isDense ? "mlp.layer_norm_weight" : "norm.weight"), block)
    case "self_attn.q_proj.weight":
      guard let keys = beside("self_attn.k_proj.weight"),
        let values = beside("self_attn.v_proj.weight")
      else { return }
      add(layer + "attention.wqkv.weight") { rank, count in
        [block, keys, values].map { $0.part(rank, of: count, along: 0) }.reduce(into: nil) {
          $0 = $0?.above($1) ?? $1
        }
      }
    case "self_attn.o_proj.weight": divide(layer + "attention.wo.weight", block, 1)
    case "feed_forward.gate_proj.weight":
      guard let up = beside("feed_forward.up_proj.weight") else { return }
      add(forward + "mlp.fc1_weight") { rank, count in
        block.part(rank, of: count, along: 0).above(up.part(rank, of: count, along: 0))
      }
    case "feed_forward.down_proj.weight": divide(forward + "mlp.fc2_weight", block, 1)
    case "feed_forward.router.weight": copy(forward + "router_DE", block.transposed)
    case "feed_forward.shared_expert.gate_proj.weight":
      divide(forward + "w_in_shared_FD.weight", block, 0)
    case "feed_forward.shared_expert.up_proj.weight":
      divide(forward + "w_swiglu_FD.weight", block, 0)
    case "feed_forward.shared_expert.down_proj.weight":
      divide(forward + "w_out_shared_DF.weight", block, 1)
    case "feed_forward.experts.gate_up_proj":
      for (half, stored) in ["moe_w_in_eD_F", "moe_w_swiglu_eD_F"].enumerated() {
        add(forward + "experts." + stored) { rank, count in
          block.part(half, of: 2, along: 2).part(rank, of: count, along: 2).flat
        }
      }
    case "feed_forward.experts.down_proj":
      add(forward + "experts.moe_w_out_eF_D") { rank, count in
        block.part(rank, of: count, along: 1).flat
      }
    default: break  // Taken with another.
    }
  }

  private mutating func divide(_ name: String, _ block: Block, _ dimension: Int) {
    add(name) { rank, count in block.part(rank, of: count, along: dimension) }
  }

  private mutating func copy(_ name: String, _ block: Block) { add(name) { _, _ in block } }

  private mutating func add(_ name: String, _ part: (Int, Int) -> Block?) {
    for rank in 0..<shardCount {
      guard let block = part(rank, shardCount) else { continue }
      shards[rank].append(
        TorchArchive.Tensor(
          name: name, storage: "BFloat16Storage", shape: block.shape, bytes: block.bytes))
    }
  }
}
