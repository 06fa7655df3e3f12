import ByteIO
import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A real F16 archive whose header is patched.
private struct ArchiveImage {
  var bytes: [UInt8]

  static let original: [UInt8] = {
    let folder = TemporaryFolder()
    let path = folder.file("f16.gguf")
    _ = Command.ingot("convert", Fixtures.path("models/llama3"), "-o", path, "--type", "F16")
    return (try? PositionalFile.readAll(path, limit: 64 << 20)) ?? []
  }()

  init() { bytes = Self.original }

  /// Where a text ends for the first time in the header, from its end on if `last`.
  private func end(of text: String, last: Bool) -> Int {
    let wanted = Array(text.utf8)
    let header = bytes.prefix(400_000)
    let starts = last ? Array(header.indices.reversed()) : Array(header.indices)
    guard
      let start = starts.first(where: {
        header[$0] == wanted[0] && header[$0...].starts(with: wanted)
      })
    else { preconditionFailure("\(text) is not in the header") }
    return start + wanted.count
  }

  mutating func put(_ value: some FixedWidthInteger, at offset: Int) {
    withUnsafeBytes(of: value.littleEndian) {
      bytes.replaceSubrange(offset..<offset + $0.count, with: $0)
    }
  }

  /// Overwrites the value of a key, or with `skip` 0 its type.
  mutating func key(_ name: String, skip: Int = 4, _ value: some FixedWidthInteger) {
    put(value, at: end(of: name, last: false) + skip)
  }

  /// Overwrites a field of the tensor info of `token_embd.weight`, `skip` bytes behind its name:
  /// 0 dimension count, 4 and 12 dimensions, 20 type, 24 offset.
  mutating func tensor(skip: Int, _ value: some FixedWidthInteger) {
    put(value, at: end(of: "token_embd.weight", last: true) + skip)
  }

  mutating func rename(_ old: String, _ new: String) {
    precondition(old.utf8.count == new.utf8.count)
    let end = end(of: old, last: true)
    bytes.replaceSubrange(end - old.utf8.count..<end, with: Array(new.utf8))
  }
}

private struct BadArchive: CustomTestStringConvertible, Sendable {
  var name: String
  var says: [String]
  var damage: @Sendable (inout ArchiveImage) -> Void
  var testDescription: String { name }

  init(
    _ name: String, _ says: String..., damage: @escaping @Sendable (inout ArchiveImage) -> Void
  ) {
    self.name = name
    self.says = says
    self.damage = damage
  }
}

private let archives: [BadArchive] =
  [
    BadArchive("magic") { $0.bytes[3] = UInt8(ascii: "X") },
    BadArchive("version 1", "version") { $0.put(UInt32(1), at: 4) },
    BadArchive("version 4", "version") { $0.put(UInt32(4), at: 4) },
    BadArchive("big-endian", "version") { $0.put(UInt32(0x0300_0000), at: 4) },
    BadArchive("2^64 - 1 tensors", "tensor_count") { $0.put(UInt64.max, at: 8) },
    BadArchive("2^40 tensors", "tensor_count") { $0.put(UInt64(1 << 40), at: 8) },
    BadArchive("one tensor too many") { $0.bytes[8] += 1 },
    BadArchive("2^64 - 1 keys", "kv_count") { $0.put(UInt64.max, at: 16) },
    BadArchive("one key too many") { $0.bytes[16] += 1 },
    BadArchive("key of 2^64 - 1 bytes", "gguf.kv[0].key") { $0.put(UInt64.max, at: 24) },
    BadArchive("value type 13", "general.architecture") {
      $0.key("general.architecture", skip: 0, UInt32(13))
    },
    BadArchive("text of 2^63 bytes", "general.architecture") {
      $0.key("general.architecture", UInt64(1) << 63)
    },
    BadArchive("2^61 tokens", "tokenizer.ggml.tokens") {
      $0.key("tokenizer.ggml.tokens", skip: 8, UInt64(1 << 61))
    },
    BadArchive("no layers", "llama.block_count") { $0.key("llama.block_count", UInt32(0)) },
    BadArchive("2^32 - 1 layers", "llama.block_count") {
      $0.key("llama.block_count", UInt32.max)
    },
    BadArchive("no head count", "llama.attention.head_count") {
      $0.rename("llama.attention.head_count_kv", "llama.attention.head_bount_kv")
      $0.key("llama.attention.head_count", skip: 0, UInt32(6))
    },
    BadArchive("5 dimensions", "token_embd.weight") { $0.tensor(skip: 0, UInt32(5)) },
    BadArchive("dimension of 2^64 - 1", "token_embd.weight") { $0.tensor(skip: 4, UInt64.max) },
    BadArchive("product above 2^63", "token_embd.weight") {
      $0.tensor(skip: 4, UInt64(1 << 62))
    },
    BadArchive("larger than the file", "token_embd.weight") {
      $0.tensor(skip: 12, UInt64(1 << 30))
    },
    BadArchive("removed type", "token_embd.weight") { $0.tensor(skip: 20, UInt32(4)) },
    BadArchive("unknown type", "token_embd.weight") { $0.tensor(skip: 20, UInt32(1000)) },
    BadArchive("negative type", "token_embd.weight") { $0.tensor(skip: 20, UInt32.max) },
    BadArchive("misaligned offset", "token_embd.weight") { $0.tensor(skip: 24, UInt64(8)) },
    BadArchive("offset behind the end", "token_embd.weight") {
      $0.tensor(skip: 24, UInt64(1 << 30))
    },
    BadArchive("offset that wraps", "token_embd.weight") { $0.tensor(skip: 24, UInt64.max - 31) },
    BadArchive("overlap", "overlaps") { $0.tensor(skip: 24, UInt64(0)) },
    BadArchive("duplicate tensor", "blk.0.attn_k.weight", "duplicate") {
      $0.rename("blk.1.attn_k.weight", "blk.0.attn_k.weight")
    },
    BadArchive("duplicate key", "duplicate") {
      $0.rename("tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id")
    },
    BadArchive("empty file") { $0.bytes = [] },
    BadArchive("only the magic") { $0.bytes = Array("GGUF".utf8) },
  ]
  + [5, 23, 24, 100, 30_000, 100_000, 200_000, 5_000_000, -1, -33].map { count in
    BadArchive("cut to \(count) bytes") {
      $0.bytes = Array(count < 0 ? $0.bytes.dropLast(-count) : $0.bytes.prefix(count))
    }
  }

@Test(arguments: archives)
fileprivate func refusesBadArchive(_ archive: BadArchive) throws {
  let folder = TemporaryFolder()
  var image = ArchiveImage()
  archive.damage(&image)
  let path = folder.write("bad.gguf", image.bytes)
  mkdir(folder.file("out"), 0o755)
  // A copy needs no head count, which archives that are no models do not have.
  for type in archive.name == "no head count" ? ["Q8_0"] : ["Q8_0", "copy"] {
    let result = Command.ingot("convert", path, "-o", folder.file("out/out.gguf"), "--type", type)
    expectRefusal(
      result, status: 65, says: ["bad.gguf"] + archive.says, leaving: folder.list("out"),
      archive.name)
  }
  let checked = Command.ingot("check", path)
  #expect([1, 65].contains(checked.status), "\(archive.name): \(checked.error)")
  #expect([0, 65].contains(Command.ingot("inspect", path, "--json", "--tensors").status))
}

@Test func refusesWeightsOfAnArchiveThatAreNotFinite() throws {
  let folder = TemporaryFolder()
  var image = ArchiveImage()
  // The last two bytes before the padding belong to the last tensor; all of it becomes NaN.
  image.put(UInt64.max, at: image.bytes.count - 64)
  let path = folder.write("nan.gguf", image.bytes)
  mkdir(folder.file("out"), 0o755)
  expectRefusal(
    Command.ingot("convert", path, "-o", folder.file("out/out.gguf"), "--type", "Q8_0"),
    status: 65, says: ["nan.gguf", "row", "column"], leaving: folder.list("out"), "NaN")
  #expect(Command.ingot("check", path).status == 1)
}

@Test func refusesToRequantizeUnlessAllowed() throws {
  let folder = TemporaryFolder()
  let source = folder.file("q8.gguf")
  #expect(
    Command.ingot("convert", Fixtures.path("models/llama3"), "-o", source, "--type", "Q8_0").status
      == 0)
  mkdir(folder.file("out"), 0o755)
  let output = folder.file("out/out.gguf")
  expectRefusal(
    Command.ingot("convert", source, "-o", output, "--type", "Q4_K_M"), status: 65,
    says: ["q8.gguf", "already quantized", "--allow-requantize"], leaving: folder.list("out"), "")
  let allowed = Command.ingot(
    "convert", source, "-o", output, "--type", "Q4_K_M", "--allow-requantize")
  #expect(allowed.status == 0, "\(allowed.error)")
}

@Test func refusesIncompleteOrLyingSets() throws {
  let folder = TemporaryFolder()
  let whole = folder.file("set/s.gguf")
  mkdir(folder.file("set"), 0o755)
  mkdir(folder.file("out"), 0o755)
  #expect(
    Command.ingot(
      "convert", Fixtures.path("models/llama3"), "-o", whole, "--type", "F16", "--split-max-size",
      "6M"
    ).status == 0)
  #expect(folder.list("set") == ["s-00001-of-00002.gguf", "s-00002-of-00002.gguf"])
  let first = folder.file("set/s-00001-of-00002.gguf")
  let second = folder.file("set/s-00002-of-00002.gguf")
  let bytes = try PositionalFile.readAll(second, limit: 64 << 20)

  func refuse(_ path: String, status: Int32, _ says: String...) {
    let result = Command.ingot("convert", path, "-o", folder.file("out/o.gguf"), "--type", "copy")
    expectRefusal(
      result, status: status, says: says, leaving: folder.list("out"), "\(says) \(result.error)")
  }
  refuse(second, status: 65, "s-00002-of-00002.gguf", "first part")
  folder.write("set/s-00002-of-00002.gguf", bytes.dropLast(5000))
  refuse(first, status: 65, "s-00002-of-00002.gguf", "cut off")
  folder.write("set/s-00002-of-00002.gguf", try PositionalFile.readAll(first, limit: 64 << 20))
  refuse(first, status: 65, "s-00002-of-00002.gguf", "split.no")
  unlink(second)
  refuse(first, status: 66, "s-00002-of-00002.gguf", "no such file")
}

/// A tensor of no weights may have rows of any length, and takes no memory.
@Test func acceptsEmptyTensorOfEndlessRows() throws {
  let folder = TemporaryFolder()
  func integer(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }
  func text(_ text: String) -> [UInt8] { integer(UInt64(text.utf8.count)) + Array(text.utf8) }
  func key(_ name: String, _ value: Int) -> [UInt8] {
    text(name) + integer(UInt32(4)) + integer(UInt32(value))
  }
  for (dimensions, type) in [
    ([1 << 62, 0], 0), ([0, 1 << 62], 1), ([1 << 60, 0, 1], 8), ([1 << 62, 0], 2),
  ] {
    let tensor =
      text("blk.0.attn_q.weight") + integer(UInt32(dimensions.count))
      + dimensions.flatMap { integer(UInt64($0)) } + integer(UInt32(type)) + integer(UInt64(0))
    var bytes = Array("GGUF".utf8) + integer(UInt32(3)) + integer(UInt64(1)) + integer(UInt64(3))
    bytes += text("general.architecture") + integer(UInt32(8)) + text("llama")
    bytes += key("llama.block_count", 1) + key("llama.attention.head_count", 1) + tensor
    bytes += [UInt8](repeating: 0, count: 32 - bytes.count % 32)
    let path = folder.write("empty.gguf", bytes)
    for recipe in [["F16"], ["copy"], ["Q8_0", "--allow-requantize"]] {
      let result = Command.run(
        [Command.ingot, "convert", path, "-o", folder.file("out.gguf"), "--type"] + recipe)
      #expect(result.status == 0, "\(dimensions) \(recipe): \(result.error)")
    }
    #expect(Command.ingot("inspect", path, "--tensors").status == 0)
    #expect(Command.ingot("check", path).status == 1)
  }
}
