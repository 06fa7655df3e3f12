import ByteIO

/// The two families of weight files that Hugging Face libraries save; the first is preferred.
package enum WeightFormat: String, CaseIterable, Sendable {
  case safetensors
  case pytorch = "PyTorch"

  /// The file of a checkpoint that has one.
  var singleName: String {
    switch self {
    case .safetensors: "model.safetensors"
    case .pytorch: "pytorch_model.bin"
    }
  }

  var indexName: String { singleName + ".index.json" }

  /// What stands before and behind the numbers of a shard.
  var shardAffixes: (prefix: String, suffix: String) {
    switch self {
    case .safetensors: ("model-", ".safetensors")
    case .pytorch: ("pytorch_model-", ".bin")
    }
  }

  /// Endings of files that may hold weights.
  var suffixes: [String] {
    switch self {
    case .safetensors: [".safetensors"]
    case .pytorch: [".bin", ".pth", ".pt"]
    }
  }

  /// Bytes at the start of a file that tell its family.
  package static let magicByteCount = PyTorchForm.magicByteCount

  /// The family that a file's first bytes belong to; `nil` for anything else.
  package init?(magic: [UInt8]) {
    // First: the length before a safetensors header may look like anything.
    if magic.count >= 9, magic[8] == UInt8(ascii: "{") {
      self = .safetensors
    } else if PyTorchForm(magic: magic) != nil {
      self = .pytorch
    } else {
      return nil
    }
  }

  /// The family of a file by its content, and where that is damaged the one of its name.
  init(file path: String, named: WeightFormat?) throws(FormatError) {
    let file = try PositionalFile(path)
    let magic = try file.read(
      at: 0, count: Int(min(UInt64(Self.magicByteCount), file.byteCount)), field: "magic")
    // The length before a damaged safetensors header may look like a pickle, but not like a ZIP.
    let isTold = named != .safetensors || PyTorchForm(magic: magic) == .zip
    self = (isTold ? Self(magic: magic) : nil) ?? named ?? .safetensors
  }
}
