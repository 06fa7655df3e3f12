import Architectures
import ByteIO
import Checkpoints
import Tensors
import Tokenizers

extension InputModel {
  /// Opens a Hugging Face directory: names, shapes and metadata become the archive's.
  ///
  /// Keys come in the reference converter's order: general, architecture, tokenizer.
  init(checkpoint path: String, recipe: Recipe) throws {
    let directory = try CheckpointDirectory(path)
    let configuration = try ModelConfiguration(file: directory.path(of: "config.json"))
    let weights = try dequantizedSource(directory, folder: directory.path)
    let mapping = try ModelMapping(
      configuration, tensors: weights.source.tensors, files: weights.source.files)
    var tokenizerOptions = TokenizerOptions(architecture: mapping.architecture)
    tokenizerOptions.vocabularySize = mapping.vocabularySize
    tokenizerOptions.preTokenizer = recipe.preTokenizer
    tokenizerOptions.chatTemplate = try recipe.chatTemplate
    let tokenizer = try readTokenizer(directory: directory.path, options: tokenizerOptions)

    let general = try generalMetadata(
      directory: directory.path, architecture: mapping.architecture, modelName: recipe.modelName,
      parameterCounts: ParameterCounts(dense: mapping.elementCount))

    var metadata = general.entries
    metadata.merge(mapping.metadata)
    metadata.merge(tokenizer.entries)

    source = weights.source
    let positions = Dictionary(
      uniqueKeysWithValues: source.tensors.enumerated().map { ($1.name, $0) })
    tensors =
      mapping.tensors.compactMap { tensor in
        positions[tensor.source.name].map { position in
          Tensor(
            name: tensor.name, shape: tensor.shape, source: .input(position),
            sourceName: tensor.source.name, storedType: tensor.source.type, keptType: .f32,
            transform: tensor.transform)
        }
      }
      + mapping.generated.enumerated().map { index, tensor in
        Tensor(
          name: tensor.name, shape: tensor.shape, source: .generated(index), sourceName: nil,
          storedType: .f32, keptType: .f32, transform: .identity)
      }
    generated = mapping.generated.map(\.values)
    self.metadata = metadata
    facts = ModelFacts(
      file: path, architecture: mapping.architecture, layerCount: mapping.layerCount,
      headCount: mapping.headCount, headCountKV: mapping.headCountKV,
      expertCount: mapping.expertCount)
    isArchive = false
    folder = directory.path
    partCount = 1
    notes = directory.notes + weights.notes + mapping.notes + general.notes + tokenizer.notes
  }
}

extension Recipe {
  /// Largest chat template that is taken.
  private static var chatTemplateLimit: UInt64 { 1 << 20 }

  /// Text of the chat template file; `nil` when none is given.
  var chatTemplate: String? {
    get throws(FormatError) {
      guard let chatTemplateFile else { return nil }
      let bytes = try PositionalFile.readAll(chatTemplateFile, limit: Self.chatTemplateLimit)
      guard let text = String(validating: bytes, as: UTF8.self) else {
        throw FormatError(
          file: chatTemplateFile, field: "chat template",
          reason: .malformed("text that is not valid UTF-8"))
      }
      return text
    }
  }
}
