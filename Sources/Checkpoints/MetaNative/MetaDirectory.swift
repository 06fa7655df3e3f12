import ByteIO
import SystemPackage
import Tensors

/// A checkpoint as Meta releases it: `consolidated.NN.pth`, one per rank of model parallelism, and
/// `params.json`.
///
/// Tensors keep Meta's names and come in the order of their bytes; each is joined from its shards
/// while it is read.
///
/// Source: formats/meta-native.md
package struct MetaDirectory: TensorSource {
  /// Name of the file with the model's sizes.
  package static let parametersName = "params.json"

  /// The directory that holds `params.json` and `tokenizer.model`.
  package let path: String
  /// What the user should know about how the directory was read.
  package let notes: [String]
  package let tensors: [TensorDescriptor]
  private static let outputName: ExactString = "output.weight"

  private let shards: [any TensorSource]
  private let joins: [ExactString: ShardJoin]

  /// Those with the weights in the order of their ranks, then those with scales.
  package var files: [String] { Self.firstOnes(shards.map(\.files)) }
  package var fileByteCounts: [UInt64] { Self.firstOnes(shards.map(\.fileByteCounts)) }

  private static func firstOnes<Value>(_ lists: [[Value]]) -> [Value] {
    lists.flatMap { $0.prefix(1) } + lists.flatMap { $0.dropFirst() }
  }

  package var parametersFile: String { DirectoryListing.join(path, Self.parametersName) }

  /// The directory with Meta's files that a path names, itself or by one of its shards.
  ///
  /// - Returns: `nil` for everything else, also for a directory that holds the weights as Hugging
  ///   Face libraries save them: those are preferred.
  package static func folder(of path: String) throws(FormatError) -> String? {
    if DirectoryListing.isFolder(path) {
      let names = try DirectoryListing.names(in: path)
      let isOne = names.contains { ConsolidatedName($0) != nil } && !WeightFiles.areAmong(names)
      return isOne ? path : nil
    }
    let filePath = FilePath(path)
    guard let name = filePath.lastComponent, ConsolidatedName(name.string) != nil,
      DirectoryListing.exists(path)
    else { return nil }
    let parent = filePath.removingLastComponent().string
    let folder = parent.isEmpty ? "." : parent
    // Beside a configuration of Hugging Face alone it is a file of theirs under a name of Meta's.
    func isBeside(_ name: String) -> Bool {
      DirectoryListing.exists(DirectoryListing.join(folder, name))
    }
    return isBeside(parametersName) || !isBeside("config.json") ? folder : nil
  }

  /// Where the model's card and name are: hubs keep Meta's files in `original/` inside the model,
  /// and those of several shard counts in `original/mp8/` and `original/mp16/`.
  package static func cardFolder(of folder: String) -> String {
    var path = FilePath(folder)
    if let name = path.lastComponent?.string, isShardCountFolder(name),
      path.removingLastComponent().lastComponent?.string == originalName
    {
      path.removeLastComponent()
    }
    guard path.lastComponent?.string == originalName else { return folder }
    let parent = path.removingLastComponent().string
    return parent.isEmpty ? "." : parent
  }

  private static let originalName = "original"

  /// `mp8`, `mp16`.
  private static func isShardCountFolder(_ name: String) -> Bool {
    name.hasPrefix("mp") && name.utf8.count > 2 && Int(name.dropFirst(2)) != nil
  }

  /// Folders inside `folder` that hold Meta's files, as hubs lay them out.
  static func foldersInside(_ folder: String, present: [String]) -> [String] {
    var found: [String] = []
    func look(_ name: String) {
      let names = (try? DirectoryListing.names(in: DirectoryListing.join(folder, name))) ?? []
      if names.contains(where: { ConsolidatedName($0) != nil }) { found.append(name) }
      guard name == originalName else { return }
      for inner in names where isShardCountFolder(inner) {
        look(DirectoryListing.join(name, inner))
      }
    }
    for name in present where name == originalName || isShardCountFolder(name) { look(name) }
    return found
  }

  /// Opens a directory with Meta's files.
  ///
  /// - Parameters:
  ///   - folder: the directory.
  ///   - readsData: whether data may be compared where checksums do not tell if an output is tied
  ///     or a shard a copy; without, no tensor data is read.
  /// - Throws: `FormatError` for shards that are missing or do not fit together.
  package init(_ folder: String, readsData: Bool = true) throws(FormatError) {
    let present = try DirectoryListing.names(in: folder)
    let names = try ConsolidatedName.complete(present, folder: folder)
    guard present.contains(Self.parametersName) else {
      throw FormatError(
        file: folder, field: Self.parametersName,
        reason: .missing("\(Self.parametersName) beside \(names[0])"),
        advice: "download all files of the model, not its weights only")
    }
    var notes: [String] = []
    let ignored = present.filter { $0.hasSuffix(ConsolidatedName.suffix) && !names.contains($0) }
    if !ignored.isEmpty {
      notes.append("ignored: " + printable(ignored.joined(separator: ", "), limit: 400))
    }
    var shards: [any TensorSource] = []
    let scaleFiles = try ScaleFiles(among: present, shardCount: names.count, folder: folder)
    let parameters = DirectoryListing.join(folder, Self.parametersName)
    let quantization = try MetaQuantization.read(parameters)
    guard quantization == nil || names.count == 1 else {
      throw FormatError(
        file: parameters, field: "quantization_args",
        reason: .unsupported(found: "\(names.count) shards", allowed: "1, as Meta released"))
    }
    let sizes = try Llama4Sizes.read(parameters)
    for (rank, name) in names.enumerated() {
      let file = try PyTorchFile(DirectoryListing.join(folder, name))
      // What is so in every shard is said of the first.
      for note in file.notes where !notes.contains(where: { $0.hasSuffix(": \(note)") }) {
        notes.append("\(printable(name, limit: 120)): \(note)")
      }
      if let quantization {
        let source = try QuantizedSource(
          file,
          QuantizationConfiguration(
            file: parameters, methodName: MetaQuantization.schemes[0],
            method: .metaInt4(quantization)))
        notes += source.notes
        shards.append(source)
      } else if !scaleFiles.names.isEmpty {
        let path = DirectoryListing.join(folder, scaleFiles.names[rank])
        let source = try QuantizedSource(
          ScaledShard(file, scales: PyTorchFile(path), rank: rank),
          QuantizationConfiguration(
            file: path, methodName: scaleFiles.names[rank], method: .metaFP8))
        notes += source.notes
        shards.append(source)
      } else {
        try Self.refuseLoneCodes(file, rank: rank)
        shards.append(file)
      }
    }
    if let sizes {
      var parts: [Llama4Shard] = []
      for shard in shards { parts.append(try Llama4Shard(shard, sizes)) }
      if let count = parts.first?.visionCount, count > 0 {
        notes.append("left out: \(count) tensors of the vision tower and its projector")
      }
      shards = parts
    }
    try self.init(
      shards: shards, path: folder, notes: notes, readsData: readsData, mayBeTied: sizes == nil)
  }

  /// Weights in eight bits mean nothing without the file of their scales.
  private static func refuseLoneCodes(_ file: PyTorchFile, rank: Int) throws(FormatError) {
    guard let tensor = file.tensors.first(where: { $0.type == .f8_E4M3 }) else { return }
    throw file.error(
      tensor, .missing("fp8_scales_\(rank).pt, which has the scales of its codes"),
      advice: "download all files of the model")
  }

  /// Joins shards that are open already; the weights of each are in its first file.
  ///
  /// `mayBeTied` says whether an output that equals the embedding is left out.
  package init(
    shards: [any TensorSource], path: String, notes: [String] = [], readsData: Bool = true,
    mayBeTied: Bool = true
  ) throws(FormatError) {
    self.path = path
    self.shards = shards
    var joins = try ShardJoin.all(of: shards)
    var notes = notes
    var comparison = ShardComparison(shards, readsData: readsData)
    try comparison.refuseWrongShards(joins)
    let repeatCount = try comparison.repeatedHeadCount(joins)
    if repeatCount > 1 {
      joins = joins.map {
        $0.holdsSharedHeads && $0.layout == .rows ? $0.leavingOutRepeats(repeatCount) : $0
      }
      notes.append(
        "\(repeatCount) shards each repeat the same heads of keys and values: they count once")
    }
    // The published configurations of Llama 3.2 1B and 3B say `tie_word_embeddings`; Meta's files
    // hold a copy.
    if mayBeTied, let output = joins.first(where: { $0.name == Self.outputName }),
      let embedding = joins.first(where: { $0.name == ShardJoin.embeddingName }),
      try comparison.areEqual(output, embedding) == true
    {
      joins.removeAll { $0.name == Self.outputName }
      notes.append("\(Self.outputName) equals \(ShardJoin.embeddingName) and is left out")
    }
    tensors = joins.map(\.descriptor)
    self.joins = Dictionary(uniqueKeysWithValues: joins.map { ($0.name, $0) })
    self.notes = notes
  }

  /// Path of a file of the checkpoint that is not a weights file.
  package func path(of name: String) -> String { DirectoryListing.join(path, name) }

  package func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    guard let join = joins[tensor.name] else { preconditionFailure("no tensor \(tensor.name)") }
    try join.read(shards, at: byteOffset, into: buffer)
  }

  package func read(
    _ tensor: TensorDescriptor, runs: ByteRuns, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    guard let join = joins[tensor.name] else { preconditionFailure("no tensor \(tensor.name)") }
    try join.read(shards, runs, into: buffer)
  }

  package func prefetch(_ tensor: TensorDescriptor, at byteOffset: Int, byteCount: Int) {
    joins[tensor.name]?.prefetch(shards, at: byteOffset, byteCount: byteCount)
  }

  package func heldByteLimit(threadCount: Int) -> Int {
    shards.reduce(0) { $0 + $1.heldByteLimit(threadCount: threadCount) }
  }

  package func checkUnchanged() throws(FormatError) {
    for shard in shards { try shard.checkUnchanged() }
  }
}
