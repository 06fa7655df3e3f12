import Architectures
import ByteIO
import Formats
import StrictJSON
import TestSupport
import Testing

private func failure(_ changes: [String: String]) throws -> FormatError? {
  do {
    _ = try TinyConfiguration.parse(changes)
    return nil
  } catch let error as FormatError {
    return error
  }
}

private let llama3 =
  #""rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":256"#

@Test func readsBothGenerationsAlike() throws {
  let older = try TinyConfiguration.parse([
    "rope_theta": "500000.0", "rope_scaling": "{\(llama3)}",
  ])
  let newer = try TinyConfiguration.parse([
    "rope_parameters": "{\(llama3),\"rope_theta\":500000}"
  ])
  #expect(older.rotary == newer.rotary)
  #expect(older.rotary.theta == 500_000)
  #expect(
    older.rotary.scaling
      == .llama3(
        .init(
          factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 256)))
  let both = try TinyConfiguration.parse([
    "rope_theta": "500000.0", "rope_scaling": "{\(llama3)}",
    "rope_parameters": "{\(llama3),\"rope_theta\":500000}",
  ])
  #expect(both.rotary == newer.rotary)
  // Numbers are compared as numbers, inside of lists and objects as well.
  _ = try TinyConfiguration.parse([
    "rope_scaling": #"{"type":"yarn","factor":4,"list":[1,{"a":2.0,"b":null}]}"#,
    "rope_parameters": #"{"list":[1.0,{"b":null,"a":2}],"factor":4.0,"rope_type":"yarn"}"#,
  ])
}

@Test func fixturesOfBothGenerationsAgree() throws {
  let older = try ModelConfiguration(file: Fixtures.path("models/llama3/config.json"))
  let newer = try ModelConfiguration(
    file: Fixtures.path("models/llama3/config.rope_parameters.json"))
  #expect(older.rotary == newer.rotary)
  #expect(older.contextLength == 2048)
}

/// Changes, field of the error.
private let faults: [(changes: [String: String], field: String)] = [
  (["architectures": ""], "architectures"),
  (["architectures": "[]"], "architectures"),
  (["architectures": "[1]"], "architectures"),
  (["architectures": #"["GPT2LMHeadModel"]"#], "architectures"),
  (["hidden_size": ""], "hidden_size"),
  (["hidden_size": "0"], "hidden_size"),
  (["hidden_size": "-64"], "hidden_size"),
  (["hidden_size": "64.0"], "hidden_size"),
  (["hidden_size": "\"64\""], "hidden_size"),
  (["hidden_size": "16777217"], "hidden_size"),
  (["hidden_size": "65"], "num_attention_heads"),
  (["intermediate_size": ""], "intermediate_size"),
  (["intermediate_size": "[96]"], "intermediate_size"),
  (["num_hidden_layers": ""], "num_hidden_layers"),
  (["num_hidden_layers": "0"], "num_hidden_layers"),
  (["num_hidden_layers": "513"], "num_hidden_layers"),
  (["num_hidden_layers": "4294967295"], "num_hidden_layers"),
  (["num_attention_heads": "null"], "num_attention_heads"),
  (["num_attention_heads": "0"], "num_attention_heads"),
  (["num_attention_heads": "64", "num_key_value_heads": "64"], "num_attention_heads"),
  (["vocab_size": ""], "vocab_size"),
  (["vocab_size": "99999999999"], "vocab_size"),
  (["num_key_value_heads": "3"], "num_key_value_heads"),
  (["num_key_value_heads": "8"], "num_key_value_heads"),
  (["num_key_value_heads": "0"], "num_key_value_heads"),
  (["num_key_value_heads": "", "model_type": #""other""#], "num_key_value_heads"),
  (["head_dim": "0"], "head_dim"),
  (["head_dim": "15"], "head_dim"),
  (["head_dim": "16777216"], "head_dim"),
  (["rms_norm_eps": "0"], "rms_norm_eps"),
  (["rms_norm_eps": "-1e-5"], "rms_norm_eps"),
  (["rms_norm_eps": "1e400"], "rms_norm_eps"),
  (["rms_norm_eps": "1e-60"], "rms_norm_eps"),
  (["rms_norm_eps": "\"1e-5\""], "rms_norm_eps"),
  (["rms_norm_eps": "", "model_type": #""other""#], "rms_norm_eps"),
  (["max_position_embeddings": "0"], "max_position_embeddings"),
  (["max_position_embeddings": "4294967296"], "max_position_embeddings"),
  (["max_position_embeddings": "", "model_type": #""other""#], "max_position_embeddings"),
  (["rope_theta": "0"], "rope_theta"),
  (["rope_theta": "-1"], "rope_theta"),
  (["rope_theta": "1e39"], "rope_theta"),
  (["rope_theta": "true"], "rope_theta"),
  (["rope_theta": "1e4", "rope_parameters": #"{"rope_theta":1e5}"#], "rope_theta"),
  (["rope_parameters": #"{"rope_theta":0}"#], "rope_parameters.rope_theta"),
  (["rope_scaling": "[]"], "rope_scaling"),
  (["rope_scaling": #"{"factor":2}"#], "rope_scaling.rope_type"),
  (["rope_scaling": #"{"type":"magic","factor":2}"#], "rope_scaling.rope_type"),
  (["rope_scaling": #"{"type":"longrope"}"#], "rope_scaling.rope_type"),
  (["rope_scaling": #"{"type":"linear","rope_type":"yarn"}"#], "rope_scaling.rope_type"),
  (["rope_scaling": #"{"type":"linear"}"#], "rope_scaling.factor"),
  (["rope_scaling": #"{"type":"linear","factor":0}"#], "rope_scaling.factor"),
  (["rope_scaling": #"{"type":"linear","factor":"2"}"#], "rope_scaling.factor"),
  (["rope_scaling": #"{"type":"yarn"}"#], "rope_scaling.factor"),
  (
    ["rope_scaling": "{\(llama3.replacing("8.0", with: "-8"))}"], "rope_scaling.factor"
  ),
  (
    ["rope_scaling": "{\(llama3.replacing("\"low_freq_factor\":1.0,", with: ""))}"],
    "rope_scaling.low_freq_factor"
  ),
  (
    ["rope_scaling": "{\(llama3.replacing(":4.0", with: ":0.5"))}"],
    "rope_scaling.high_freq_factor"
  ),
  (
    ["rope_scaling": "{\(llama3.replacing("256", with: "0"))}"],
    "rope_scaling.original_max_position_embeddings"
  ),
  (
    ["rope_scaling": "{\(llama3)}", "rope_parameters": #"{"rope_type":"default"}"#],
    "rope_scaling"
  ),
  (
    ["rope_parameters": #"{"full_attention":{"rope_type":"default"}}"#],
    "rope_parameters.full_attention"
  ),
  (
    ["rope_scaling": #"{"type":"yarn","factor":4}"#, "model_type": #""other""#],
    "rope_scaling.original_max_position_embeddings"
  ),
  (
    [
      "rope_scaling": #"{"type":"yarn","factor":4}"#, "model_type": #""other""#,
      "original_max_position_embeddings": "0",
    ], "original_max_position_embeddings"
  ),
  (
    [
      "rope_scaling": #"{"type":"yarn","factor":4,"list":[1,{"a":2}]}"#,
      "rope_parameters": #"{"type":"yarn","factor":4,"list":[1,{"a":3}]}"#,
    ], "rope_scaling"
  ),
  (
    [
      "rope_scaling": #"{"type":"yarn","factor":4,"é":1}"#,
      "rope_parameters": #"{"type":"yarn","factor":4,"e\u0301":1}"#,
    ], "rope_scaling"
  ),
  (["partial_rotary_factor": "0.5"], "partial_rotary_factor"),
  (["hidden_act": #""gelu""#], "hidden_act"),
  (["num_local_experts": "8"], "num_local_experts"),
  (["text_config": "{}"], "text_config"),
  (["tie_word_embeddings": "1"], "tie_word_embeddings"),
]

@Test(arguments: faults.indices)
func refuses(_ index: Int) throws {
  let error = try #require(try failure(faults[index].changes), "\(faults[index].changes)")
  #expect(error.field == faults[index].field, "\(error)")
  #expect(error.file == "config.json")
}

@Test func unknownClassNamesTheKnownOnes() throws {
  let error = try #require(try failure(["architectures": #"["GPT2LMHeadModel"]"#]))
  #expect("\(error)".contains("LlamaForCausalLM, LLaMAForCausalLM, MistralForCausalLM"), "\(error)")
}

@Test func refusesWhatIsNoObject() {
  #expect(throws: FormatError.self) { try ModelConfiguration(.array([]), file: "config.json") }
}

/// Sources and targets of the tables are unique, and every class has its table.
@Test func tablesAreSound() throws {
  #expect(Set(ModelClass.all.map(\.name)).count == ModelClass.all.count)
  let leftOut: Set = ["skip", "crossAttention"]
  for name in Set(
    ModelClass.all.flatMap { [$0.tensorTable] + [$0.projectorTable].compactMap(\.self) })
  {
    let bytes = try #require(Formats.tensorNames(name))
    let rows = FormatTable(
      bytes, name: name, columns: ["source", "archive", "transform", "presence", "shape"]
    ).rows
    #expect(Set(rows.map { $0["source"] }).count == rows.count)
    let targets = rows.map { $0["archive"] }.filter { !$0.isEmpty }
    #expect(Set(targets).count == targets.count)
    for row in rows {
      let place = "\(name), line \(row.line)"
      #expect(row["archive"].isEmpty == leftOut.contains(row["presence"]), "\(place)")
      guard !leftOut.contains(row["presence"]) else { continue }
      #expect(row["source"].contains("{L}") == row["archive"].contains("{L}"), "\(place)")
    }
  }
}

/// A configuration that calls for every key writes them in the order of the page.
@Test func keysFollowThePage() throws {
  let yarn =
    #"{"rope_type":"yarn","factor":4,"extrapolation_factor":1,"attention_factor":1,"beta_fast":32,"beta_slow":1}"#
  let configuration = try TinyConfiguration.parse(["is_causal": "false", "rope_scaling": yarn])
  let page = String(
    decoding: try PositionalFile.readAll(
      Fixtures.root + "/formats/architectures/README.md", limit: 1 << 20), as: UTF8.self)
  let keys = page.split(separator: "\n").compactMap { line -> String? in
    let cells = line.split(separator: "|").map { $0.split(separator: " ").joined() }
    guard cells.count == 3, ["u32", "f32", "str", "bool"].contains(cells[1]) else { return nil }
    return String(cells[0].dropFirst().dropLast())
  }
  #expect(keys.count == 25)
  let ofExperts = [
    "expert_count", "expert_used_count", "interleave_moe_layer_step",
    "expert_feed_forward_length",
  ].map { "llama.\($0)" }
  #expect(
    configuration.metadata().keys.map(\.string) == keys.filter { !ofExperts.contains($0) })
}
