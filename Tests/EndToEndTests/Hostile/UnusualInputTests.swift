import ByteIO
import GGUF
import Ingot
import StrictJSON
import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Name, type, shape and checksum of every tensor of an archive.
private func tensorSums(_ path: String) throws -> [String] {
  let archive = try GGUFFile(path)
  return try archive.tensors.map { tensor in
    var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
    try bytes.withUnsafeMutableBytes { try archive.read(tensor, at: 0, into: $0) }
    return "\(tensor.name) \(tensor.type) \(tensor.shape) \(bytes.withUnsafeBytes { crc32($0) })"
  }
}

/// The sums that the untouched checkpoint gives.
private enum Expected {
  static let llama3 = sums("llama3")
  static let llama2 = sums("llama2")

  private static func sums(_ model: String) -> [String] {
    let folder = TemporaryFolder()
    let path = folder.file("out.gguf")
    _ = Command.ingot("convert", Fixtures.path("models/\(model)"), "-o", path, "--type", "Q5_0")
    return (try? tensorSums(path)) ?? []
  }
}

/// A variant that has to give the tensors of the original.
private func expectSame(
  _ variant: CheckpointVariant, _ expected: [String], _ comment: String,
  argument: String? = nil
) throws {
  let result = Command.ingot(
    "convert", argument ?? variant.path, "-o", variant.output, "--type", "Q5_0")
  #expect(result.status == 0, "\(comment): \(result.error)")
  #expect(!expected.isEmpty)
  #expect(try tensorSums(variant.output) == expected, "\(comment)")
}

@Test func acceptsHubCacheSnapshot() throws {
  let variant = CheckpointVariant()
  // models--a--b/blobs/HASH and models--a--b/snapshots/REVISION/NAME -> ../../blobs/HASH
  let names = variant.folder.list("checkpoint")
  let revision = "0123456789abcdef0123456789abcdef01234567"
  for (number, name) in names.enumerated() {
    variant.folder.write("models--a--b/blobs/\(number)", try variant.original(name))
    variant.folder.link("models--a--b/snapshots/\(revision)/\(name)", to: "../../blobs/\(number)")
  }
  let snapshot = variant.folder.file("models--a--b/snapshots/\(revision)")
  try expectSame(variant, Expected.llama3, "snapshot", argument: snapshot)
}

@Test func acceptsEverySpellingOfTheDirectory() throws {
  let variant = CheckpointVariant()
  try expectSame(variant, Expected.llama3, "slash", argument: variant.path + "/")
  try expectSame(variant, Expected.llama3, "slashes", argument: variant.path + "//")
  try expectSame(variant, Expected.llama3, "dot", argument: variant.path + "/./")
  for name in ["模型 ünï\u{301}code", "a\nb", "-rf", "%s%n", "🦙.gguf", "a.safetensors"] {
    variant.folder.link(name, to: variant.path)
    try expectSame(variant, Expected.llama3, name, argument: variant.folder.file(name))
  }
  let inside = Command.run([
    "/bin/sh", "-c", "cd \"$1\" && exec \"$0\" convert . -o ../out/out.gguf --type Q5_0",
    Command.ingot, variant.path,
  ])
  #expect(inside.status == 0, "\(inside.error)")
  #expect(try tensorSums(variant.output) == Expected.llama3)
}

@Test func acceptsOneFileAndPaddingAndWhatTheArchiveRecomputes() throws {
  let variant = CheckpointVariant()
  let first = SafetensorsImage(try variant.original(CheckpointVariant.firstShard))
  let second = SafetensorsImage(try variant.original(CheckpointVariant.secondShard))
  for name in [
    CheckpointVariant.firstShard, CheckpointVariant.secondShard, CheckpointVariant.index,
  ] { variant.remove(name) }
  let frequencies = [
    ("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", [0], [UInt8]()),
    ("model.rotary_emb.inv_freq", "F32", [2], [UInt8](repeating: 1, count: 8)),
  ]
  var image = SafetensorsImage(try frequencies + second.tensors + first.tensors)
  image.header += String(repeating: " ", count: 4096 - image.header.utf8.count % 4096)
  variant.write("model.safetensors", image.bytes)
  try expectSame(variant, Expected.llama3, "model.safetensors")
  try expectSame(
    variant, Expected.llama3, "the file itself", argument: variant.path + "/model.safetensors")
  // Other copies of the same weights are left alone.
  variant.write("consolidated.safetensors", "no weights")
  variant.write("model-00001-of-00003.safetensors", "no weights")
  try expectSame(variant, Expected.llama3, "consolidated.safetensors")
}

@Test func acceptsBothConfigurationsAndShardsWithoutIndex() throws {
  let variant = CheckpointVariant()
  variant.write("config.json", try variant.original("config.rope_parameters.json"))
  try expectSame(variant, Expected.llama3, "rope_parameters")
  variant.remove(CheckpointVariant.index)
  try expectSame(variant, Expected.llama3, "no index")
}

/// Widening is exact, so every wider source gives the same archive.
@Test(arguments: ["llama3", "llama2"], ["F32", "F64"])
func acceptsWiderSourceTypes(_ model: String, _ type: String) throws {
  let variant = CheckpointVariant(model)
  let shards =
    model == "llama2"
    ? ["model.safetensors"] : [CheckpointVariant.firstShard, CheckpointVariant.secondShard]
  for shard in shards {
    try variant.editShard(shard) { image in
      image = SafetensorsImage(
        try image.tensors.map { ($0.name, type, $0.shape, widened($0.data, $0.type, to: type)) })
    }
  }
  try expectSame(variant, model == "llama2" ? Expected.llama2 : Expected.llama3, type)
}

private func widened(_ data: [UInt8], _ source: String, to type: String) -> [UInt8] {
  var result: [UInt8] = []
  result.reserveCapacity(data.count * 4)
  for index in stride(from: 0, to: data.count, by: 2) {
    let bits = UInt16(data[index]) | UInt16(data[index + 1]) << 8
    let value = source == "BF16" ? Float(bitPattern: UInt32(bits) << 16) : halfPrecision(bits)
    if type == "F32" {
      withUnsafeBytes(of: value.bitPattern.littleEndian) { result += $0 }
    } else {
      withUnsafeBytes(of: Double(value).bitPattern.littleEndian) { result += $0 }
    }
  }
  return result
}

/// IEEE binary16, without `Float16`, which not every platform has.
private func halfPrecision(_ bits: UInt16) -> Float {
  let magnitude = bits & 0x7FFF
  let value =
    magnitude >= 0x400
    ? Float(bitPattern: (UInt32(magnitude) << 13) + (112 << 23))
    : Float(magnitude) * 0x1p-24
  return bits & 0x8000 == 0 ? value : -value
}

// MARK: Small models of every kind

/// A model made by a formula, and the reference's archive of it.
struct SmallModel: CustomTestStringConvertible, Sendable {
  var name: String
  /// Members of config.json that differ from the plain model's.
  var changes: [String: String]
  var hasAttentionBias = false
  var hasMLPBias = false
  var isTied = false
  var headDimension = 16
  /// Of the whole Q8_0 file.
  var byteCount: Int
  var crc32: UInt32
  var testDescription: String { name }

  private static let plain: [String: String] = [
    "architectures": "[\"LlamaForCausalLM\"]", "model_type": "\"llama\"", "bos_token_id": "2040",
    "eos_token_id": "2041", "hidden_act": "\"silu\"", "hidden_size": "64",
    "intermediate_size": "96", "max_position_embeddings": "512", "num_attention_heads": "4",
    "num_hidden_layers": "2", "num_key_value_heads": "2", "rms_norm_eps": "1e-5",
    "rope_theta": "10000.0", "tie_word_embeddings": "false", "vocab_size": "2048",
    "torch_dtype": "\"float32\"",
  ]

  var configuration: String {
    let members = Self.plain.merging(changes) { $1 }.sorted { $0.key < $1.key }
    return "{" + members.map { "\"\($0.key)\": \($0.value)" }.joined(separator: ", ") + "}"
  }

  /// Tensor number `n` (from 1) holds entries of the sequence `n`.
  var weights: SafetensorsImage {
    var shapes: [(String, [Int])] = [
      ("model.embed_tokens.weight", [2048, 64]), ("model.norm.weight", [64]),
    ]
    if !isTied { shapes.append(("lm_head.weight", [2048, 64])) }
    let (queries, keys) = (headDimension * 4, headDimension * 2)
    for layer in 0..<2 {
      let prefix = "model.layers.\(layer)."
      shapes.append((prefix + "input_layernorm.weight", [64]))
      shapes.append((prefix + "post_attention_layernorm.weight", [64]))
      for (name, shape) in [
        ("self_attn.q_proj", [queries, 64]), ("self_attn.k_proj", [keys, 64]),
        ("self_attn.v_proj", [keys, 64]), ("self_attn.o_proj", [64, queries]),
        ("mlp.gate_proj", [96, 64]), ("mlp.up_proj", [96, 64]), ("mlp.down_proj", [64, 96]),
      ] {
        shapes.append((prefix + name + ".weight", shape))
        if name.hasPrefix("mlp") ? hasMLPBias : hasAttentionBias {
          shapes.append((prefix + name + ".bias", [shape[0]]))
        }
      }
    }
    return SafetensorsImage(
      shapes.enumerated().map { number, tensor in
        (
          tensor.0, "F32", tensor.1,
          Self.bytes(sequence: UInt64(number + 1), count: tensor.1.reduce(1, *))
        )
      })
  }

  /// SplitMix64 by counter; its upper 24 bits become a multiple of 2^-26 below 1/8.
  private static func bytes(sequence: UInt64, count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count * 4)
    for index in 1...UInt64(count) {
      var z = sequence &* 0xD134_2543_DE82_EF95 &+ index &* 0x9E37_79B9_7F4A_7C15
      z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
      z ^= z >> 31
      let value = Float(Int64(z >> 40) - (1 << 23)) * 0x1p-26
      withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 }
    }
    return bytes
  }

  /// Writes the checkpoint `tiny` into a folder.
  func write(to folder: TemporaryFolder) {
    folder.write("tiny/model.safetensors", weights.bytes)
    folder.write("tiny/config.json", configuration)
    for name in [
      "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
      "generation_config.json",
    ] { folder.link("tiny/" + name, to: Fixtures.path("models/llama3/" + name)) }
  }

  /// Small models and what the reference makes of them.
  ///
  /// Origin: convert_hf_to_gguf.py of llama.cpp (release of October 2026), `--outtype f32`, on the
  /// same folder under the name `tiny`, with the name `llama-bpe` given to the pre-tokenizer, then
  /// the strict build of llama-quantize with Q8_0. The archive of `mistral` is that of `plain`.
  static let all: [SmallModel] = [
    SmallModel(name: "plain", changes: [:], byteCount: 405_056, crc32: 2_423_805_660),
    SmallModel(
      name: "biases", changes: ["attention_bias": "true", "mlp_bias": "true"],
      hasAttentionBias: true, hasMLPBias: true, byteCount: 409_344, crc32: 18_100_898),
    SmallModel(
      name: "tied", changes: ["tie_word_embeddings": "true"], isTied: true, byteCount: 265_728,
      crc32: 1_654_147_104),
    SmallModel(
      name: "head-dim", changes: ["head_dim": "32"], headDimension: 32, byteCount: 431_168,
      crc32: 3_536_880_273),
    SmallModel(
      name: "linear", changes: ["rope_scaling": "{\"type\": \"linear\", \"factor\": 4.0}"],
      byteCount: 405_152, crc32: 1_245_018_289),
    SmallModel(
      name: "mistral",
      changes: [
        "architectures": "[\"MistralForCausalLM\"]", "model_type": "\"mistral\"",
        "sliding_window": "null",
      ], byteCount: 405_056, crc32: 2_423_805_660),
  ]
}

@Test(arguments: SmallModel.all)
func smallModelEqualsTheReference(_ model: SmallModel) throws {
  let folder = TemporaryFolder()
  model.write(to: folder)
  let output = folder.file("out.gguf")
  let result = Command.ingot(
    "convert", folder.file("tiny"), "-o", output, "--type", "Q8_0", "--no-provenance")
  #expect(result.status == 0, "\(result.error)")
  let bytes = try PositionalFile.readAll(output, limit: 64 << 20)
  #expect(bytes.count == model.byteCount)
  #expect(bytes.withUnsafeBytes { crc32($0) } == model.crc32)
  #expect(Command.ingot("check", output).status == 0)
}
