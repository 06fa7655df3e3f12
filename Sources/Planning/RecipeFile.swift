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
///
/// Source: formats/recipe.md
package struct RecipeFile: Hashable, Sendable {
  package var title: String
  package var experts: ExpertStorage
  package var types: [ExactString: TensorType]
  /// Mean KL divergence in nats that the types were chosen to cost; `nil` where no text was read.
  package var expectedDivergence: Double?
  /// Whether the types rest on an importance matrix; `nil` where nothing is known.
  package var hasImportance: Bool?
  /// Of the archive that it was made for; empty where nothing is known.
  package var totals: [TypeTotal] = []

  package static let document = OwnDocument(
    format: "ingot-recipe", version: 1, byteLimit: 64 << 20,
    advice: "a recipe is what 'ingot plan -o' writes, or an archive")

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
    let json = try Self.document.read(path)
    func fail(_ field: String, _ reason: FormatError.Reason) -> FormatError {
      Self.document.failure(path, field, reason)
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
    if let value = json["expectedDivergence"], value != .null {
      guard let number = value.double, number.isFinite, number >= 0 else {
        throw fail(
          "expectedDivergence",
          .outOfRange(found: "no such number", allowed: "finite numbers from 0 on"))
      }
      expectedDivergence = number
    }
    hasImportance = json["importance"]?.bool
    for value in json["types"]?.array ?? [] {
      guard let type = value["type"]?.string.flatMap({ TensorType(name: $0) }),
        let tensors = value["tensors"]?.int, let weights = value["weights"]?.int,
        let bytes = value["bytes"]?.int, tensors >= 0, weights >= 0, bytes >= 0
      else { throw fail("types", .missing("names of types with counts from 0 on")) }
      totals.append(
        TypeTotal(
          type: type, tensorCount: tensors, weightCount: UInt64(weights), byteCount: UInt64(bytes)))
    }
  }

  /// Keys of archives whose types were chosen.
  package enum Key {
    /// The recipe's title, or the mix's name.
    package static let title: ExactString = "ingot.recipe"
    package static let expectedDivergence: ExactString = "ingot.recipe.expected_divergence"
  }

  /// The types of an archive's matrices.
  package init(archive path: String) throws(FormatError) {
    let archive = try GGUFFile(path)
    var types: [ExactString: TensorType] = [:]
    for tensor in archive.tensors where tensor.shape.rank > 1 && OutputType(tensor.type) != nil {
      types[tensor.name] = tensor.type
    }
    let isSplit = archive.tensors.contains { SplitExperts.stack(of: $0.name) != nil }
    self.init(
      title: archive.metadata[Key.title]?.string ?? OutputFile.name(of: path),
      experts: isSplit ? .split : .stacked, types: types)
    expectedDivergence = archive.metadata.expectedDivergence
    hasImportance = archive.metadata["quantize.imatrix.file"] != nil
    totals = TypeTotal.list(
      archive.tensors.map { ($0.type, UInt64($0.elementCount), UInt64($0.byteCount)) })
  }

  /// As `ingot plan -o` writes it.
  package var bytes: [UInt8] { Array((json + "\n").utf8) }

  /// Stable JSON, tensors by name.
  package var json: String {
    var writer = JSONWriter()
    writer.object { json in
      Self.document.writeHead(to: &json)
      json.key("title")
      json.value(title)
      json.key("experts")
      json.value(experts.rawValue)
      if let expectedDivergence {
        json.key("expectedDivergence")
        json.value(expectedDivergence)
      }
      if let hasImportance {
        json.key("importance")
        json.value(hasImportance)
      }
      if !totals.isEmpty {
        json.key("types")
        TypeTotal.write(totals, to: &json)
      }
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

extension Metadata {
  /// What the types of an archive were chosen to cost; `nil` where it does not say.
  package var expectedDivergence: Double? {
    guard case .float64(let value) = self[RecipeFile.Key.expectedDivergence], value.isFinite,
      value >= 0
    else { return nil }
    return value
  }
}
