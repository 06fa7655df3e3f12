import GGUF
import Tensors
import TestSupport
import Testing

/// The cells of some columns of a page's table, row by row.
private func table(_ page: String, _ columns: [String], after heading: String? = nil) throws
  -> [[String]]
{
  try MarkdownTable(page: page, columns: columns, after: heading).rows.map { row in
    try columns.map { try #require(row[$0]) }
  }
}

@Test func valueTypesMatchThePage() throws {
  let rows = try table("gguf.md", ["number", "type", "bytes"])
  #expect(rows.count == GGUFValueType.allCases.count)
  for (row, type) in zip(rows, GGUFValueType.allCases) {
    #expect(row[0] == "\(type.rawValue)")
    #expect(row[1] == "\(type)")
    #expect(row[2] == type.byteCount.map { "\($0)" } ?? "-")
  }
}

@Test func tensorTypesMatchThePage() throws {
  let rows = try table("gguf.md", ["number", "tensor type"])
  let types = TensorType.allCases.compactMap { type in
    type.ggmlID.map { [$0.description, type.name] }
  }
  #expect(Set(rows) == Set(types))
  #expect(rows.count == types.count)
}

@Test func limitsMatchThePage() throws {
  let rows = try table("gguf.md", ["limit", "value"])
  #expect(
    rows == [
      ["tensor name", "\(GGUFFormat.maximumTensorNameByteCount)"],
      ["key", "\(GGUFFormat.maximumKeyByteCount)"],
      ["keys", "\(GGUFFormat.maximumKeyCount)"],
      ["tensors", "\(GGUFFormat.maximumTensorCount)"],
      ["dimensions", "\(GGUFFormat.maximumDimensionCount)"],
      ["alignment", "\(GGUFFormat.maximumAlignment)"],
      ["array depth", "\(GGUFFormat.maximumArrayDepth)"],
      ["header", "\(GGUFFormat.maximumHeaderByteCount)"],
      ["importance matrix", "\(ImportanceSums.maximumFileByteCount)"],
    ])
}

@Test func splitKeysMatchThePage() throws {
  let rows = try table("gguf.md", ["key", "type", "value"])
  let metadata = try GGUFSplit.metadata(
    Metadata(), part: 0, of: 2, tensorCount: 1, order: .quantizer)
  #expect(rows.map { $0[0] } == metadata.keys.map(\.string))
  #expect(rows.map { $0[1] } == metadata.entries.map { "\($0.value.ggufType)" })
}

@Test func importanceNamesMatchThePage() throws {
  typealias Key = ImportanceSums.Key
  let keys = try table("imatrix.md", ["key", "type", "value"])
  #expect(keys.map { $0[0] } == [Key.type, Key.datasets, Key.chunkCount, Key.chunkSize])
  let tensors = try table("imatrix.md", ["name", "row-major shape"])
  #expect(tensors.map { $0[0] } == ["X" + Key.sumSuffix, "X" + Key.countSuffix])
  let stored = try table("imatrix.md", ["key", "type"], after: "## In the archive")
  let matrix = try ImportanceMatrix(Fixtures.path("models/imatrix/llama2.gguf"))
  #expect(stored.map { $0[0] } == matrix.archiveMetadata.map(\.key))
  #expect(stored.map { $0[1] } == matrix.archiveMetadata.map { "\($0.value.ggufType)" })
}
