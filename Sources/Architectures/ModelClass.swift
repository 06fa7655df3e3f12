import Formats

/// A model class that `config.json` can name, and what it means: a row of
/// `formats/architectures/architectures.tsv`.
package struct ModelClass: Hashable, Sendable {
  /// As `config.json` names it, for example `LlamaForCausalLM`.
  package var name: String
  /// As the archive names it, for example `llama`.
  package var architecture: String
  /// Table of tensor names under `formats/architectures/`.
  package var tensorTable: String
  /// `model_type` whose defaults these are.
  package var modelType: String
  /// `max_position_embeddings` where the configuration does not say.
  package var defaultContextLength: Int
  /// `num_key_value_heads` where the configuration does not say; `nil`: all heads.
  package var defaultKeyValueHeadCount: Int?

  /// All known classes, in the order of the table.
  package static let all: [ModelClass] = FormatTable(
    Formats.architectures, name: "architectures/architectures.tsv",
    columns: [
      "class", "architecture", "tensors", "modelType", "contextLength", "keyValueHeads",
    ]
  ).rows.map { row in
    guard let context = Int(row["contextLength"]) else {
      preconditionFailure("architectures.tsv, line \(row.line): no context length")
    }
    return ModelClass(
      name: row["class"], architecture: row["architecture"], tensorTable: row["tensors"],
      modelType: row["modelType"], defaultContextLength: context,
      defaultKeyValueHeadCount: Int(row["keyValueHeads"]))
  }

  /// What `params.json` describes: Meta's own files name no class.
  static let meta = ModelClass(
    name: "Meta's Llama", architecture: "llama", tensorTable: "meta-llama", modelType: "llama",
    defaultContextLength: 2048)

  /// The member that states the number of layers.
  var layerCountName: String { self == .meta ? "n_layers" : "num_hidden_layers" }

  package static func named(_ name: String) -> ModelClass? { all.first { $0.name == name } }
  /// Defaults of a `model_type`; `nil` when none are known.
  static func ofType(_ modelType: String) -> ModelClass? {
    all.first { $0.modelType == modelType }
  }
}
