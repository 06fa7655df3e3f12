import Architectures
import ByteIO
import Checkpoints
import Tensors
import Tokenizers

extension InputModel {
  /// Opens a directory of Hugging Face or of Meta: names, shapes and metadata become the archive's.
  ///
  /// With `projector`, its vision tower comes along.
  init(
    checkpoint path: String, projector: ProjectorOutput? = nil, recipe: Recipe, version: String
  ) throws {
    if let folder = try MetaDirectory.folder(of: path) {
      if projector != nil { throw OpenedCheckpoint.noTower(path) }
      let directory = try MetaDirectory(folder)
      try self.init(
        directory, folder: folder, cardFolder: MetaDirectory.cardFolder(of: folder),
        configuration: ModelConfiguration(
          metaParameters: directory.parametersFile, companion: directory.path(of: "config.json"),
          tensors: directory.tensors),
        notes: directory.notes, path: path, recipe: recipe)
    } else {
      let checkpoint = try OpenedCheckpoint(path)
      try self.init(
        checkpoint.source, folder: checkpoint.folder, cardFolder: checkpoint.cardFolder,
        configuration: checkpoint.configuration, notes: checkpoint.notes, path: path,
        recipe: recipe)
      if let projector {
        self.projector = try InputProjector(
          projector, checkpoint, recipe: recipe, version: version)
      } else {
        noteVision(canBeWritten: checkpoint.configuration.modelClass.projectorTable != nil)
      }
    }
  }

  /// Says that there is a vision tower, which the archive has no place for.
  private mutating func noteVision(canBeWritten: Bool) {
    guard visionTensorCount > 0 else { return }
    notes.append(
      "left out: \(visionTensorCount) tensors of the vision tower and its projector"
        + (canBeWritten ? ", which --mmproj FILE writes" : ""))
  }

  /// Keys come in the reference converter's order: general, architecture, tokenizer.
  ///
  /// `folder` holds the tokenizer, `cardFolder` the model card; it also gives the model its name.
  private init(
    _ weights: any TensorSource, folder: String, cardFolder: String,
    configuration: ModelConfiguration, notes directoryNotes: [String], path: String, recipe: Recipe
  ) throws {
    let mapping = try ModelMapping(
      configuration, tensors: weights.tensors, files: weights.files,
      allowsNonstock: recipe.allowsNonstock)
    var tokenizerOptions = TokenizerOptions(architecture: mapping.architecture)
    tokenizerOptions.vocabularySize = mapping.vocabularySize
    tokenizerOptions.preTokenizer = recipe.preTokenizer
    tokenizerOptions.chatTemplate = try recipe.chatTemplate
    let tokenizer = try readTokenizer(directory: folder, options: tokenizerOptions)

    let general = try generalMetadata(
      directory: cardFolder, architecture: mapping.architecture, modelName: recipe.modelName,
      parameterCounts: mapping.parameterCounts)

    var metadata = general.entries
    metadata.merge(mapping.metadata)
    metadata.merge(tokenizer.entries)

    source = weights
    let positions = Dictionary(
      uniqueKeysWithValues: source.tensors.enumerated().map { ($1.name, $0) })
    let quantized = weights as? QuantizedSource
    tensors =
      mapping.tensors.compactMap { tensor in
        positions[tensor.source.name].map { position in
          let blockType = quantized?.blockType(at: position).flatMap {
            Self.hasPlace(forScalesOf: tensor.name, $0) ? $0 : nil
          }
          return Tensor(
            name: tensor.name, shape: tensor.shape, source: .input(position),
            sourceName: tensor.source.name, storedType: tensor.source.type,
            keptType: recipe.isCopy ? Self.copiedType(tensor, blockType) : .f32,
            blockType: blockType, transform: tensor.transform)
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
    self.folder = folder
    partCount = 1
    visionTensorCount = mapping.visionTensorCount
    notes = directoryNotes + mapping.notes + general.notes + tokenizer.notes
  }

  /// Programs look rows of the embedding up without regard to a scale beside it.
  private static func hasPlace(forScalesOf name: ExactString, _ type: TensorType) -> Bool {
    type != .nvfp4 || name != "token_embd.weight"
  }

  /// What `--type copy` writes: matrices as they are, everything else in F32 as programs expect.
  private static func copiedType(_ tensor: MappedTensor, _ blockType: TensorType?) -> TensorType {
    guard tensor.shape.rank > 1 else { return .f32 }
    return blockType ?? (tensor.source.type == .f64 ? .f32 : tensor.source.type)
  }
}

extension ModelMapping {
  /// What the reference counts for the size label: experts are tensors that stack them.
  fileprivate var parameterCounts: ParameterCounts {
    guard expertCount > 0 else { return ParameterCounts(dense: elementCount) }
    var counts = ParameterCounts(
      total: elementCount, shared: 0, perExpert: 0, expertCount: expertCount)
    for tensor in tensors where tensor.shape.rank == 3 {
      counts.perExpert += tensor.source.elementCount / tensor.shape.dimensions[0]
      counts.shared -= tensor.source.elementCount
    }
    counts.shared += elementCount
    return counts
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
