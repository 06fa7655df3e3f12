import ByteIO
import SystemPackage
import Tensors

/// A Hugging Face checkpoint: a directory, possibly a hub cache snapshot made of links.
///
/// Shards are joined in the order of their names, and the tensors of a shard in the order of theirs
/// (bytes, both), so nothing depends on how the file system lists files or who wrote the headers.
package struct CheckpointDirectory: TensorSource {
  /// The directory that holds `config.json` and the tokenizer.
  package let path: String
  /// What the user should know about how the directory was read.
  package let notes: [String]
  package let tensors: [TensorDescriptor]
  private let shards: [any TensorSource]

  package var files: [String] { shards.flatMap(\.files) }
  package var fileByteCounts: [UInt64] { shards.flatMap(\.fileByteCounts) }

  /// Opens a directory, or one weights file with `config.json` beside it.
  ///
  /// A file that is one of a numbered set stands for its whole directory.
  ///
  /// - Throws: `FormatError`; `.fileNotFound` and `.missing` where something is not there.
  package init(_ path: String) throws(FormatError) {
    guard DirectoryListing.exists(path) else {
      throw FormatError(file: path, field: "file", reason: .fileNotFound)
    }
    if DirectoryListing.isFolder(path) {
      try self.init(folder: path, weights: WeightFiles(folder: path, format: nil))
      return
    }
    let filePath = FilePath(path)
    let parent = filePath.removingLastComponent().string
    let folder = parent.isEmpty ? "." : parent
    let name = filePath.lastComponent?.string ?? path
    if AdapterFiles.isOne(name) { throw AdapterFiles.error(path) }
    let named = WeightFormat.allCases.first { $0.suffixes.contains { name.hasSuffix($0) } }
    let format = try WeightFormat(file: path, named: named)
    guard DirectoryListing.exists(DirectoryListing.join(folder, "config.json")) else {
      throw FormatError(
        file: folder, field: "config.json", reason: .missing("config.json beside the weights"))
    }
    let isShard = ShardNumber(name, format) != nil
    try self.init(
      folder: folder,
      weights: isShard
        ? WeightFiles(folder: folder, format: format)
        : WeightFiles(onlyName: name, format: format))
  }

  private init(folder: String, weights weightFiles: WeightFiles) throws(FormatError) {
    path = folder
    var notes = weightFiles.notes
    var shards: [any TensorSource] = []
    var tensors: [TensorDescriptor] = []
    var shardOfTensor: [ExactString: Int] = [:]
    for (index, name) in weightFiles.names.enumerated() {
      let shard: any TensorSource
      let path = DirectoryListing.join(folder, name)
      let shown = printable(name, limit: 120)
      let format = try WeightFormat(file: path, named: weightFiles.format)
      if format != weightFiles.format {
        notes.append("\(shown) is a file of the other format: read as \(format.rawValue)")
      }
      switch format {
      case .safetensors: shard = try SafetensorsFile(path)
      case .pytorch:
        let file = try PyTorchFile(path)
        notes += file.notes.map { "\(shown): \($0)" }
        shard = file
      }
      if shard.tensors.contains(where: { AdapterFiles.isTensor($0.name) }) {
        throw AdapterFiles.error(path)
      }
      for var tensor in shard.tensors.sorted(by: { $0.name < $1.name }) {
        if let earlier = shardOfTensor.updateValue(index, forKey: tensor.name) {
          throw FormatError(
            file: shard.files[0], field: printable(tensor.name.string, limit: 120),
            reason: .duplicate("tensor, which \(weightFiles.names[earlier]) holds too"))
        }
        for region in tensor.regions.indices { tensor.regions[region].file = index }
        tensors.append(tensor)
      }
      shards.append(shard)
    }
    self.shards = shards
    self.tensors = tensors
    self.notes = notes
    try Self.checkIndex(weightFiles, shardOfTensor, folder: folder)
  }

  /// The index and the shards have to name the same tensors in the same files.
  private static func checkIndex(
    _ weightFiles: WeightFiles, _ shardOfTensor: [ExactString: Int], folder: String
  ) throws(FormatError) {
    guard let named = weightFiles.shardOfTensor else { return }
    let index = DirectoryListing.join(folder, weightFiles.format.indexName)
    for (tensor, name) in named.sorted(by: { $0.key < $1.key }) {
      let field = "weight_map[\"\(printable(tensor.string, limit: 120))\"]"
      guard let shard = shardOfTensor[tensor] else {
        throw FormatError(
          file: index, field: field,
          reason: .missing("this tensor: \(printable(name)) does not hold it"))
      }
      if weightFiles.names[shard] != name {
        throw FormatError(
          file: index, field: field,
          reason: .inconsistent(
            "names \(printable(name)), but \(weightFiles.names[shard]) holds the tensor"))
      }
    }
    if let extra = shardOfTensor.keys.filter({ named[$0] == nil }).min(),
      let shard = shardOfTensor[extra]
    {
      throw FormatError(
        file: index, field: "weight_map",
        reason: .missing(
          "tensor \(printable(extra.string, limit: 120)), which \(weightFiles.names[shard]) holds"))
    }
  }

  /// Path of a file of the checkpoint that is not a weights file.
  package func path(of name: String) -> String { DirectoryListing.join(path, name) }

  package func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    try shards[tensor.regions[0].file].read(tensor, at: byteOffset, into: buffer)
  }

  package func prefetch(_ tensor: TensorDescriptor, at byteOffset: Int, byteCount: Int) {
    shards[tensor.regions[0].file].prefetch(tensor, at: byteOffset, byteCount: byteCount)
  }

  package func checkUnchanged() throws(FormatError) {
    for shard in shards { try shard.checkUnchanged() }
  }
}
