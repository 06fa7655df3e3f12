import ByteIO
import GGUF
import ReferenceModel
import StrictJSON
import Tensors
import TestSupport
import Testing

/// Damaged checkpoints with experts are refused on their own road, with the place.
@Suite struct ExpertDamageTests {
  typealias Tensor = RandomCheckpoint.Tensor

  private func refusal(
    _ model: String, _ changes: [String: Int] = [:], _ edit: (inout [Tensor]) -> Void = { _ in }
  ) throws -> String {
    let checkpoint = try RandomCheckpoint(
      model,
      changes: changes.mapValues {
        .number(JSONNumber(text: "\($0)", isIntegerLiteral: true))
      }, edit: edit)
    return formatError(model) { _ = try ReferenceModel(checkpoint: checkpoint.path) }
  }

  @Test func missingExpertIsNamed() throws {
    var text = try refusal("mixtral") { tensors in
      tensors.removeAll { $0.name.contains("layers.1.block_sparse_moe.experts.3.w2") }
    }
    #expect(text.contains("expert 3 of layer 1"), "\(text)")
    text = try refusal("llama4-16-experts") { tensors in
      tensors.removeAll { $0.name.hasSuffix("layers.2.feed_forward.experts.down_proj") }
    }
    #expect(text.contains("experts of layer 2"), "\(text)")
  }

  @Test func wrongCountsAreRefused() throws {
    var text = try refusal("mixtral", ["num_local_experts": 7])
    #expect(text.contains("expert 7, the model has 7"), "\(text)")
    text = try refusal("mixtral", ["num_local_experts": 9])
    #expect(text.contains("[9, 64]"), "\(text)")
    text = try refusal("llama4-16-experts", ["intermediate_size": 48])
    #expect(text.contains("experts.") && text.contains("[16, 48, 64]"), "\(text)")
  }

  @Test func routerOfWrongWidthIsRefused() throws {
    let text = try refusal("llama4-16-experts") { tensors in
      for index in tensors.indices where tensors[index].name.hasSuffix("router.weight") {
        tensors[index].shape.reverse()
      }
    }
    #expect(text.contains("router.weight") && text.contains("[16, 64]"), "\(text)")
  }

  @Test func expertsInDenseLayersAreRefused() throws {
    let text = try refusal("llama4-every-second") { tensors in
      for index in tensors.indices
      where tensors[index].name.contains("layers.1.feed_forward.experts.down_proj") {
        tensors[index].name = "language_model.model.layers.0.feed_forward.experts.down_proj"
      }
    }
    #expect(text.contains("layers.0.feed_forward.experts.down_proj"), "\(text)")
  }

  @Test func theSameExpertsTwiceAreRefused() throws {
    let text = try refusal("llama4-16-experts") { tensors in
      guard var copy = tensors.first(where: { $0.name.hasSuffix("experts.down_proj") }) else {
        return
      }
      copy.name.removeFirst("language_model.".count)
      tensors.append(copy)
    }
    #expect(text.contains("experts.down_proj") && text.contains("another tensor"), "\(text)")
  }
}

extension TinyArchive {
  /// The same as a Llama 4 with four experts.
  fileprivate static func llama4() -> TinyArchive {
    var archive = TinyArchive()
    var metadata = Metadata()
    for key in archive.metadata.keys {
      let name = key.string
      let renamed = name.hasPrefix("llama.") ? "llama4." + name.dropFirst("llama.".count) : name
      metadata[ExactString(renamed)] = archive.metadata[key]
    }
    archive.metadata = metadata
    archive.metadata["general.architecture"] = .string("llama4")
    archive.metadata["llama4.expert_count"] = .uint32(4)
    archive.metadata["llama4.expert_used_count"] = .uint32(1)
    archive.metadata["llama4.expert_feed_forward_length"] = .uint32(32)
    archive.metadata["llama4.interleave_moe_layer_step"] = .uint32(1)
    archive.tensors.removeAll {
      ["blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight"].contains($0.name)
    }
    archive.add("blk.0.ffn_gate_inp.weight", [4, 32])
    for name in ["gate", "up", "down"] {
      archive.add("blk.0.ffn_\(name)_exps.weight", [4, 32, 32], .q4_0)
      archive.add("blk.0.ffn_\(name)_shexp.weight", [32, 32], .q4_0)
    }
    return archive
  }
}

/// Damaged archives with experts.
@Suite struct ExpertArchiveDamageTests {
  @Test func undamagedOpens() throws {
    let model = try TinyArchive.llama4().open()
    #expect(model.dimensions.experts?.count == 4)
    #expect(model.attention?.chunkLength == 8192 && model.attention?.rotates == [true])
    #expect(try model.logits([0, 1, 2]).allSatisfy { $0 == 0 })
  }

  private static let own = "ingot.attention."

  @Test(
    arguments: [
      ("llama4.expert_count", nil, "expert_count"),
      ("llama4.expert_count", .uint32(0), "found 0"),
      ("llama4.expert_count", .uint32(3), "[4, 32]"),
      ("llama4.expert_used_count", .uint32(5), "1 to 4"),
      ("llama4.expert_used_count", nil, "expert_used_count"),
      ("llama4.expert_feed_forward_length", .uint32(64), "[4, 64, 32]"),
      ("llama4.interleave_moe_layer_step", .uint32(2), "1 to 1"),
      ("llama4.attention.sliding_window", .uint32(0), "sliding_window"),
      ("ingot.attention.chunk_length", .uint32(7), "ingot.attention.rotates"),
      ("ingot.attention.rotates", .array(.bool([true])), "ingot.attention.chunk_length"),
    ] as [(ExactString, MetadataValue?, String)])
  func metadataIsRefused(_ key: ExactString, _ value: MetadataValue?, _ says: String) throws {
    var archive = TinyArchive.llama4()
    archive.metadata[key] = value
    let text = formatError("\(key)") { _ = try archive.open() }
    #expect(text.contains(says), "\(text)")
  }

  @Test(
    arguments: [
      ("chunk_length", .int32(-1)), ("rotates", .array(.bool([true, true]))),
      ("normalizes_rotated", .uint32(1)), ("temperature_floor", .float32(-1)),
      ("temperature_scale", .float32(.nan)),
    ] as [(String, MetadataValue)])
  func ownKeysAreChecked(_ key: String, _ value: MetadataValue) throws {
    var archive = TinyArchive.llama4()
    let valid: [(String, MetadataValue)] = [
      ("chunk_length", .uint32(4)), ("rotates", .array(.bool([true]))),
      ("normalizes_rotated", .bool(false)), ("temperature_floor", .float32(0)),
      ("temperature_scale", .float32(0)),
    ]
    for (name, value) in valid { archive.metadata[ExactString(Self.own + name)] = value }
    #expect(try archive.open().attention?.chunkLength == 4)
    #expect(try archive.open().attention?.temperature == nil)
    archive.metadata[ExactString(Self.own + key)] = value
    let text = formatError(key) { _ = try archive.open() }
    #expect(text.contains(Self.own + key), "\(text)")
  }

  @Test func experts() throws {
    var archive = TinyArchive.llama4()
    archive.tensors.removeAll { $0.name == "blk.0.ffn_up_exps.weight" }
    for expert in [0, 1, 3] { archive.add("blk.0.ffn_up.\(expert).weight", [32, 32], .q8_0) }
    let text = formatError("gap") { _ = try archive.open() }
    #expect(text.contains("expert 2 of layer 0"), "\(text)")
    archive.add("blk.0.ffn_up.2.weight", [32, 32], .q4_0)
    #expect(try archive.open().logits([0, 1]).allSatisfy { $0 == 0 })
    archive.add("blk.0.ffn_up_exps.weight", [4, 32, 32], .q4_0)
    let twice = formatError("twice") { _ = try archive.open() }
    #expect(twice.contains("stacked"), "\(twice)")
  }
}
