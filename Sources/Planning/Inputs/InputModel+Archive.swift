import ByteIO
import GGUF
import Tensors

extension InputModel {
  /// Opens a GGUF archive, or the set that it is the first part of.
  init(archive path: String, recipe: Recipe) throws {
    let archive = try GGUFFile(path)
    var metadata = archive.metadata
    if let template = try recipe.chatTemplate {
      metadata["tokenizer.chat_template"] = .string(template)
    }
    if let name = recipe.modelName { metadata["general.name"] = .string(name) }

    let storage = recipe.expertStorage ?? (recipe.isCopy ? nil : .stacked)
    let architecture = metadata["general.architecture"]?.string ?? ""
    let expertCount = metadata["\(architecture).expert_count"]?.int
    let joined =
      storage == .stacked
      ? try JoinedExperts(archive, expertCount: expertCount, file: path) : nil
    if storage == .split {
      _ = try SplitExperts.stacks(of: archive.tensors, expertCount: expertCount, file: path)
    }
    source = joined ?? archive
    tensors = source.tensors.enumerated().map { index, tensor in
      var result = Tensor(
        name: tensor.name, shape: tensor.shape, source: .input(index), sourceName: tensor.name,
        storedType: tensor.type, keptType: tensor.type, transform: .identity,
        part: tensor.regions.first?.file ?? 0)
      if let stack = SplitExperts.stack(of: tensor.name) {
        result.expert = (stack.name, stack.expert)
      }
      result.wasQuantized = tensor.type.isBlockType || joined?.isMixed(tensor.name) == true
      return result
    }
    generated = []
    facts = try ModelFacts(metadata, file: path, areNeeded: !recipe.isCopy)
    self.metadata = metadata
    isArchive = true
    partCount = archive.parts.count
    notes = []
  }
}

extension ModelFacts {
  /// What the rules of the mixes ask about a model, from its archive's metadata.
  ///
  /// - Parameters:
  ///   - metadata: of the archive.
  ///   - file: its path.
  ///   - areNeeded: a copy asks no rules: what is there is checked, but archives that are no models
  ///     have less.
  /// - Throws: `FormatError` about what is missing or out of range.
  package init(_ metadata: Metadata, file: String, areNeeded: Bool = true) throws(FormatError) {
    let architecture = metadata["general.architecture"]?.string ?? ""
    guard !areNeeded || !architecture.isEmpty else {
      throw FormatError(
        file: file, field: "general.architecture", reason: .missing("the architecture's name"))
    }
    func count(_ key: String, allowed: ClosedRange<Int>, absent: Int?) throws(FormatError) -> Int {
      let key = "\(architecture).\(key)"
      guard let value = metadata[key] else {
        if let absent { return absent }
        throw FormatError(file: file, field: key, reason: .missing("a count"))
      }
      // Models whose layers differ store one number per layer: the rules look at the first.
      let number = value.int ?? value.array?.firstInteger
      guard let number, allowed.contains(number) else {
        throw FormatError(
          file: file, field: key,
          reason: .outOfRange(found: "another value", allowed: "\(allowed)"))
      }
      return number
    }
    let headCount = try count(
      "attention.head_count", allowed: 0...65_536, absent: areNeeded ? nil : 1)
    self.init(
      file: file, architecture: architecture,
      layerCount: try count("block_count", allowed: 1...4_096, absent: areNeeded ? nil : 1),
      headCount: headCount,
      headCountKV: try count("attention.head_count_kv", allowed: 0...65_536, absent: headCount),
      expertCount: try count("expert_count", allowed: 0...65_536, absent: 0))
  }
}

extension MetadataArray {
  fileprivate var firstInteger: Int? {
    switch self {
    case .uint32(let values): values.first.map { Int($0) }
    case .int32(let values): values.first.map { Int($0) }
    default: nil
    }
  }
}
