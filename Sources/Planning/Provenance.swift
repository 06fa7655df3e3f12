import ByteIO
import Checkpoints
import GGUF
import Tensors

/// What an archive was made from and how, in its own `ingot.*` keys: names, sizes and header hashes of
/// the source files, options, and our version.
///
/// Nothing is in it that differs between machines or moments: no folder, no time, no thread count.
///
/// Source: formats/gguf.md, "Provenance"
package enum Provenance {
  package enum Key {
    package static let version: ExactString = "ingot.version"
    package static let recipeHash: ExactString = "ingot.recipe.sha256"
    package static let options: ExactString = "ingot.options"
    package static let importanceFile: ExactString = "ingot.importance.file"
    package static let importanceHash: ExactString = "ingot.importance.sha256"
    package static let sourceFiles: ExactString = "ingot.source.files"
    package static let sourceByteCounts: ExactString = "ingot.source.byte_counts"
    package static let sourceHeaderHashes: ExactString = "ingot.source.header_sha256"

    /// In the order in which they are written.
    package static let all = [
      version, RecipeFile.Key.title, RecipeFile.Key.expectedDivergence, recipeHash, options,
      importanceFile, importanceHash, sourceFiles,
      sourceByteCounts, sourceHeaderHashes,
    ]
  }

  /// The keys of an archive.
  ///
  /// - Parameters:
  ///   - source: whose files are named; their headers are read.
  ///   - recipe: what was asked for.
  ///   - title: the recipe's name.
  ///   - expectedDivergence: what chosen types were expected to cost.
  ///   - version: of this program.
  ///   - types: those of the recipe that matter.
  ///   - hasImportance: whether the importance file takes part.
  /// - Returns: them in the order of `Key.all`.
  /// - Throws: when a file cannot be read.
  static func metadata(
    of source: any TensorSource, recipe: Recipe, title: String,
    expectedDivergence: Double? = nil, version: String, types: [ExactString: TensorType] = [:],
    hasImportance: Bool = false
  ) throws(FormatError) -> Metadata {
    var metadata = Metadata()
    metadata[Key.version] = .string(version)
    metadata[RecipeFile.Key.title] = .string(title)
    if let expectedDivergence {
      metadata[RecipeFile.Key.expectedDivergence] = .float64(expectedDivergence)
    }
    // A draft has the key already: the size of an archive is promised before its types are chosen.
    if !types.isEmpty || recipe.isDraft {
      let lines = types.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.name)\n" }
      metadata[Key.recipeHash] = .string(SHA256Stream.hex(of: Array(lines.joined().utf8)))
    }
    let options = try options(of: recipe)
    if !options.isEmpty { metadata[Key.options] = .array(.string(StringTable(options))) }
    if hasImportance, let path = recipe.importanceFile {
      metadata[Key.importanceFile] = .string(OutputFile.name(of: path))
      metadata[Key.importanceHash] = .string(try sha256(ofWhole: path))
    }
    var files: [(name: String, byteCount: UInt64, hash: String)] = []
    for (path, byteCount) in zip(source.files, source.fileByteCounts) {
      files.append((OutputFile.name(of: path), byteCount, try headerHash(of: path)))
    }
    files.sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    metadata[Key.sourceFiles] = .array(.string(StringTable(files.map(\.name))))
    metadata[Key.sourceByteCounts] = .array(.uint64(files.map(\.byteCount)))
    metadata[Key.sourceHeaderHashes] = .array(.string(StringTable(files.map(\.hash))))
    return metadata
  }

  /// What was asked for beyond the recipe, spelled as on the command line, without the dashes.
  ///
  /// Files stand for what is in them: their entries, or their hash.
  static func options(of recipe: Recipe) throws(FormatError) -> [String] {
    var options: [String] = []
    func add(_ name: String, _ values: [String]) { options += values.map { "\(name) \($0)" } }
    func add(_ name: String, if isGiven: Bool) { if isGiven { options.append(name) } }
    add("tensor-type", recipe.tensorTypes)
    for file in recipe.tensorTypeFiles {
      add(
        "tensor-type",
        try TensorTypeOverride.list(file: file).map { "\($0.pattern)=\($0.type.name)" })
    }
    add("output-tensor-type", [recipe.outputTensorType].compactMap { $0 })
    add("embedding-type", [recipe.embeddingType].compactMap { $0 })
    add("leave-output-tensor", if: recipe.leavesOutputTensor)
    add("experts split", if: recipe.expertStorage == .split)
    add("include-weights", recipe.includedWeights)
    add("exclude-weights", recipe.excludedWeights)
    add("override-kv", recipe.metadataOverrides)
    if let path = recipe.chatTemplateFile {
      add("chat-template sha256", [try sha256(ofWhole: path)])
    }
    add("model-name", [recipe.modelName].compactMap { $0 })
    add("pre-tokenizer", [recipe.preTokenizer].compactMap { $0 })
    add("split-max-size", [recipe.splitByteCount].compactMap { $0.map(String.init) })
    add("keep-split", if: recipe.keepsSplit)
    add("allow-requantize", if: recipe.allowsRequantizing)
    add("allow-nonfinite", if: recipe.allowsNonFinite)
    add("allow-nonstock", if: recipe.allowsNonstock)
    return options
  }

  private static func sha256(ofWhole path: String) throws(FormatError) -> String {
    let file = try PositionalFile(path)
    return try file.sha256(of: [0..<file.byteCount], field: "file")
  }

  /// Of the part of a file that is no weights.
  private static func headerHash(of path: String) throws(FormatError) -> String {
    let file = try PositionalFile(path)
    if try file.read(at: 0, count: Int(min(4, file.byteCount)), field: "magic")
      == GGUFFormat.magic
    {
      return try GGUFHeader(file).sha256(in: file)
    }
    guard let hash = try WeightFileHeader.sha256(file) else {
      throw FormatError(
        file: path, field: "file", reason: .inconsistent("was changed while it was being read"))
    }
    return hash
  }
}

extension GGUFHeader {
  /// Bytes before the tensor data; all of a file that has none.
  package func byteCount(in file: PositionalFile) -> UInt64 { min(dataOffset, file.byteCount) }

  /// SHA-256 of everything before the tensor data.
  package func sha256(in file: PositionalFile) throws(FormatError) -> String {
    try file.sha256(of: [0..<byteCount(in: file)], field: "header")
  }
}

extension Recipe {
  /// What of it a vision tower's archive depends on.
  var ofProjector: Recipe {
    var recipe = Recipe()
    recipe.modelName = modelName
    recipe.allowsNonFinite = allowsNonFinite
    return recipe
  }
}
