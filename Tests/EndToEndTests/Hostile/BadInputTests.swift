import TestSupport
import Testing

/// A damaged checkpoint, and what the command has to say about it.
struct BadInput: CustomTestStringConvertible, Sendable {
  var name: String
  var status: Int32 = 65
  var model = "llama3"
  var options: [String] = []
  /// Texts that the one line of the error holds: file, place, fault.
  var says: [String]
  var damage: @Sendable (CheckpointVariant) throws -> Void
  var testDescription: String { name }

  init(
    _ name: String, says: String..., status: Int32 = 65, model: String = "llama3",
    options: [String] = [], damage: @escaping @Sendable (CheckpointVariant) throws -> Void
  ) {
    self.name = name
    self.says = says
    self.status = status
    self.model = model
    self.options = options
    self.damage = damage
  }

  /// A changed header of the first shard.
  static func header(
    _ name: String, says: String..., change: @escaping @Sendable (inout SafetensorsImage) -> Void
  ) -> BadInput {
    var input = BadInput(name) { try $0.editShard(CheckpointVariant.firstShard) { change(&$0) } }
    input.says = [CheckpointVariant.firstShard] + says
    return input
  }

  /// A changed member of config.json.
  static func configuration(_ member: String, _ value: String, says: String...) -> BadInput {
    var input = BadInput("\(member) \(value)") { try $0.configure(member, value) }
    input.says = ["config.json", member] + says
    return input
  }

  /// A tensor of the first shard with another shape of the same size, or of another size.
  static func shape(_ tensor: String, _ old: String, _ new: String) -> BadInput {
    var input = BadInput("\(tensor) \(new)") {
      try $0.editShard(CheckpointVariant.firstShard) {
        $0.replace(
          "\"\(tensor)\":{\"dtype\":\"BF16\",\"shape\":\(old)",
          "\"\(tensor)\":{\"dtype\":\"BF16\",\"shape\":\(new)")
      }
    }
    input.says = [CheckpointVariant.firstShard, tensor, new.replacing(",", with: ", ")]
    return input
  }
}

/// One line, nothing written, no signal: what every refusal has in common.
func expectRefusal(
  _ result: CommandResult, status: Int32, says: [String], leaving outputs: [String],
  _ comment: String
) {
  #expect(result.status == status, "\(comment): \(result.error)")
  let errors = result.error.split(separator: "\n").filter { $0.hasPrefix("error: ") }
  let others = result.error.split(separator: "\n").filter {
    !$0.hasPrefix("error: ") && !$0.hasPrefix("note: ")
  }
  #expect(errors.count == 1, "\(comment): \(result.error)")
  #expect(others.isEmpty, "\(comment): \(result.error)")
  for text in says { #expect(errors.first?.contains(text) == true, "\(comment): \(result.error)") }
  #expect(outputs.isEmpty, "\(comment)")
  #expect(result.output.isEmpty, "\(comment)")
}

private let first = CheckpointVariant.firstShard
private let second = CheckpointVariant.secondShard
private let index = CheckpointVariant.index
private let nesting =
  String(repeating: "[", count: 1000) + String(repeating: "]", count: 1000)

private let containers: [BadInput] =
  [
    // The header ends at byte 3256.
    0, 7, 8, 100, 3_255, 3_256, 3_257, 1_051_832, 5_970_103,
  ].map { count in
    BadInput("first shard cut to \(count) bytes", says: first, "bytes") {
      $0.write(first, Array(try $0.original(first).prefix(count)))
    }
  } + [
    BadInput("a byte too many", says: second, "data") {
      $0.write(second, try $0.original(second) + [0])
    },
    .header("length of 2^64 - 1", says: "header length") { $0.declaredByteCount = .max },
    .header("length of 2^63", says: "header length") { $0.declaredByteCount = 1 << 63 },
    .header("length of 100,000,001", says: "header length") { $0.declaredByteCount = 100_000_001 },
    .header("length beyond the file", says: "header", "needs") {
      $0.declaredByteCount = 99_999_999
    },
    .header("length one too small", says: "header") { $0.declaredByteCount = 3_247 },
    .header("length zero", says: "header") { $0.declaredByteCount = 0 },
    .header("header that is no JSON", says: "header") {
      $0.header = String(repeating: "x", count: $0.header.utf8.count)
    },
    .header("header that is an array", says: "header", "object") { $0.header = "[1]" },
    .header("header that nests a thousand deep", says: "a.", "deep") {
      $0.replace("\"format\":\"pt\"}", "\"format\":\"pt\"},\"a\":{\"b\":\(nesting)}")
    },
    .header("overlap", says: "byte", "data_offsets", "inside the tensor before") {
      $0.replace("[1048576,1049088]", "[1048574,1049086]")
    },
    .header("hole", says: "data_offsets", "hole") {
      $0.replace("[1048576,1049088]", "[1048578,1049090]")
    },
    .header("offsets reversed", says: "input_layernorm", "after end") {
      $0.replace("[1048576,1049088]", "[1049088,1048576]")
    },
    .header("negative offset", says: "data_offsets") { $0.replace("[0,1048576]", "[-1,1048575]") },
    .header("offset of 2^64", says: "data_offsets") {
      $0.replace("[0,1048576]", "[18446744073709551616,1]")
    },
    .header("offset in exponents", says: "data_offsets") {
      $0.replace("[0,1048576]", "[0,1048576e0]")
    },
    .header("shape that overflows", says: "shape") {
      $0.replace("[2048,256]", "[4294967296,4294967296,4294967296]")
    },
    .header("duplicate name", says: "duplicate") {
      $0.replace("model.layers.1.input_layernorm.weight", "model.layers.0.input_layernorm.weight")
    },
    .header("duplicate name through an escape", says: "duplicate") {
      $0.replace(
        "model.layers.1.input_layernorm.weight", "\\u006dodel.layers.0.input_layernorm.weight")
    },
    .header("trailing comma", says: "header") {
      $0.replace("{\"__metadata__\"", "{,\"__metadata__\"")
    },
    BadInput("git-lfs pointer", says: second, "git-lfs", "git lfs pull") {
      $0.write(second, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5577040\n")
    },
    BadInput("weights that are HTML", says: second) {
      $0.write(second, "<!DOCTYPE html><html><body>Not found</body></html>")
    },
  ]

private let sets: [BadInput] =
  [
    BadInput("missing shard", says: second, "missing") { $0.remove(second) },
    BadInput("missing shard without an index", says: "shard 2 of 2") {
      $0.remove(second)
      $0.remove(index)
    },
    BadInput("dangling link", says: second, "link") { $0.link(second, to: "/nowhere/blob") },
    BadInput("link to itself", says: second) { $0.link(second, to: second) },
    BadInput("no weights at all", says: "checkpoint", "missing") {
      for name in [first, second, index] { $0.remove(name) }
    },
    BadInput("index that is no JSON", says: index, "byte") {
      $0.write(index, "{\"weight_map\": nope")
    },
    BadInput("empty index", says: index) { $0.write(index, "") },
    BadInput("index without weights", says: index, "weight_map") { $0.write(index, "{}") },
    BadInput("index names a tensor that its shard lacks", says: index, "lm_head.wait") {
      try $0.edit(index, "\"lm_head.weight\"", "\"lm_head.wait\"")
    },
    BadInput("index lacks a tensor", says: index, "lm_head.weight") {
      try $0.edit(index, "    \"lm_head.weight\": \"model-00002-of-00002.safetensors\",\n", "")
    },
    BadInput("index names the other shard", says: index, "lm_head.weight", first, second) {
      try $0.edit(index, "\"lm_head.weight\": \"\(second)\"", "\"lm_head.weight\": \"\(first)\"")
    },
    BadInput("tensor in two shards", says: "model.norm.weight", "duplicate", first) {
      try $0.editShard(first) {
        $0 = SafetensorsImage(
          try $0.tensors + [("model.norm.weight", "BF16", [256], [UInt8](repeating: 0, count: 512))]
        )
      }
    },
  ]
  + [
    "../\(second)", "/etc/passwd", "sub/\(second)", "..", ".", "", "..\\\\\(second)",
    "a\\u0000b", "\(second)\\n", String(repeating: "n", count: 5000),
  ].map { name in
    BadInput("index value \(name.prefix(40))") {
      try $0.edit(index, "\"lm_head.weight\": \"\(second)\"", "\"lm_head.weight\": \"\(name)\"")
    }
  }

private let contents: [BadInput] =
  [
    .shape("model.embed_tokens.weight", "[2048,256]", "[1024,512]"),
    .shape("model.embed_tokens.weight", "[2048,256]", "[524288]"),
    .shape("model.layers.0.self_attn.q_proj.weight", "[256,256]", "[512,128]"),
    .shape("model.layers.0.self_attn.k_proj.weight", "[128,256]", "[256,128]"),
    .shape("model.layers.0.mlp.gate_proj.weight", "[768,256]", "[256,768]"),
    .shape("model.layers.0.mlp.down_proj.weight", "[256,768]", "[768,256]"),
    .shape("model.layers.0.input_layernorm.weight", "[256]", "[1,256]"),
    .shape("model.layers.0.input_layernorm.weight", "[256]", "[0,256]"),
    BadInput("missing tensor", says: "model.layers.0.mlp.up_proj.weight", "missing") {
      $0.remove(index)
      try $0.editShard(first) {
        $0 = SafetensorsImage(
          try $0.tensors.filter { $0.name != "model.layers.0.mlp.up_proj.weight" })
      }
    },
    BadInput("tensor that the class does not have", says: first, "model.layers.0.router.weight") {
      $0.remove(index)
      try $0.editShard(first) {
        $0.replace("model.layers.0.mlp.up_proj.weight", "model.layers.0.router.weight")
      }
    },
    BadInput("layer beyond the last", says: first, "layer 6") {
      $0.remove(index)
      try $0.editShard(first) {
        $0.replace("model.layers.0.mlp.up_proj.weight", "model.layers.6.mlp.up_proj.weight")
      }
    },
    BadInput("layer number with a zero in front", says: first, "model.layers.00.") {
      $0.remove(index)
      try $0.editShard(first) {
        $0.replace("model.layers.0.mlp.up_proj.weight", "model.layers.00.mlp.up_proj.weight")
      }
    },
    BadInput("one bias and not the others", says: "self_attn.q_proj.bias", "missing") {
      $0.remove(index)
      try $0.editShard(first) {
        $0 = SafetensorsImage(
          try $0.tensors + [
            (
              "model.layers.0.self_attn.q_proj.bias", "BF16", [256],
              [UInt8](repeating: 0, count: 512)
            )
          ])
      }
    },
  ]
  + ["F8_E4M3", "F8_E5M2", "I8", "I16"].map { type in
    BadInput("weights of type \(type)", says: first, "model.embed_tokens.weight", type, "not yet") {
      try $0.editShard(first) { image in
        image = SafetensorsImage(
          try image.tensors.map { tensor in
            guard tensor.name == "model.embed_tokens.weight" else { return tensor }
            let width = type == "I16" ? 2 : 1
            return (tensor.name, type, tensor.shape, Array(tensor.data.prefix(2048 * 256 * width)))
          })
      }
    }
  }

private let directories: [BadInput] = [
  BadInput("missing config.json", says: "config.json", "no such file", status: 66) {
    $0.remove("config.json")
  },
  BadInput("missing tokenizer", says: "tokenizer.json", "missing") {
    $0.remove("tokenizer.json")
  },
  BadInput("missing tokenizer.model", says: "tokenizer.model", "missing", model: "llama2") {
    $0.remove("tokenizer.model")
  },
  BadInput("config.json that is no JSON", says: "config.json", "byte") {
    $0.write("config.json", "{'hidden_size': 256}")
  },
  BadInput("config.json that is an array", says: "config.json") { $0.write("config.json", "[]") },
  BadInput("config.json with a duplicate member", says: "config.json", "duplicate") {
    try $0.edit("config.json", "\"hidden_size\": 256", "\"hidden_size\": 256, \"hidden_size\": 256")
  },
  BadInput("config.json that is empty", says: "config.json") { $0.write("config.json", "") },
  BadInput("config.json in UTF-16", says: "config.json") {
    $0.write("config.json", [0xFF, 0xFE] + (try $0.original("config.json")).flatMap { [$0, 0] })
  },
  BadInput("tokenizer.json cut short", says: "tokenizer.json", "byte") {
    $0.write("tokenizer.json", Array(try $0.original("tokenizer.json").dropLast(1000)))
  },
  BadInput("tokenizer.model cut short", says: "tokenizer.model", model: "llama2") {
    $0.write("tokenizer.model", Array(try $0.original("tokenizer.model").dropLast(5)))
  },
  BadInput("tokenizer.model of text", says: "tokenizer.model", model: "llama2") {
    $0.write("tokenizer.model", "this is not a model")
  },
]

private let configurations: [BadInput] =
  [
    .configuration("num_attention_heads", "7"),
    .configuration("num_key_value_heads", "3"),
    .configuration("num_hidden_layers", "0"),
    .configuration("num_hidden_layers", "-6"),
    .configuration("num_hidden_layers", "2147483648"),
    .configuration("num_hidden_layers", "18446744073709551615"),
    .configuration("num_hidden_layers", "6.0"),
    .configuration("num_hidden_layers", "\"6\""),
    .configuration("hidden_size", "256.0"),
    .configuration("hidden_size", "9223372036854775808"),
    .configuration("hidden_size", "-256"),
    .configuration("intermediate_size", "1e3"),
    .configuration("head_dim", "31"),
    .configuration("head_dim", "9223372036854775807"),
    .configuration("rms_norm_eps", "0"),
    .configuration("rms_norm_eps", "-1e-05"),
    .configuration("rms_norm_eps", "\"NaN\""),
    .configuration("rope_theta", "0"),
    .configuration("rope_theta", "-500000.0"),
    .configuration("rope_theta", "1e999"),
    .configuration("rope_type", "\"spiral\""),
    .configuration("architectures", "[\"GPT2LMHeadModel\"],\n  \"x\": [", says: "LlamaForCausalLM"),
    .configuration("max_position_embeddings", "-1"),
    .configuration("hidden_act", "\"relu\""),
    .configuration("num_local_experts", "8"),
    .configuration("quantization_config", "{\"quant_method\": \"gptq\"}"),
  ]
  + ["NaN", "Infinity", "-Infinity", "nan"].map { text in
    BadInput("rms_norm_eps \(text)", says: "config.json", "byte") {
      try $0.configure("rms_norm_eps", text)
    }
  } + [
    // Other sizes than the weights have: the tensor is named, with both shapes.
    BadInput("vocab_size 2047", says: "model-0000", "[2048, 256]", "[2047, 256]") {
      try $0.configure("vocab_size", "2047")
    },
    BadInput("vocab_size 16000000", says: "model-0000", "[16000000, 256]") {
      try $0.configure("vocab_size", "16000000")
    },
    BadInput("num_hidden_layers 7", says: "model.layers.6.", "missing") {
      try $0.configure("num_hidden_layers", "7")
    },
    BadInput("num_hidden_layers 512", says: "model.layers.6.", "missing") {
      try $0.configure("num_hidden_layers", "512")
    },
  ]

/// Any file of a clone without git-lfs says what it is.
private let pointers: [BadInput] =
  ["config.json", "tokenizer.json", "tokenizer_config.json", index].map { name in
    BadInput("git-lfs pointer \(name)", says: name, "git-lfs pointer", "git lfs pull") {
      $0.write(name, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 99\n")
    }
  }

/// Those that no bundled Hugging Face model has.
@Test(arguments: ["params.json", "tokenizer.model", "imatrix"])
func refusesGitPointersOfSmallFiles(_ name: String) throws {
  let folder = try MetaCheckpoint.llama3(shardCount: 1)
  let path = folder.write(name, "version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
  let output = TemporaryFolder()
  let result = Command.run(
    [Command.ingot, "convert", folder.path, "-o", output.file("x.gguf"), "--type", "Q8_0"]
      + (name == "imatrix" ? ["--imatrix", path] : []))
  #expect(result.status == 65, "\(result.error)")
  for text in ["git-lfs pointer", name] {
    #expect(result.error.contains(text), "\(result.error)")
  }
}

@Test(arguments: containers + sets + pointers + contents + directories + configurations)
func refusesBadCheckpoint(_ input: BadInput) throws {
  let variant = CheckpointVariant(input.model)
  try input.damage(variant)
  let result = variant.convert(input.options + ["--type", "Q8_0"])
  #expect(isOfOrder(result.processorSeconds, of: 2))
  expectRefusal(
    result, status: input.status, says: input.says, leaving: variant.outputs, input.name)
}
