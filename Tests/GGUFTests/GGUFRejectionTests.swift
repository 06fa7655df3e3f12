import ByteIO
import GGUF
import TestSupport
import Testing

/// A file that has to be refused: where the error must point, and of what kind it must be.
///
/// The names in capitals are the classes of ggml's own test of its reader; the names with a year
/// are shapes of published vulnerabilities of readers of this format.
struct Rejection: CustomTestStringConvertible, Sendable {
  enum Kind: String, Sendable {
    case truncated, outOfRange, unsupported, malformed, missing, duplicate, inconsistent
  }
  var name: String
  var field: String
  var kind: Kind
  var bytes: [UInt8]
  var testDescription: String { name }

  init(_ name: String, _ field: String, _ kind: Kind, _ file: GGUFBytes) {
    self.name = name
    self.field = field
    self.kind = kind
    bytes = file.bytes
  }
}

extension FormatError {
  var kind: Rejection.Kind? {
    switch reason {
    case .truncated: .truncated
    case .outOfRange: .outOfRange
    case .unsupported: .unsupported
    case .malformed: .malformed
    case .missing: .missing
    case .duplicate: .duplicate
    case .inconsistent: .inconsistent
    default: nil
    }
  }
}

/// One tensor info and as many data bytes as its four F32 weights need.
private func oneTensor(_ info: (GGUFBytes) -> GGUFBytes) -> GGUFBytes {
  info(.header(tensors: 1)).padded().data(32)
}

private func oneKey(_ key: (GGUFBytes) -> GGUFBytes) -> GGUFBytes {
  key(.header(keys: 1)).padded().data(64)
}

private let headers: [Rejection] = [
  Rejection("empty file", "gguf.magic", .truncated, GGUFBytes()),
  Rejection("HEADER_BAD_MAGIC", "gguf.magic", .malformed, .header(magic: "FUGG")),
  Rejection("HEADER_BAD_VERSION_0", "gguf.version", .unsupported, .header(version: 0)),
  Rejection("HEADER_BAD_VERSION_1", "gguf.version", .unsupported, .header(version: 1)),
  Rejection("HEADER_BAD_VERSION_FUTURE", "gguf.version", .unsupported, .header(version: 4)),
  Rejection("big-endian", "gguf.version", .unsupported, .header(version: 0x0300_0000)),
  Rejection("HEADER_BAD_N_TENSORS", "gguf.tensor_count", .truncated, .header(tensors: .max)),
  Rejection("HEADER_BAD_N_KV", "gguf.kv_count", .truncated, .header(keys: .max)),
  Rejection(
    "2024-21836 tensor count × size wraps", "gguf.tensor_count", .truncated,
    .header(tensors: 0x0AAA_AAAA_AAAA_AAAB).data(256)),
  Rejection(
    "2024-23605 key count × size wraps", "gguf.kv_count", .truncated,
    .header(keys: 0x0555_5555_5555_5556).data(256)),
]

private let keys: [Rejection] = [
  Rejection(
    "KV_BAD_KEY_SIZE", "gguf.kv[0].key", .outOfRange,
    oneKey { $0.string("my_key", declared: .max).integer(UInt32(4)).integer(UInt32(1)) }),
  Rejection(
    "key longer than the file", "gguf.kv[0].key", .truncated,
    oneKey { $0.string("my_key", declared: 40_000) }),
  Rejection("KV_EMPTY_KEY", "gguf.kv[0].key", .outOfRange, oneKey { $0.key("", uint32: 1) }),
  Rejection("key with NUL", "gguf.kv[0].key", .malformed, oneKey { $0.key("a\0b", uint32: 1) }),
  Rejection(
    "key not UTF-8", "gguf.kv[0].key", .malformed,
    oneKey { $0.integer(UInt64(2)).raw([0xC3, 0x28]).integer(UInt32(4)).integer(UInt32(1)) }),
  Rejection(
    "KV_BAD_TYPE", "gguf.kv[my_key].type", .outOfRange, oneKey { $0.key("my_key", type: 13) }),
  Rejection(
    "KV_BAD_TYPE negative", "gguf.kv[my_key].type", .outOfRange,
    oneKey { $0.key("my_key", type: .max) }),
  Rejection(
    "KV_BAD_TYPE in an array", "gguf.kv[a].element_type", .outOfRange,
    oneKey { $0.key("a", type: 9).array(of: 13, count: 1) }),
  Rejection(
    "KV_DUPLICATE_KEY", "gguf.kv[k]", .duplicate,
    GGUFBytes.header(keys: 2).key("k", uint32: 1).key("k", uint32: 1).padded()),
  Rejection(
    "KV_BAD_ALIGN", "general.alignment", .outOfRange,
    oneKey { $0.key("general.alignment", uint32: 13) }),
  Rejection(
    "KV alignment 0", "general.alignment", .outOfRange,
    oneKey { $0.key("general.alignment", uint32: 0) }),
  Rejection(
    "KV alignment 2 MiB", "general.alignment", .outOfRange,
    oneKey { $0.key("general.alignment", uint32: 1 << 21) }),
  Rejection(
    "KV alignment 2 GiB", "general.alignment", .outOfRange,
    oneKey { $0.key("general.alignment", uint32: 1 << 31) }),
  Rejection(
    "KV_WRONG_TYPE_ALIGN", "general.alignment", .outOfRange,
    oneKey { $0.key("general.alignment", type: 5).integer(Int32(32)) }),
  Rejection(
    "2024-21825 array count", "gguf.kv[a]", .truncated,
    oneKey { $0.key("a", type: 9).array(of: 10, count: 1 << 61) }),
  Rejection(
    "array of strings longer than the file", "gguf.kv[a]", .truncated,
    oneKey { $0.key("a", type: 9).array(of: 8, count: 1 << 30) }),
  Rejection(
    "2024-23496 string length + 1 wraps", "gguf.kv[s]", .truncated,
    oneKey { $0.key("s", type: 8).string("", declared: .max) }),
  Rejection(
    "2025-49847 token of 2^31 bytes", "gguf.kv[tokenizer.ggml.tokens]", .truncated,
    oneKey {
      $0.key("tokenizer.ggml.tokens", type: 9).array(of: 8, count: 1)
        .string("a", declared: 1 << 31)
    }),
  Rejection(
    "arrays nested 5 deep", "gguf.kv[a]", .outOfRange,
    oneKey {
      (0..<5).reduce($0.key("a", type: 9)) { file, _ in file.array(of: 9, count: 1) }
    }),
  Rejection(
    "array of arrays longer than the file", "gguf.kv[a]", .truncated,
    oneKey { $0.key("a", type: 9).array(of: 9, count: 1 << 40) }),
  Rejection("bool 2", "gguf.kv[b]", .outOfRange, oneKey { $0.key("b", type: 7).raw([2]) }),
  Rejection(
    "text not UTF-8", "gguf.kv[s]", .malformed,
    oneKey { $0.key("s", type: 8).integer(UInt64(1)).raw([0xFF]) }),
]

private let tensors: [Rejection] = [
  Rejection(
    "TENSORS_BAD_NAME_SIZE", "gguf.tensor[0].name", .outOfRange,
    oneTensor { $0.tensor(String(repeating: "n", count: 64), [4]) }),
  Rejection("empty name", "gguf.tensor[0].name", .outOfRange, oneTensor { $0.tensor("", [4]) }),
  Rejection(
    "name with NUL", "gguf.tensor[0].name", .malformed, oneTensor { $0.tensor("a\0", [4]) }),
  Rejection(
    "TENSORS_BAD_N_DIMS, 2024-21802", "gguf.tensor[t].n_dims", .outOfRange,
    oneTensor { $0.tensor("t", [1, 1, 1, 1, 1]) }),
  Rejection(
    "n_dims 2^32 - 1", "gguf.tensor[t].n_dims", .outOfRange,
    oneTensor { $0.tensor("t", [4], declaredDimensions: .max) }),
  Rejection(
    "TENSORS_BAD_SHAPE", "gguf.tensor[t].dims", .outOfRange, oneTensor { $0.tensor("t", [.max]) }),
  Rejection(
    "TENSORS_NE_TOO_BIG", "gguf.tensor[t].dims", .outOfRange,
    oneTensor { $0.tensor("t", [4 * 0x7FFF_FFFF, 4 * 0x7FFF_FFFF]) }),
  Rejection(
    "TENSORS_NBYTES_TOO_BIG", "gguf.tensor[t].dims", .outOfRange,
    oneTensor { $0.tensor("t", [1_533_916_891, 1_533_916_891], type: 27) }),
  Rejection(
    "TENSORS_NBYTES_PAD_WRAP", "gguf.tensor[t].dims", .outOfRange,
    oneTensor { $0.tensor("t", [4, 1_073_741_823, 1_073_741_825]) }),
  Rejection(
    "huge dimension beside a zero", "gguf.tensor[t].dims", .outOfRange,
    oneTensor { $0.tensor("t", [1 << 62, 0, 1 << 62]) }),
  Rejection(
    "2026-33298 exabytes in a small file", "gguf.tensor[t].dims", .truncated,
    oneTensor { $0.tensor("t", [1 << 60], type: 24) }),
  Rejection(
    "2026-7482 larger than the file", "gguf.tensor[t].dims", .truncated,
    oneTensor { $0.tensor("t", [4096, 4096], type: 12) }),
  Rejection(
    "TENSORS_BAD_TYPE", "gguf.tensor[t].type", .unsupported,
    oneTensor { $0.tensor("t", [4], type: 43) }),
  Rejection(
    "negative type", "gguf.tensor[t].type", .unsupported,
    oneTensor { $0.tensor("t", [4], type: .max) }),
  Rejection(
    "type that ggml removed", "gguf.tensor[t].type", .unsupported,
    oneTensor { $0.tensor("t", [32], type: 4) }),
  Rejection(
    "row of a partial block", "gguf.tensor[t].dims", .outOfRange,
    oneTensor { $0.tensor("t", [16, 2], type: 2) }),
  Rejection(
    "TENSORS_BAD_OFFSET", "gguf.tensor[t].offset", .outOfRange,
    oneTensor { $0.tensor("t", [4], at: .max) }),
  Rejection(
    "offset past the end", "gguf.tensor[t].offset", .truncated,
    oneTensor { $0.tensor("t", [4], at: 32) }),
  Rejection(
    "offset that wraps", "gguf.tensor[t].offset", .truncated,
    oneTensor { $0.tensor("t", [4], at: .max - 31) }),
  Rejection(
    "empty tensor past the end", "gguf.tensor[t].offset", .truncated,
    oneTensor { $0.tensor("t", [0], at: 4096) }),
  Rejection(
    "TENSORS_DUPLICATE_NAME", "gguf.tensor[t]", .duplicate,
    GGUFBytes.header(tensors: 2).tensor("t", [4]).tensor("t", [4], at: 32).padded().data(64)),
  Rejection(
    "TENSORS_BAD_ALIGN, DATA_BAD_ALIGN", "general.alignment", .outOfRange,
    GGUFBytes.header(tensors: 1, keys: 1).key("general.alignment", uint32: 13)
      .tensor("t", [4]).padded(to: 13).data(32)),
  Rejection(
    "TENSORS_INCONSISTENT_ALIGN, DATA_INCONSISTENT_ALIGN", "gguf.tensor[u].offset", .outOfRange,
    GGUFBytes.header(tensors: 2).tensor("t", [4]).tensor("u", [4], at: 16).padded().data(32)),
  Rejection(
    "two tensors overlap", "gguf.tensor[u].offset", .inconsistent,
    GGUFBytes.header(tensors: 2).tensor("t", [16]).tensor("u", [16], at: 32).padded().data(128)),
  Rejection(
    "two tensors share all bytes", "gguf.tensor[u].offset", .inconsistent,
    GGUFBytes.header(tensors: 2).tensor("t", [16]).tensor("u", [16]).padded().data(128)),
  Rejection(
    "no data section", "gguf.padding", .truncated, GGUFBytes.header(tensors: 1).tensor("t", [0])),
  Rejection(
    "DATA_NOT_ENOUGH_DATA", "gguf.tensor[t].offset", .truncated,
    GGUFBytes.header(tensors: 1).tensor("t", [4]).padded().data(15)),
  Rejection(
    "DATA_NOT_ENOUGH_DATA in the padding", "gguf.padding", .truncated,
    GGUFBytes.header(tensors: 1).tensor("t", [4]).padded().data(31)),
  Rejection(
    "DATA_MEM_SIZE_OVERFLOW, 2025-53630, 2026-27940", "gguf.tensor[t].dims", .truncated,
    GGUFBytes.header(tensors: 2).tensor("t", [0x7FFF_FFFF_FFFF_FFC0], type: 24)
      .tensor("u", [0x7FFF_FFFF_FFFF_FFC0], type: 24, at: 0x7FFF_FFFF_FFFF_FFC0)
      .padded().data(32)),
]

@Test(arguments: headers + keys + tensors)
func rejects(_ rejection: Rejection) throws {
  let folder = TemporaryFolder()
  let path = folder.write(rejection.bytes)
  do throws(FormatError) {
    _ = try GGUFFile(path)
    Issue.record("accepted")
  } catch {
    #expect(error.field == rejection.field)
    #expect(error.kind == rejection.kind, "\(error)")
    #expect(error.file == path)
    if let offset = error.fileOffset { #expect(offset <= UInt64(rejection.bytes.count)) }
  }
}

/// A count is refused beyond its limit; within it, the first thing that it counts is.
@Test(arguments: [
  (0, 65_536, "gguf.kv[0].key"), (0, 65_537, "gguf.kv_count"),
  (1_048_576, 0, "gguf.tensor[0].name"), (1_048_577, 0, "gguf.tensor_count"),
])
func limitsCounts(_ tensors: UInt64, _ keys: UInt64, _ field: String) {
  let folder = TemporaryFolder()
  let room = [UInt8](repeating: 0, count: 25 * Int(tensors) + 14 * Int(keys))
  let path = folder.write(GGUFBytes.header(tensors: tensors, keys: keys).raw(room).bytes)
  do throws(FormatError) {
    _ = try GGUFFile(path)
    Issue.record("accepted")
  } catch {
    #expect(error.field == field)
    #expect(error.kind == .outOfRange)
  }
}

@Test(arguments: [(64, 128), (4096, 4096), (1 << 20, 1 << 20)])
func readsLargeAlignments(_ alignment: Int, _ dataOffset: UInt64) throws {
  let folder = TemporaryFolder()
  let file = GGUFBytes.header(tensors: 1, keys: 1)
    .key("general.alignment", uint32: UInt32(alignment)).tensor("t", [4]).padded(to: alignment)
    .data(16)
  #expect(try GGUFFile(folder.write(file.bytes)).parts[0].header.dataOffset == dataOffset)
}

@Test func rejectsEveryTruncation() throws {
  // The data ends on a multiple of the alignment, so no byte of the file is dispensable.
  let whole = try ExampleArchive.bytes()
  let folder = TemporaryFolder()
  #expect(throws: Never.self) { try GGUFFile(folder.write(whole)) }
  for count in 0..<whole.count {
    let path = folder.write(Array(whole[..<count]))
    #expect(throws: FormatError.self, "cut at \(count)") { try GGUFFile(path) }
  }
}

@Test func survivesEveryByteSetToEveryExtreme() throws {
  let whole = try ExampleArchive.bytes()
  let folder = TemporaryFolder()
  for index in whole.indices {
    for value: UInt8 in [0, 1, 0x7F, 0x80, 0xFF] {
      var changed = whole
      changed[index] = value
      // Accepted or refused; never a trap, and what is accepted can be read.
      guard let file = try? GGUFFile(folder.write(changed)) else { continue }
      for tensor in file.tensors {
        var buffer = [UInt8](repeating: 0, count: tensor.byteCount)
        try buffer.withUnsafeMutableBytes { try file.read(tensor, at: 0, into: $0) }
      }
    }
  }
}
