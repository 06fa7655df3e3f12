import Architectures
import StrictJSON

/// A small valid configuration, some of its members replaced by other JSON.
enum TinyConfiguration {
  private static let members = [
    "architectures": #"["LlamaForCausalLM"]"#, "model_type": #""llama""#, "hidden_size": "64",
    "intermediate_size": "96", "num_hidden_layers": "2", "num_attention_heads": "4",
    "num_key_value_heads": "2", "vocab_size": "48", "rms_norm_eps": "1e-05",
    "max_position_embeddings": "512", "hidden_act": #""silu""#,
  ]

  /// `changes` is JSON by member; an empty text removes the member.
  static func parse(_ changes: [String: String]) throws -> ModelConfiguration {
    let merged = members.merging(changes) { $1 }.filter { !$0.value.isEmpty }
    let text =
      "{" + merged.map { "\"\($0.key)\":\($0.value)" }.sorted().joined(separator: ",") + "}"
    return try ModelConfiguration(
      JSONValue(parsing: Array(text.utf8), file: "config.json"), file: "config.json")
  }
}
