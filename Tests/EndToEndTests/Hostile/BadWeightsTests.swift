import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

private let first = CheckpointVariant.firstShard
private let second = CheckpointVariant.secondShard

/// A BF16 weight that is not finite, and where it is.
private let badWeights: [(shard: String, tensor: String, row: Int, column: Int, bits: UInt16)] = [
  (first, "model.embed_tokens.weight", 0, 0, 0x7FC0),
  (first, "model.embed_tokens.weight", 2047, 255, 0xFF80),
  (second, "lm_head.weight", 2047, 255, 0x7F80),
  // Rows of queries and keys move: the error has to speak of the input's.
  (first, "model.layers.0.self_attn.q_proj.weight", 255, 255, 0x7F81),
  (first, "model.layers.0.self_attn.k_proj.weight", 1, 0, 0xFFFF),
  (first, "model.layers.0.self_attn.q_proj.weight", 0, 3, 0x7FC0),
  (second, "model.norm.weight", 0, 255, 0x7FC0),
]

@Test(arguments: badWeights.indices, ["Q4_K_M", "BF16"])
func refusesWeightThatIsNotFinite(_ number: Int, _ type: String) throws {
  let bad = badWeights[number]
  let variant = CheckpointVariant()
  try variant.editShard(bad.shard) {
    try $0.set(
      bad.tensor, row: bad.row, column: bad.column, [UInt8(bad.bits & 255), UInt8(bad.bits >> 8)])
  }
  expectRefusal(
    variant.convert(["--type", type]), status: 65,
    says: [bad.shard, "tensor \(bad.tensor), row \(bad.row), column \(bad.column)", "finite"],
    leaving: variant.outputs, "\(bad)")
  let allowed = variant.convert(["--type", type, "--allow-nonfinite"])
  #expect(allowed.status == 0, "\(allowed.error)")
  #expect(variant.outputs == ["out.gguf"])
}

/// The failure that is reported does not depend on which thread meets its own first.
@Test func reportsTheSameBadWeightAtEveryThreadCount() throws {
  let variant = CheckpointVariant()
  for (shard, tensor) in [(first, "model.embed_tokens.weight"), (second, "lm_head.weight")] {
    try variant.editShard(shard) {
      for row in stride(from: 3, to: 2048, by: 100) {
        try $0.set(tensor, row: row, column: 7, [0xC0, 0x7F])
      }
    }
  }
  let messages = [1, 2, 7, 16, 2].map { variant.convert(["--threads", "\($0)"]).error }
  #expect(Set(messages).count == 1, "\(messages)")
}

/// 999,424 is a BF16 weight that neither F16 nor the scale of a Q4_0 block can hold.
@Test(arguments: ["F16", "Q4_0"])
func refusesWeightThatTheTypeCannotHold(_ type: String) throws {
  let variant = CheckpointVariant()
  let tensor = "model.layers.0.self_attn.v_proj.weight"
  try variant.editShard(first) { try $0.set(tensor, row: 100, column: 32, [0x74, 0x49]) }
  expectRefusal(
    variant.convert(["--type", type]), status: 65,
    says: [first, "tensor \(tensor), row 100, column 32", "too large for \(type)"],
    leaving: variant.outputs, type)
  #expect(variant.convert(["--type", "Q8_0"]).status == 0)
}

/// A float64 weight beyond single precision, and a float32 one that rounds to infinity in BF16.
@Test func refusesWeightBeyondSinglePrecision() throws {
  let tensor = "model.layers.0.self_attn.v_proj.weight"
  for (type, weight, options) in [
    ("F64", withUnsafeBytes(of: 1e300.bitPattern.littleEndian) { Array($0) }, "BF16"),
    (
      "F32",
      withUnsafeBytes(of: Float.greatestFiniteMagnitude.bitPattern.littleEndian) { Array($0) },
      "BF16"
    ),
  ] {
    let variant = CheckpointVariant()
    try variant.editShard(first) { image in
      image = SafetensorsImage(
        try image.tensors.map { entry in
          guard entry.name == tensor else { return entry }
          let zeros = [UInt8](repeating: 0, count: 128 * 256 * weight.count - weight.count)
          return (entry.name, type, entry.shape, zeros + weight)
        })
    }
    expectRefusal(
      variant.convert(["--type", options]), status: 65,
      says: [first, "tensor \(tensor), row 127, column 255"], leaving: variant.outputs, type)
  }
}

// MARK: Files that are no files

private let openSocket = socket

/// What stands where a file is due.
enum SpecialFile: String, CaseIterable, Sendable {
  case pipe, folder, zeros, null, socket

  func put(at path: String) {
    unlink(path)
    switch self {
    case .pipe: mkfifo(path, 0o600)
    case .folder: mkdir(path, 0o755)
    case .zeros: symlink("/dev/zero", path)
    case .null: symlink("/dev/null", path)
    case .socket:
      // Bound and left behind: a socket's name without a listener.
      let descriptor = openSocket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
      _ = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
      }
      close(descriptor)
    }
  }
}

@Test(
  arguments: SpecialFile.allCases,
  [
    first, CheckpointVariant.index, "config.json", "tokenizer.json", "tokenizer_config.json",
  ])
func refusesWhatIsNoRegularFile(_ kind: SpecialFile, _ name: String) throws {
  let variant = CheckpointVariant()
  kind.put(at: variant.path + "/" + name)
  expectRefusal(
    variant.convert(), status: 65, says: [name], leaving: variant.outputs, "\(kind) \(name)")
}

/// What only adds facts about the model is left out with a note.
@Test(arguments: SpecialFile.allCases, ["generation_config.json", "README.md"])
func notesWhatIsNoRegularFile(_ kind: SpecialFile, _ name: String) throws {
  let variant = CheckpointVariant()
  kind.put(at: variant.path + "/" + name)
  let result = variant.convert(["--dry-run"])
  #expect(result.status == 0, "\(result.error)")
  #expect(result.error.hasPrefix("note: ignored: "), "\(result.error)")
  #expect(result.error.contains("/" + name + ": "), "\(result.error)")
}

@Test(arguments: SpecialFile.allCases)
func refusesSpecialFileAsArgument(_ kind: SpecialFile) throws {
  let folder = TemporaryFolder()
  let path = folder.file("special")
  kind.put(at: path)
  for arguments in [
    ["inspect", path], ["check", path], ["convert", path, "-o", folder.file("out.gguf")],
  ] {
    let result = Command.run([Command.ingot] + arguments)
    // An empty folder is a checkpoint without weights.
    expectRefusal(
      result, status: 65, says: ["special"], leaving: folder.list().filter { $0 != "special" },
      "\(arguments)")
  }
  rmdir(path)
}

@Test(.enabled(if: geteuid() != 0, "root may read everything"))
func saysWhichFileMayNotBeRead() throws {
  for name in [second, "config.json", "tokenizer.json"] {
    let variant = CheckpointVariant()
    variant.write(name, try variant.original(name))
    chmod(variant.path + "/" + name, 0)
    expectRefusal(
      variant.convert(), status: 74, says: [name, "denied"], leaving: variant.outputs, name)
  }
}

// MARK: Importance

/// One entry of a `.dat` importance matrix.
private func legacyMatrix(_ name: String, _ values: [Float]) -> [UInt8] {
  func integer(_ value: Int) -> [UInt8] {
    withUnsafeBytes(of: Int32(value).littleEndian) { Array($0) }
  }
  return integer(1) + integer(name.utf8.count) + Array(name.utf8) + integer(1)
    + integer(values.count)
    + values.flatMap { withUnsafeBytes(of: $0.bitPattern.littleEndian) { Array($0) } }
    + integer(1) + integer(4) + Array("text".utf8)
}

@Test func refusesBadImportance() throws {
  let ones = [Float](repeating: 1, count: 256)
  let name = "blk.0.attn_q.weight"
  let cases: [(matrix: [UInt8], says: [String])] = [
    (legacyMatrix(name, Array(ones.dropLast())), [name, "255", "256", "another model"]),
    (legacyMatrix(name, Array(ones.dropLast()) + [.nan]), [name]),
    (legacyMatrix(name, Array(ones.dropLast()) + [.infinity]), [name]),
    (legacyMatrix(name, Array(ones.dropLast()) + [-1]), [name]),
    (Array(legacyMatrix(name, ones).dropLast(700)), []),
    ([], []),
  ]
  let folder = TemporaryFolder()
  for (matrix, says) in cases {
    let variant = CheckpointVariant()
    let path = folder.write("imatrix.dat", matrix)
    expectRefusal(
      variant.convert(["--imatrix", path, "--type", "Q4_K_M"]), status: 65,
      says: ["imatrix.dat"] + says, leaving: variant.outputs, "\(says)")
  }
  let variant = CheckpointVariant()
  let good = folder.write("good.dat", legacyMatrix(name, ones))
  #expect(variant.convert(["--imatrix", good, "--type", "Q4_K_M"]).status == 0)
}
