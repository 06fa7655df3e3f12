import ByteIO
import GGUF
import StrictJSON
import Tensors

/// The types of an archive's tensors, by name, in a file of their own.
///
///     {"format": "ingot-recipe", "version": 1, "title": "…", "experts": "stacked",
///      "tensors": {"blk.0.attn_q.weight": "Q4_K", …}}
///
/// An archive is a recipe too: that of its own tensors.
package struct RecipeFile: Hashable, Sendable {
  package var title: String
  package var experts: ExpertStorage
  package var types: [ExactString: TensorType]

  package static let format = "ingot-recipe"
  package static let version = 1
  /// Longest file.
  package static let byteLimit: UInt64 = 64 << 20

  package init(title: String, experts: ExpertStorage, types: [ExactString: TensorType]) {
    self.title = title
    self.experts = experts
    self.types = types
  }

  /// Reads a recipe, or an archive's types.
  ///
  /// - Throws: `FormatError`.
  package init(_ path: String) throws(FormatError) {
    if try InputKind(orText: path) == .archive {
      try self.init(archive: path)
      return
    }
    let json = try JSONValue(file: path, limit: Self.byteLimit)
    func fail(_ field: String, _ reason: FormatError.Reason) -> FormatError {
      FormatError(
        file: path, field: field, reason: reason,
        advice: "a recipe is what 'ingot plan -o' writes, or an archive")
    }
    guard json["format"]?.string == Self.format else {
      throw fail("format", .missing("\"\(Self.format)\""))
    }
    guard let version = json["version"]?.int, version == Self.version else {
      throw fail("version", .unsupported(found: "another version", allowed: "\(Self.version)"))
    }
    guard let experts = json["experts"]?.string.flatMap(ExpertStorage.init) else {
      throw fail("experts", .missing("\"stacked\" or \"split\""))
    }
    guard let tensors = json["tensors"]?.object else {
      throw fail("tensors", .missing("an object"))
    }
    var types: [ExactString: TensorType] = [:]
    for (name, value) in tensors.members {
      guard let type = value.string.flatMap(OutputType.init(name:))?.type else {
        throw fail(
          "tensors.\(printable(name, limit: 120))",
          .unsupported(
            found: printable(value.string ?? "no text", limit: 40), allowed: OutputType.names))
      }
      types[ExactString(name)] = type
    }
    self.init(
      title: json["title"]?.string ?? OutputFile.name(of: path), experts: experts, types: types)
  }

  /// The types of an archive's matrices.
  private init(archive path: String) throws(FormatError) {
    let archive = try GGUFFile(path)
    var types: [ExactString: TensorType] = [:]
    for tensor in archive.tensors where tensor.shape.rank > 1 && OutputType(tensor.type) != nil {
      types[tensor.name] = tensor.type
    }
    let isSplit = archive.tensors.contains { SplitExperts.stack(of: $0.name) != nil }
    self.init(
      title: archive.metadata["ingot.recipe"]?.string ?? OutputFile.name(of: path),
      experts: isSplit ? .split : .stacked, types: types)
  }

  /// As `ingot plan -o` writes it.
  package var bytes: [UInt8] { Array((json + "\n").utf8) }

  /// Stable JSON, tensors by name.
  package var json: String {
    var writer = JSONWriter()
    writer.object { json in
      json.key("format")
      json.value(Self.format)
      json.key("version")
      json.value(Self.version)
      json.key("title")
      json.value(title)
      json.key("experts")
      json.value(experts.rawValue)
      json.key("tensors")
      json.object { json in
        let names = quantizerOrder(Array(types.keys))
        let keys = Array(types.keys)
        for index in names {
          json.key(keys[index].string)
          json.value(types[keys[index]]?.name)
        }
      }
    }
    return writer.text
  }
}

extension InputKind {
  /// As `init(_:)`, but a file that is none of these is text.
  fileprivate init?(orText path: String) throws(FormatError) {
    let file = try PositionalFile(path)
    let magic = try file.read(at: 0, count: Int(min(4, file.byteCount)), field: "magic")
    guard magic == Array("GGUF".utf8) else { return nil }
    self = .archive
  }
}
