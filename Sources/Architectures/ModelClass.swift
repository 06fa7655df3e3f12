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
  package static let all: [ModelClass] = TabTable(Formats.architectures).rows.map { row in
    guard let name = row["class"], let architecture = row["architecture"],
      let tensors = row["tensors"], let modelType = row["modelType"],
      let context = row["contextLength"].flatMap({ Int($0) })
    else { preconditionFailure("architectures.tsv: \(row)") }
    return ModelClass(
      name: name, architecture: architecture, tensorTable: tensors, modelType: modelType,
      defaultContextLength: context,
      defaultKeyValueHeadCount: row["keyValueHeads"].flatMap { Int($0) })
  }

  package static func named(_ name: String) -> ModelClass? { all.first { $0.name == name } }
  /// Defaults of a `model_type`; `nil` when none are known.
  static func ofType(_ modelType: String) -> ModelClass? {
    all.first { $0.modelType == modelType }
  }
}
