import Architectures
import ByteIO
import StrictJSON
import Testing

/// A small Llama 4, whose text members `changes` replaces; an empty text removes one.
private func llama4(_ changes: [String: String] = [:]) throws -> ModelConfiguration {
  let members = [
    "model_type": #""llama4_text""#, "hidden_size": "64", "intermediate_size": "32",
    "intermediate_size_mlp": "96", "num_hidden_layers": "8", "num_attention_heads": "4",
    "num_key_value_heads": "2", "head_dim": "16", "vocab_size": "48",
  ].merging(changes) { $1 }.filter { !$0.value.isEmpty }
  let text = members.map { "\"\($0.key)\":\($0.value)" }.sorted().joined(separator: ",")
  let document =
    #"{"architectures":["Llama4ForConditionalGeneration"],"model_type":"llama4","text_config":{"#
    + text
    + "}}"
  return try ModelConfiguration(
    JSONValue(parsing: Array(document.utf8), file: "config.json"), file: "config.json")
}

/// Defaults of the framework's own class.
@Test func llama4DefaultsAreTheFrameworks() throws {
  let configuration = try llama4([
    "head_dim": "", "num_key_value_heads": "", "num_attention_heads": "8",
  ])
  #expect(configuration.headDimension == 128)
  #expect(configuration.headCountKV == 8)
  #expect(configuration.rmsEpsilon == 1e-5)
  #expect(configuration.rotary.theta == 500_000)
  #expect(configuration.contextLength == 131_072)
  let experts = try #require(configuration.experts)
  #expect(experts.count == 16 && experts.usedCount == 1 && experts.layerStep == 1)
  #expect(
    configuration.chunkedAttention == ChunkedAttention.stock(layerCount: 8, expertCount: 16))
}

@Test func interleavedLayersHaveExpertsLastInEachGroup() throws {
  let experts = try #require(
    llama4(["interleave_moe_layer_step": "3", "moe_layers": "[5,2]"]).experts)
  #expect((0..<8).filter { experts.areIn(layer: $0) } == [2, 5])
}

@Test func tuningMayBeANumber() throws {
  #expect(try llama4(["attn_temperature_tuning": "4"]).chunkedAttention?.temperature != nil)
  #expect(try llama4(["attn_temperature_tuning": "0"]).chunkedAttention?.temperature == nil)
}

@Test func mixtralDefaultsAreTheFrameworks() throws {
  let configuration = try TinyConfiguration.parse([
    "architectures": #"["MixtralForCausalLM"]"#, "model_type": #""mixtral""#, "rms_norm_eps": "",
    "max_position_embeddings": "",
  ])
  #expect(configuration.rmsEpsilon == 1e-5)
  #expect(configuration.rotary.theta == 1_000_000)
  #expect(configuration.statesHeadDimension == false)
  #expect(configuration.experts?.count == 8 && configuration.experts?.usedCount == 2)
}

/// What llama.cpp would compute differently is named, and marked where it is allowed.
@Test(arguments: [
  ("attention_chunk_size", "24"), ("attention_chunk_size", "null"), ("floor_scale", "16"),
  ("attn_scale", "0.2"), ("use_qk_norm", "false"), ("attn_temperature_tuning", "false"),
  ("no_rope_layers", "[1,1,1,1,1,1,1,0]"), ("no_rope_layer_interval", "2"),
])
func nonstockMembersAreNamed(_ member: String, _ value: String) throws {
  let configuration = try llama4([member: value])
  let refusal = #expect(throws: FormatError.self) {
    try configuration.nonstockMetadata(isAllowed: false)
  }
  let name = member == "no_rope_layer_interval" ? "no_rope_layers" : member
  #expect(refusal?.field == name, "\(String(describing: refusal))")
  #expect(try configuration.nonstockMetadata(isAllowed: true).count == 5)
}

@Test func stockModelsNeedNoKeys() throws {
  #expect(try llama4().nonstockMetadata(isAllowed: false).count == 0)
  let maverick = try llama4(["num_local_experts": "128", "use_qk_norm": "false"])
  #expect(try maverick.nonstockMetadata(isAllowed: false).count == 0)
}

@Test(arguments: [
  ("num_local_experts", "0"), ("num_local_experts", "5000"), ("num_experts_per_tok", "17"),
  ("interleave_moe_layer_step", "9"), ("moe_layers", "[0]"), ("moe_layers", "7"),
  ("no_rope_layers", "[1]"), ("no_rope_layers", "[2,1,1,1,1,1,1,1]"),
  ("layer_types", #"["full_attention"]"#), ("floor_scale", "-1"), ("num_experts", "4"),
  ("intermediate_size", ""),
])
func refusesMembersOfExperts(_ member: String, _ value: String) throws {
  let error = #expect(throws: FormatError.self) { try llama4([member: value]) }
  #expect(error?.field.hasSuffix(member) == true, "\(String(describing: error))")
}
