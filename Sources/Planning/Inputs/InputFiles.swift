import ByteIO

/// Everything that a conversion reads, so that nothing of it is ever written over.
package struct InputFiles: Sendable {
  /// Weights, importance matrix, chat template, type lists.
  package var paths: [String]
  /// The checkpoint's directory; `nil` for an archive.
  package var folder: String?

  package init(paths: [String], folder: String? = nil) {
    self.paths = paths
    self.folder = folder
  }

  /// What belongs to a checkpoint, by its ending: configuration, tokenizer, card, weights.
  private static let checkpointSuffixes = [
    ".json", ".safetensors", ".model", ".jinja", ".txt", ".md", ".bin", ".pth", ".pt",
  ]

  /// Whether writing to `path` would replace an input.
  package func contains(_ path: String) -> Bool {
    if paths.contains(where: { OutputFile.isSamePlace(path, $0) }) { return true }
    guard let folder, OutputFile.exists(path, directlyIn: folder) else { return false }
    let name = path.lowercased()
    return Self.checkpointSuffixes.contains { name.hasSuffix($0) }
  }
}
