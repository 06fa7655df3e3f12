import ByteIO
import Checkpoints
import GGUF
import Planning
import ReferenceModel
import Tensors
import Tokenizers

/// A model of either kind, opened by the road that its kind has.
package struct OpenedModel: Sendable {
  package var model: ReferenceModel
  package var encoder: TokenEncoder
  package var side: VerificationResult.Side
  /// Of a checkpoint.
  package var folder: String?
  /// `general.file_type` of an archive.
  package var fileType: UInt32?

  package init(_ path: String) throws {
    let kind: VerificationResult.Side.Kind
    var recipe: String?
    switch try InputKind(path) {
    case .archive:
      kind = .archive
      model = try ReferenceModel(archive: path)
      guard let archive = model.source as? GGUFFile else { preconditionFailure("no archive") }
      let metadata = archive.metadata
      encoder = try TokenEncoder(archive: metadata, file: path)
      fileType = metadata["general.file_type"]?.int.flatMap { UInt32(exactly: $0) }
      recipe = metadata["ingot.recipe"]?.string.map { printable($0, limit: 40) }
    case .directory, .safetensors, .pytorch:
      kind = .checkpoint
      model = try ReferenceModel(checkpoint: path)
      // Of a single weights file, the folder that it lies in.
      let folder = try MetaDirectory.folder(of: path) ?? CheckpointDirectory(path).path
      self.folder = folder
      encoder = try TokenEncoder(
        checkpoint: folder, vocabularySize: model.dimensions.vocabularySize)
    }
    let tensors = model.source.tensors
    let byteCount = tensors.reduce(0) { $0 + UInt64($1.byteCount) }
    let weightCount = tensors.reduce(0) { $0 + UInt64($1.elementCount) }
    let fileType = fileType
    let mix = StockMix.all.first { $0.fileType == fileType }?.name
    side = VerificationResult.Side(
      path: path, kind: kind, byteCount: model.source.fileByteCounts.reduce(0, +),
      weightCount: weightCount,
      bitsPerWeight: weightCount == 0 ? 0 : Double(byteCount) * 8 / Double(weightCount),
      type: recipe ?? mix ?? Self.commonType(tensors))
  }

  private static func commonType(_ tensors: [TensorDescriptor]) -> String {
    var bytes: [TensorType: Int] = [:]
    for tensor in tensors { bytes[tensor.type, default: 0] += tensor.byteCount }
    return bytes.max { ($0.value, $0.key.name) < ($1.value, $1.key.name) }?.key.name ?? ""
  }
}
