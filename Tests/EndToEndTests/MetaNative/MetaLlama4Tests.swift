import ByteIO
import GGUF
import Ingot
import StrictJSON
import TestSupport
import Testing

/// The same random Llama 4 behind both doors.
private struct BothDoors {
  let hub: RandomCheckpoint
  let meta: TemporaryFolder

  static let parameters = [
    "llama4-16-experts": #"""
    {"dim": 64, "n_layers": 4, "n_heads": 4, "n_kv_heads": 2, "vocab_size": 2048,
     "multiple_of": 32, "ffn_dim_multiplier": 0.2, "ffn_exp": 4.0, "norm_eps": 1e-05,
     "rope_theta": 500000.0, "use_scaled_rope": true, "attention_chunk_size": 8192,
     "nope_layer_interval": 4, "use_qk_norm": true, "vision_args": {"dim": 32},
     "moe_args": {"num_experts": 16, "top_k": 1, "interleave_moe_layer_step": 1,
     "capacity_factor": 1.0, "auto_scale_F": true}}
    """#,
    "llama4-every-second": #"""
    {"dim": 64, "n_layers": 4, "n_heads": 4, "n_kv_heads": 2, "vocab_size": -1,
     "multiple_of": 32, "ffn_dim_multiplier": 0.39, "ffn_exp": 4.0, "norm_eps": 1e-05,
     "rope_theta": 500000.0, "use_scaled_rope": true, "attention_chunk_size": 8192,
     "nope_layer_interval": 4, "use_qk_norm": true, "attn_temperature_tuning": true,
     "moe_args": {"num_experts": 4, "top_k": 2, "interleave_moe_layer_step": 2,
     "capacity_factor": 2.0}}
    """#,
  ]

  init(
    _ model: String, shardCount: Int, parameters: String? = nil,
    copying names: [String] = ["config.json", "tokenizer.json", "tokenizer_config.json"]
  ) throws {
    var tensors: [RandomCheckpoint.Tensor] = []
    hub = try RandomCheckpoint(model) { tensors = $0 }
    meta =
      MetaLlama4Checkpoint(
        tensors, parameters: parameters ?? Self.parameters[model] ?? "", shardCount: shardCount
      ).folder
    for name in names {
      meta.write(name, try PositionalFile.readAll(hub.folder.file(name), limit: 1 << 24))
    }
  }
}

private func convert(_ path: String, _ type: String, to output: String) throws -> GGUFFile {
  var recipe = Recipe()
  recipe.type = type
  _ = try Converter(
    checkpoint: path, output: output, recipe: recipe, memoryLimit: testMemoryLimit
  ).run()
  return try GGUFFile(output)
}

private func tensors(_ archive: GGUFFile) throws -> [String] {
  try archive.tensors.map { tensor in
    var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
    try bytes.withUnsafeMutableBytes { try archive.read(tensor, at: 0, into: $0) }
    return "\(tensor.name) \(tensor.shape) \(tensor.type) \(bytes.withUnsafeBytes { crc32($0) })"
  }
}

@Suite(.serialized) struct MetaLlama4Tests {
  @Test(arguments: ["llama4-16-experts", "llama4-every-second"], [1, 2])
  func isTheSameBehindBothDoors(_ model: String, _ shardCount: Int) throws {
    let doors = try BothDoors(model, shardCount: shardCount)
    let folder = TemporaryFolder()
    for type in ["F32", "Q4_0"] {
      let meta = try convert(doors.meta.path, type, to: folder.file("meta.gguf"))
      let hub = try convert(doors.hub.path, type, to: folder.file("hub.gguf"))
      #expect(try tensors(meta) == tensors(hub))
      func keys(_ archive: GGUFFile) -> [ExactString] {
        archive.metadata.keys.filter {
          !$0.string.hasPrefix("general.") && !$0.string.hasPrefix("ingot.source")
        }
      }
      #expect(keys(meta) == keys(hub))
      for key in keys(hub) { #expect(meta.metadata[key] == hub.metadata[key], "\(key)") }
    }
  }

  /// The forward pass under Meta's names and the archive of the other door: the same logits.
  @Test(arguments: ["llama4-16-experts", "llama4-every-second"])
  func verifiesAcrossDoors(_ model: String) throws {
    let doors = try BothDoors(model, shardCount: 2)
    let folder = TemporaryFolder()
    _ = try convert(doors.hub.path, "F32", to: folder.file("hub.gguf"))
    let result = Command.ingot(
      "verify", doors.meta.path, folder.file("hub.gguf"), "--text", Fixtures.path("text/eval.txt"),
      "--context", "64", "--chunks", "4", "--max-mean-kld", "0.000001")
    #expect(result.status == 0, "\(result.output.prefix(2000))\(result.error)")
  }

  /// Without any file of the other door: what is not stated is Scout's.
  @Test func isReadWithoutAnyOtherFile() throws {
    let doors = try BothDoors("llama4-16-experts", shardCount: 2, copying: [])
    doors.meta.write(
      "tokenizer.model", try Fixtures.bytes("models/llama3-meta/tokenizer.model"))
    let folder = TemporaryFolder()
    let archive = try convert(doors.meta.path, "Q8_0", to: folder.file("meta.gguf"))
    #expect(archive.metadata["general.architecture"]?.string == "llama4")
    #expect(archive.metadata["llama4.context_length"] == .uint32(262_144))
    #expect(archive.metadata["llama4.expert_feed_forward_length"] == .uint32(32))
    #expect(archive.metadata["llama4.feed_forward_length"] == .uint32(64))
    #expect(archive.metadata["tokenizer.ggml.pre"]?.string == "llama4")
    #expect(archive.tensors.contains { $0.name == "rope_freqs.weight" })
    let result = Command.ingot(
      "verify", doors.meta.path, folder.file("meta.gguf"), "--text",
      Fixtures.path("text/eval.txt"), "--context", "64", "--chunks", "2")
    #expect(result.status == 0, "\(result.output.prefix(2000))\(result.error)")
    let inspected = Command.ingot("inspect", doors.meta.path)
    #expect(inspected.status == 0, "\(inspected.error)")
  }

  @Test(arguments: [
    (#""num_experts": 16"#, #""num_experts": 12"#, "num_experts, 12"),
    (#""num_experts": 16"#, #""num_experts": 8"#, "needs [8, 32, 64]"),
    (#""num_experts": 16"#, #""num_experts": 0"#, "num_experts"),
    (#""num_experts": 16,"#, "", "num_experts"),
    (#""n_kv_heads": 2"#, #""n_kv_heads": 4"#, "n_heads + 2 · n_kv_heads, 12"),
    (#""n_kv_heads": 2,"#, "", "n_heads + 2 · n_kv_heads, 12"),
    (#""ffn_exp": 4.0,"#, "", "ffn_exp"),
    (#""ffn_exp": 4.0"#, #""ffn_exp": 8.0"#, "feed-forward length of 64"),
    (#""auto_scale_F": true"#, #""auto_scale_F": false"#, "feed-forward length of 64"),
    (#""capacity_factor": 1.0"#, #""capacity_factor": 1e9"#, "capacity_factor"),
    (#""top_k": 1"#, #""top_k": 17"#, "top_k"),
    (#""top_k": 1"#, #""use_shared_expert": false"#, "use_shared_expert"),
    (#""top_k": 1"#, #""eval_with_saved_stats": true"#, "eval_with_saved_stats"),
    (#""interleave_moe_layer_step": 1"#, #""interleave_moe_layer_step": 2"#, "its layer is dense"),
    (#""use_qk_norm": true"#, #""use_qk_norm": false"#, "--allow-nonstock"),
    (#""nope_layer_interval": 4"#, #""nope_layer_interval": 3"#, "--allow-nonstock"),
    (#""dim": 64,"#, #""dim": 64, "attn_temperature_tuning": false,"#, "--allow-nonstock"),
    (#""dim": 64,"#, #""dim": 64, "unheard_of": 5,"#, "unheard_of"),
  ])
  func refusesWhatContradicts(_ text: String, _ other: String, _ says: String) throws {
    var parameters = BothDoors.parameters["llama4-16-experts"] ?? ""
    precondition(parameters.contains(text))
    parameters.replace(text, with: other)
    let doors = try BothDoors(
      "llama4-16-experts", shardCount: 1, parameters: parameters,
      copying: ["tokenizer.json", "tokenizer_config.json"])
    let folder = TemporaryFolder()
    let result = Command.ingot("convert", doors.meta.path, "-o", folder.file("out.gguf"))
    #expect(result.status == 65, "\(result.status) \(result.error)")
    #expect(result.error.contains(says), "\(result.error)")
    #expect(result.error.split(separator: "\n").count { $0.hasPrefix("error") } == 1)
    #expect(folder.list().isEmpty)
  }

  @Test func aConfigurationOfAnotherModelIsRefused() throws {
    let doors = try BothDoors("llama4-16-experts", shardCount: 1)
    let path = doors.meta.file("config.json")
    var text = String(
      decoding: try PositionalFile.readAll(path, limit: 1 << 20), as: UTF8.self)
    text.replace(#""interleave_moe_layer_step":1"#, with: #""interleave_moe_layer_step":2"#)
    doors.meta.write("config.json", text)
    let folder = TemporaryFolder()
    let result = Command.ingot("convert", doors.meta.path, "-o", folder.file("out.gguf"))
    #expect(result.status == 65 && result.error.contains("different models"), "\(result.error)")
  }
}
