import ByteIO
import SystemPackage
import Tensors

/// A checkpoint as Meta releases it: `consolidated.NN.pth`, one per rank of model parallelism, and
/// `params.json`.
///
/// Tensors keep Meta's names and come in the order of their bytes; each is joined from its shards
/// while it is read. Source: formats/meta-native.md
package struct MetaDirectory: TensorSource {
  /// Name of the file with the model's sizes.
  package static let parametersName = "params.json"

  /// The directory that holds `params.json` and `tokenizer.model`.
  package let path: String
  /// What the user should know about how the directory was read.
  package let notes: [String]
  package let tensors: [TensorDescriptor]
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
    let isBeside = DirectoryListing.exists(DirectoryListing.join(folder, parametersName))
    return isBeside ? folder : nil
  }

  /// Where the model's card and name are: hubs keep Meta's files in `original/` inside the model.
  package static func cardFolder(of folder: String) -> String {
    let path = FilePath(folder)
    guard path.lastComponent?.string == "original" else { return folder }
    let parent = path.removingLastComponent().string
    return parent.isEmpty ? "." : parent
  }

  /// Opens a directory with Meta's files.
  ///
  /// - Throws: `FormatError` for shards that are missing or do not fit together.
  package init(_ folder: String) throws(FormatError) {
    let present = try DirectoryListing.names(in: folder)
    let names = try ConsolidatedName.complete(present, folder: folder)
    guard present.contains(Self.parametersName) else {
      throw FormatError(
        file: folder, field: Self.parametersName,
        reason: .missing("\(Self.parametersName) beside \(names[0])"),
        advice: "download all files of the model, not its weights only")
    }
    var notes: [String] = []
    var shards: [any TensorSource] = []
    let scaleFiles = try ScaleFiles(among: present, shardCount: names.count, folder: folder)
    let parameters = DirectoryListing.join(folder, Self.parametersName)
    let quantization = try MetaQuantization.read(parameters)
    guard quantization == nil || names.count == 1 else {
      throw FormatError(
        file: parameters, field: "quantization_args",
        reason: .unsupported(found: "\(names.count) shards", allowed: "1, as Meta released"))
    }
    for (rank, name) in names.enumerated() {
      let file = try PyTorchFile(DirectoryListing.join(folder, name))
      notes += file.notes.map { "\(printable(name, limit: 120)): \($0)" }
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
    try self.init(shards: shards, path: folder, notes: notes)
  }

  /// Weights in eight bits mean nothing without the file of their scales.
  private static func refuseLoneCodes(_ file: PyTorchFile, rank: Int) throws(FormatError) {
    guard let tensor = file.tensors.first(where: { $0.type == .f8_E4M3 }) else { return }
    throw file.error(
      tensor, .missing("fp8_scales_\(rank).pt, which has the scales of its codes"),
      advice: "download all files of the model")
  }

  /// Joins shards that are open already; the weights of each are in its first file.
  package init(shards: [any TensorSource], path: String, notes: [String] = []) throws(FormatError) {
    self.path = path
    self.shards = shards
    var joins = try ShardJoin.all(of: shards)
    var notes = notes
    if try Self.isOutputTied(joins, shards) {
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

// MARK: Tied output

extension MetaDirectory {
  private static let outputName: ExactString = "output.weight"

  /// Whether the matrix of logits is a copy of the embedding, as in Llama 3.2 1B and 3B.
  ///
  /// Meta's files hold the copy; the published configurations say `tie_word_embeddings` instead.
  /// Matrices that are no copies differ in their first bytes, so little is read of those.
  private static func isOutputTied(
    _ joins: [ShardJoin], _ shards: [any TensorSource]
  ) throws(FormatError) -> Bool {
    guard let output = joins.first(where: { $0.name == outputName }),
      let embedding = joins.first(where: { $0.name == ShardJoin.embeddingName }),
      output.descriptor.shape == embedding.descriptor.shape,
      output.descriptor.type == embedding.descriptor.type
    else { return false }
    let byteCount = output.descriptor.byteCount
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 << 20, alignment: 16)
    defer { buffer.deallocate() }
    var done = 0
    var pieceByteCount = 4096
    while done < byteCount {
      let count = min(pieceByteCount, byteCount - done)
      let first = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
      let second = UnsafeMutableRawBufferPointer(rebasing: buffer[(1 << 20)..<((1 << 20) + count)])
      try output.read(shards, at: done, into: first)
      try embedding.read(shards, at: done, into: second)
      guard first.elementsEqual(second) else { return false }
      done += count
      pieceByteCount = 1 << 20
    }
    return true
  }
}
