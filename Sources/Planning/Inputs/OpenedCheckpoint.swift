import Architectures
import ByteIO
import Checkpoints
import Tensors

/// A checkpoint of Hugging Face: its tensors as tables of names know them, and its configuration.
struct OpenedCheckpoint: Sendable {
  let source: any TensorSource
  let configuration: ModelConfiguration
  /// Holds configuration and tokenizer.
  let folder: String
  /// Holds the model card; gives the model its name.
  let cardFolder: String
  let notes: [String]

  init(_ path: String) throws {
    let directory = try CheckpointDirectory(path)
    configuration = try ModelConfiguration(file: directory.path(of: "config.json"))
    let weights = try dequantizedSource(directory, folder: directory.path)
    let modelClass = configuration.modelClass
    switch modelClass.family {
    case .dense: source = weights.source
    case .mixtral, .llama4: source = try ExpertStacks(weights.source)
    case .crossAttention:
      let name = "model.embed_tokens.weight"
      source = LeadingRows(
        weights.source, of: [ExactString(name), ExactString(modelClass.prefix + name)],
        rowCount: configuration.vocabularySize,
        of: configuration.vocabularySize + ModelConfiguration.pictureTokenCount)
    }
    folder = directory.path
    cardFolder = directory.path
    notes = directory.notes + weights.notes
  }

  /// Why no vision tower is written of another input.
  static func noTower(_ path: String) -> UsageError {
    UsageError(
      "--mmproj needs a Hugging Face checkpoint with a vision tower, which \(printable(path)) is not"
    )
  }
}
