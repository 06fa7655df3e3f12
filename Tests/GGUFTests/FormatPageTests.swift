import ByteIO
import GGUF
import Tensors
import TestSupport
import Testing

/// The rows of a table in a page under `formats/`, found by its header line.
private func table(_ page: String, _ header: String, after heading: String = "") throws
  -> [[String]]
{
  let text = String(
    decoding: try PositionalFile.readAll(Fixtures.root + "/formats/" + page, limit: 1 << 20),
    as: UTF8.self)
  let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
  let section = try #require(heading.isEmpty ? 0 : lines.firstIndex { $0 == heading })
  let start = try #require(lines[section...].firstIndex { $0 == header })
  return lines[(start + 2)...].prefix { $0.hasPrefix("|") }.map { line in
    line.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast().map {
      String($0.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
  }
}

@Test func valueTypesMatchThePage() throws {
  let rows = try table("gguf.md", "| number | type | bytes | value |")
  #expect(rows.count == GGUFValueType.allCases.count)
  for (row, type) in zip(rows, GGUFValueType.allCases) {
    #expect(row[0] == "\(type.rawValue)")
    #expect(row[1] == "\(type)")
    #expect(row[2] == type.byteCount.map { "\($0)" } ?? "-")
  }
}

@Test func tensorTypesMatchThePage() throws {
  let rows = try table("gguf.md", "| number | tensor type |")
  let types = TensorType.allCases.compactMap { type in
    type.ggmlID.map { [$0.description, type.name] }
  }
  #expect(Set(rows) == Set(types))
  #expect(rows.count == types.count)
}

@Test func limitsMatchThePage() throws {
  let rows = try table("gguf.md", "| limit | value | reason |").map { Array($0.prefix(2)) }
  #expect(
    rows == [
      ["tensor name", "\(GGUFFormat.maximumTensorNameByteCount)"],
      ["key", "\(GGUFFormat.maximumKeyByteCount)"],
      ["dimensions", "\(GGUFFormat.maximumDimensionCount)"],
      ["array depth", "\(GGUFFormat.maximumArrayDepth)"],
      ["header", "\(GGUFFormat.maximumHeaderByteCount)"],
    ])
}

@Test func splitKeysMatchThePage() throws {
  let rows = try table("gguf.md", "| key | type | value |")
  let metadata = try GGUFSplit.metadata(
    Metadata(), part: 0, of: 2, tensorCount: 1, order: .quantizer)
  #expect(rows.map { $0[0] } == metadata.keys.map(\.string))
  #expect(rows.map { $0[1] } == metadata.entries.map { "\($0.value.ggufType)" })
}

@Test func importanceNamesMatchThePage() throws {
  typealias Key = ImportanceMatrix.Key
  let keys = try table("imatrix.md", "| key | type | value |")
  #expect(keys.map { $0[0] } == [Key.type, Key.datasets, Key.chunkCount, Key.chunkSize])
  let tensors = try table("imatrix.md", "| name | row-major shape | content |")
  #expect(tensors.map { $0[0] } == ["X" + Key.sumSuffix, "X" + Key.countSuffix])
  let stored = try table("imatrix.md", "| key | type | value |", after: "## In the archive")
  let matrix = try ImportanceMatrix(Fixtures.path("models/imatrix/llama2.gguf"))
  #expect(stored.map { $0[0] } == matrix.archiveMetadata.map(\.key))
  #expect(stored.map { $0[1] } == matrix.archiveMetadata.map { "\($0.value.ggufType)" })
}
