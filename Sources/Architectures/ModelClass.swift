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
  /// `head_dim` where the configuration does not say.
  package var defaultHeadSize = HeadSize.computed
  /// `rms_norm_eps` where the configuration does not say.
  package var defaultEpsilon = 1e-6
  /// `rope_theta` where the configuration does not say.
  package var defaultTheta = 10_000.0
  /// What stands before every name of the language model's tensors.
  package var prefix = ""
  package var family = Family.dense
  /// Table of tensor names of the vision tower and its projector; `nil` where no archive of them can
  /// be written.
  package var projectorTable: String?

  /// What a configuration says beyond what it says of a dense Llama.
  package enum Family: String, Hashable, Sendable {
    case dense
    /// Experts in every layer.
    case mixtral
    /// Experts, and layers that attend in chunks.
    case llama4
    /// Layers that attend to a picture, among those of a dense Llama.
    case crossAttention
  }

  package enum HeadSize: Hashable, Sendable {
    /// `hidden_size / num_attention_heads`, written into the archive.
    case computed
    /// The same, not written.
    case unstated
    case fixed(Int)
  }

  /// All known classes, in the order of the table.
  package static let all: [ModelClass] = FormatTable(
    Formats.architectures, name: "architectures/architectures.tsv",
    columns: [
      "class", "architecture", "tensors", "modelType", "contextLength", "keyValueHeads",
      "headSize", "rmsEpsilon", "theta", "prefix", "family", "projector",
    ]
  ).rows.map { row in
    guard let context = Int(row["contextLength"]), let epsilon = Double(row["rmsEpsilon"]),
      let theta = Double(row["theta"]), let family = Family(rawValue: row["family"])
    else { preconditionFailure("architectures.tsv, line \(row.line): no number or family") }
    let headSize: HeadSize
    switch row["headSize"] {
    case "computed": headSize = .computed
    case "unstated": headSize = .unstated
    case let text:
      guard let size = Int(text) else {
        preconditionFailure("architectures.tsv, line \(row.line): no head size")
      }
      headSize = .fixed(size)
    }
    return ModelClass(
      name: row["class"], architecture: row["architecture"], tensorTable: row["tensors"],
      modelType: row["modelType"], defaultContextLength: context,
      defaultKeyValueHeadCount: Int(row["keyValueHeads"]), defaultHeadSize: headSize,
      defaultEpsilon: epsilon, defaultTheta: theta,
      prefix: row["prefix"], family: family,
      projectorTable: row["projector"].isEmpty ? nil : row["projector"])
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
