import ByteIO
import StrictJSON
import SystemPackage
import Tensors

/// The `general.*` keys that describe a model's origin, in the order of the reference converter.
///
/// They come first in an archive, from `general.architecture` to `general.languages`. The keys
/// `general.file_type` and `general.quantization_version` stand among the later ones and are not
/// part of this.
///
/// - Parameters:
///   - directory: the checkpoint's directory as the user named it; its last component is a name.
///   - architecture: as the archive names it, for example `llama`.
///   - type: of the archive: `model`, or `mmproj` for a vision tower.
///   - modelName: replaces `general.name`.
///   - parameterCounts: of the archive's tensors, generated ones included.
/// - Returns: the entries, and notes about what was ignored.
/// - Throws: `FormatError` where `config.json` or `generation_config.json` hold impossible values; a
///   `README.md` that cannot be understood is noted and ignored.
///
/// Source: formats/general-metadata.md
package func generalMetadata(
  directory: String, architecture: String, type: String = "model", modelName: String? = nil,
  parameterCounts: ParameterCounts
) throws(FormatError) -> (entries: Metadata, notes: [String]) {
  var notes: [String] = []
  var card = ModelCard()
  let readme = DirectoryListing.join(directory, "README.md")
  if DirectoryListing.exists(readme) {
    do {
      if let matter = try FrontMatter.read(readme) {
        card.add(matter, parameterCount: parameterCounts.total, notes: &notes)
      }
    } catch {
      if case .readFailed = error.reason { throw error }
      notes.append("ignored: \(error)")
    }
  }
  if let name = try publishedName(directory) {
    card.add(ModelIdentifier(name, parameterCount: parameterCounts.total))
  }
  let folderName = try lastComponent(directory)
  card.add(ModelIdentifier(folderName, parameterCount: parameterCounts.total))
  if let modelName { card.override("name", modelName) }
  if card.texts["size_label"] == nil, let label = parameterCounts.sizeLabel {
    card.override("size_label", label)
  }

  var entries = Metadata()
  entries["general.architecture"] = .string(architecture)
  entries["general.type"] = .string(type)
  entries.merge(
    try GenerationConfig.sampling(
      DirectoryListing.join(directory, "generation_config.json"), notes: &notes))
  for key in [
    "name", "author", "version", "organization", "finetune", "basename", "description",
    "size_label", "license", "license.name", "license.link", "source.url", "source.doi",
    "source.uuid", "source.repo_url",
  ] {
    entries.addText("general.\(key)", card.texts[key])
  }
  entries.add(card.baseModels, as: "general.base_model")
  entries.add(card.datasets, as: "general.dataset")
  for (key, list) in [("tags", card.tags), ("languages", card.languages)] where !list.isEmpty {
    entries["general.\(key)"] = .array(.string(StringTable(list)))
  }
  return (entries, notes)
}

/// `_name_or_path` of the configuration, unless it is a path on somebody's machine.
private func publishedName(_ directory: String) throws(FormatError) -> String? {
  let path = DirectoryListing.join(directory, "config.json")
  guard DirectoryListing.exists(path) else { return nil }
  let config = try JSONValue(file: path, limit: 16 << 20)
  guard let name = config["_name_or_path"]?.string,
    name.utf8.count(where: { $0 == UInt8(ascii: "/") }) <= 1
  else { return nil }
  return name
}

/// Name of the directory; `.` and `..` are resolved, and a packed folder has the name it was packed by.
private func lastComponent(_ directory: String) throws(FormatError) -> String {
  if let name = DirectoryListing.packedName(of: directory) { return name }
  let names = FilePath(directory).components.map(\.string).filter { $0 != "." }
  if let name = names.last, name != ".." { return name }
  guard let real = DirectoryListing.realPath(directory) else {
    throw FormatError(file: directory, field: "directory", reason: .fileNotFound)
  }
  return FilePath(real).lastComponent?.string ?? ""
}

extension Metadata {
  /// An empty text is not written.
  fileprivate mutating func addText(_ key: String, _ text: String?) {
    if let text, !text.isEmpty { self[key] = .string(text) }
  }

  fileprivate mutating func add(_ sources: [[String: String]]?, as prefix: String) {
    guard let sources else { return }
    self["\(prefix).count"] = .uint32(UInt32(sources.count))
    for (index, source) in sources.enumerated() {
      for member in ModelCard.sourceMembers {
        addText("\(prefix).\(index).\(member)", source[member])
      }
    }
  }
}
