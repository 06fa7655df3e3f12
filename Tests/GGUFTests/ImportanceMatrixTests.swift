import ByteIO
import GGUF
import SystemPackage
import Tensors
import TestSupport
import Testing

/// Written by llama-imatrix from the models beside them; `text/calibration.txt` was the text.
@Test(arguments: [("llama2", 28, 127), ("llama3", 42, 117)])
func readsWhatTheToolWrote(_ model: String, _ entryCount: Int, _ chunkCount: Int) throws {
  let path = Fixtures.path("models/imatrix/\(model).gguf")
  let matrix = try ImportanceMatrix(path)
  #expect(matrix.entries.count == entryCount)
  #expect(matrix.datasets == ["text/calibration.txt"])
  #expect(matrix.chunkCount == chunkCount)
  #expect(matrix.file == path)
  #expect(matrix.entries["blk.0.attn_q.weight"]?.count == 256)
  #expect(matrix.entries.values.allSatisfy { $0.allSatisfy(\.isFinite) })
}

@Test func dividesSumsByCountsInFloat32() throws {
  // First sums and count of the file, as gguf-py shows them.
  let matrix = try ImportanceMatrix(Fixtures.path("models/imatrix/llama2.gguf"))
  let values = try #require(matrix.entries["blk.0.attn_k.weight"])
  let file = try GGUFFile(Fixtures.path("models/imatrix/llama2.gguf"))
  let sums = try #require(file.tensors.first { $0.name == "blk.0.attn_k.weight.in_sum2" })
  let bytes = try Fixtures.bytes("models/imatrix/llama2.gguf")
  let offset = Int(sums.regions[0].fileOffset)
  let first = bytes.withUnsafeBytes {
    Float(bitPattern: $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }
  #expect(abs(first - 33053.43) < 0.01)
  #expect(values[0] == first / 32512)
}

/// `llama2.dat` was made from `llama2.gguf` by `llama-imatrix --in-file llama2.gguf
/// --output-format dat`.
@Test func readsTheOlderForm() throws {
  let old = try ImportanceMatrix(Fixtures.path("models/imatrix/llama2.dat"))
  let new = try ImportanceMatrix(Fixtures.path("models/imatrix/llama2.gguf"))
  #expect(Set(old.entries.keys) == Set(new.entries.keys))
  #expect(old.datasets == new.datasets)
  // The tool counts chunks of its own context, 512 tokens here against 256 then.
  #expect(old.chunkCount == 63)
  // The tool multiplied by the call count, and the reader divides: two roundings.
  let tolerance: Float = 2 * Float.ulpOfOne
  for (name, values) in new.entries {
    let others = try #require(old.entries[name])
    #expect(others.count == values.count)
    #expect(
      zip(values, others).allSatisfy { abs($0 - $1) <= tolerance * abs($0) }, "\(name)")
  }
}

/// Builds the GGUF form.
private func matrixFile(
  sums: [Float], counts: [Float], columns: Int, changes: (inout Metadata) -> Void = { _ in },
  rename: (String) -> String = { $0 }, type: TensorType = .f32
) throws -> [UInt8] {
  var metadata = Metadata()
  metadata["general.type"] = .string("imatrix")
  metadata["imatrix.datasets"] = .array(.string(StringTable(["a.txt", "b.txt"])))
  metadata["imatrix.chunk_count"] = .uint32(3)
  metadata["imatrix.chunk_size"] = .uint32(512)
  changes(&metadata)
  let layout = try GGUFLayout(
    metadata: metadata,
    tensors: [
      GGUFTensorInfo(
        name: ExactString(rename("t.in_sum2")), shape: Shape([sums.count / columns, columns]),
        type: type),
      GGUFTensorInfo(
        name: ExactString(rename("t.counts")), shape: Shape([counts.count, 1]), type: .f32),
    ])
  var file = GGUFBytes(bytes: layout.headerBytes).float(sums).padded().float(counts).padded()
  if file.bytes.count < Int(layout.fileByteCount) {
    file = file.data(Int(layout.fileByteCount) - file.bytes.count)
  }
  return file.bytes
}

private func read(_ bytes: [UInt8]) throws -> ImportanceMatrix {
  let folder = TemporaryFolder()
  return try ImportanceMatrix(folder.write(bytes, "imatrix"))
}

@Test func dividesPerExpert() throws {
  let matrix = try read(
    matrixFile(sums: [1, 2, 3, 4, 5, 6], counts: [3, 0, 7.4], columns: 2))
  // Count 0 stands for an expert that the text never reached; counts are rounded to integers.
  let expected: [Float] = [1.0 / 3, 2.0 / 3, 1, 1, 5.0 / 7, 6.0 / 7]
  #expect(matrix.entries["t"] == expected)
  #expect(matrix.datasets == ["a.txt", "b.txt"])
}

@Test(arguments: [Float.nan, -1, .infinity, -.infinity])
func refusesNumbersThatNoSumOfSquaresIs(_ bad: Float) throws {
  #expect(throws: FormatError.self) {
    try read(matrixFile(sums: [1, bad], counts: [1], columns: 2))
  }
  #expect(throws: FormatError.self) {
    try read(matrixFile(sums: [1, 1], counts: [bad], columns: 2))
  }
  #expect(throws: FormatError.self) { try read(legacyFile(values: [1, bad]).bytes) }
}

@Test func refusesLengthsThatDoNotFit() throws {
  #expect(throws: FormatError.self) {
    try read(matrixFile(sums: [1, 2, 3], counts: [1, 1], columns: 3))
  }
}

@Test(arguments: ["t.in_sum2", "t.counts"])
func refusesHalfAPair(_ missing: String) throws {
  let bytes = try matrixFile(
    sums: [1, 2], counts: [1], columns: 2, rename: { $0 == missing ? "other" : $0 })
  do {
    _ = try read(bytes)
    Issue.record("accepted")
  } catch let error as FormatError {
    #expect(error.reason == .missing("tensor \(missing)"))
  }
}

@Test func refusesOtherTypesAndFiles() throws {
  #expect(throws: FormatError.self) {
    try read(matrixFile(sums: [1, 2], counts: [1], columns: 2, type: .f16))
  }
  for key in ["imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"] {
    #expect(throws: FormatError.self) {
      try read(matrixFile(sums: [1, 2], counts: [1], columns: 2) { $0[key] = nil })
    }
    #expect(throws: FormatError.self) {
      try read(matrixFile(sums: [1, 2], counts: [1], columns: 2) { $0[key] = .bool(true) })
    }
  }
  #expect(throws: FormatError.self) {
    try read(
      matrixFile(sums: [1, 2], counts: [1], columns: 2) { $0["general.type"] = .string("model") })
  }
}

/// Zeros behind either form take no room on the disk.
@Test(arguments: ["models/imatrix/llama2.gguf", "models/imatrix/llama2.dat"])
func refusesLargeFiles(_ name: String) throws {
  let folder = TemporaryFolder()
  let path = folder.write(try Fixtures.bytes(name), "imatrix")
  let limit = ImportanceSums.maximumFileByteCount
  let file = try FileDescriptor.open(FilePath(path), .writeOnly)
  try file.closeAfter { try file.resize(to: Int64(limit) + 1) }
  do throws(FormatError) {
    _ = try ImportanceMatrix(path)
    Issue.record("accepted")
  } catch {
    #expect(error.field == "imatrix")
    #expect(
      error.reason
        == .outOfRange(
          found: "\(limit + 1) bytes", allowed: "at most \(limit) bytes"))
  }
}

// MARK: The older form

private func legacyFile(
  entryCount: Int32 = 1, nameLength: Int32 = 1, calls: Int32 = 4, valueCount: Int32? = nil,
  values: [Float] = [2, 6]
) -> GGUFBytes {
  GGUFBytes().integer(entryCount).integer(nameLength).raw([UInt8(ascii: "t")]).integer(calls)
    .integer(valueCount ?? Int32(values.count)).float(values)
}

@Test func olderFormEndsInThreeWays() throws {
  let bare = legacyFile()
  #expect(try read(bare.bytes).entries["t"] == [0.5, 1.5])
  let counted = bare.integer(Int32(9))
  #expect(try read(counted.bytes).chunkCount == 9)
  let named = counted.integer(Int32(3)).raw(Array("abc".utf8))
  #expect(try read(named.bytes).datasets == ["abc"])
  #expect(throws: FormatError.self) { try read(named.data(1).bytes) }
  #expect(throws: FormatError.self) { try read(counted.integer(Int32(-1)).bytes) }
  #expect(throws: FormatError.self) { try read(counted.integer(Int32.max).bytes) }
}

@Test func olderFormKeepsValuesWithoutCalls() throws {
  #expect(try read(legacyFile(calls: 0).bytes).entries["t"] == [2, 6])
}

@Test(arguments: [
  legacyFile(entryCount: 0), legacyFile(entryCount: -1), legacyFile(entryCount: .max),
  legacyFile(entryCount: 2), legacyFile(nameLength: 0), legacyFile(nameLength: -1),
  legacyFile(nameLength: .max), legacyFile(calls: -1), legacyFile(valueCount: 0),
  legacyFile(valueCount: -1), legacyFile(valueCount: .max), legacyFile(valueCount: 3), GGUFBytes(),
])
func refusesOlderForm(_ file: GGUFBytes) {
  #expect(throws: FormatError.self) { try read(file.bytes) }
}

@Test func refusesOlderFormWithAnEntryTwice() {
  let one = legacyFile(entryCount: 2)
  let both = one.raw(Array(one.bytes.dropFirst(4)))
  do {
    _ = try read(both.bytes)
    Issue.record("accepted")
  } catch {
    #expect((error as? FormatError)?.reason == .duplicate("entry"))
  }
}

@Test func olderFormRefusesEveryTruncation() throws {
  let whole = legacyFile().integer(Int32(9)).integer(Int32(3)).raw(Array("abc".utf8)).bytes
  // A file may end after its entries, and after the chunk count.
  let complete: Set = [whole.count, whole.count - 7, whole.count - 11]
  for count in 0...whole.count {
    let isAccepted = (try? read(Array(whole[..<count]))) != nil
    #expect(isAccepted == complete.contains(count), "cut at \(count)")
  }
}

// MARK: Filters and what the archive says

@Test func filtersByPartsOfNames() throws {
  let matrix = try ImportanceMatrix(Fixtures.path("models/imatrix/llama2.gguf"))
  func names(_ included: [String], _ excluded: [String]) -> [String] {
    matrix.filtered(including: included, excluding: excluded).entries.keys.map(\.string).sorted()
  }
  #expect(names([], []).count == 28)
  #expect(names(["blk.0.attn_q", "ffn_down"], []).count == 1 + 4)
  #expect(names([], ["attn"]).allSatisfy { $0.contains("ffn") })
  #expect(names([], ["attn"]).count == 12)
  #expect(names(["nothing"], []).isEmpty)
}

@Test func archiveMetadataHasTheToolsKeysAndTypes() throws {
  var matrix = try read(matrixFile(sums: [1, 2], counts: [1], columns: 2))
  matrix.file = "dir/imatrix.gguf"
  #expect(
    matrix.archiveMetadata == [
      MetadataOverride(key: "quantize.imatrix.file", value: .string("dir/imatrix.gguf")),
      MetadataOverride(key: "quantize.imatrix.dataset", value: .string("a.txt")),
      MetadataOverride(key: "quantize.imatrix.entries_count", value: .uint32(1)),
      MetadataOverride(key: "quantize.imatrix.chunks_count", value: .uint32(3)),
    ])
  matrix.chunkCount = 0
  matrix.datasets = []
  matrix.file = String(repeating: "é", count: 100)
  #expect(
    matrix.archiveMetadata.map(\.key) == [
      "quantize.imatrix.file", "quantize.imatrix.entries_count",
    ])
  #expect(matrix.archiveMetadata[0].value == .string(String(repeating: "é", count: 63)))
  matrix.entries = [:]
  #expect(matrix.archiveMetadata.isEmpty)
}
