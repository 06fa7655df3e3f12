import ByteIO
import Checkpoints

/// What a CHECKPOINT argument is, by its content and not by its name.
///
/// A directory is one of Hugging Face or of Meta: `MetaDirectory.folder(of:)` tells them apart.
package enum InputKind: Sendable {
  case archive, safetensors, pytorch, directory

  package init(_ path: String) throws(FormatError) {
    if DirectoryListing.isFolder(path) {
      self = .directory
      return
    }
    let file: PositionalFile
    do throws(FormatError) {
      file = try PositionalFile(path)
    } catch {
      var failure = error
      if failure.reason == .fileNotFound, path.split(separator: "/").count == 2 {
        // The name of a model on a hub looks like this.
        failure.advice = "ingot downloads nothing: fetch the model first, then name its folder"
      }
      throw failure
    }
    try file.refuseGitPointer()
    let magicByteCount = min(UInt64(WeightFormat.magicByteCount), file.byteCount)
    let magic = try file.read(at: 0, count: Int(magicByteCount), field: "magic")
    if magic.starts(with: Array("GGUF".utf8)) {
      self = .archive
      return
    }
    switch WeightFormat(magic: magic) {
    case .safetensors: self = .safetensors
    case .pytorch: self = .pytorch
    case nil:
      throw FormatError(
        file: path, fileOffset: 0, field: "magic",
        reason: .unsupported(
          found: "bytes of no known format",
          allowed: "GGUF, safetensors, a file of torch.save, or a directory of Hugging Face or Meta"
        ))
    }
  }
}
