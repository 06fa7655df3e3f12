import ByteIO
import Checkpoints
import GGUF
import Planning
import ReferenceModel
import Tensors
import Tokenizers

/// A model of either kind, opened by the road that its kind has, and its tokenizer.
package struct OpenedModel: Sendable {
  /// As the user gave it.
  package var path: String
  package var model: ReferenceModel
  package var encoder: TokenEncoder
  /// Of a checkpoint.
  package var folder: String?
  /// Of an archive.
  package var metadata: Metadata?

  package init(_ path: String) throws {
    self.path = path
    switch try InputKind(path) {
    case .archive:
      model = try ReferenceModel(archive: path)
      guard let archive = model.source as? GGUFFile else { preconditionFailure("no archive") }
      encoder = try TokenEncoder(archive: archive.metadata, file: path)
      metadata = archive.metadata
    case .directory, .safetensors, .pytorch:
      model = try ReferenceModel(checkpoint: path)
      // Of a single weights file, the folder that it lies in.
      let folder = try MetaDirectory.folder(of: path) ?? CheckpointDirectory(path).path
      self.folder = folder
      encoder = try TokenEncoder(
        checkpoint: folder, vocabularySize: model.dimensions.vocabularySize)
    }
  }

  /// `general.file_type` of an archive.
  package var fileType: UInt32? {
    metadata?["general.file_type"]?.int.flatMap { UInt32(exactly: $0) }
  }
}
