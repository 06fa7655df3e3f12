import ByteIO
import Formats
import GGUF
import TestSupport
import Testing

@Test func checkedKeysAreWellFormed() {
  let rows = FormatTable(
    Formats.Checks.keys, name: "checks/archive-keys.tsv",
    columns: ["architecture", "key", "type", "presence", "allowed"]
  ).rows
  let types = Set(GGUFValueType.allCases.map { "\($0)" }).union(["uint32/layer"])
  #expect(!rows.isEmpty)
  for row in rows {
    #expect(types.contains(row["type"]), "line \(row.line)")
    #expect(["required", "optional"].contains(row["presence"]), "line \(row.line)")
    let bounds = row["allowed"].split(separator: ".").compactMap { Int($0) }
    switch row["type"] {
    case "uint32", "uint32/layer":
      #expect(row["allowed"].isEmpty || bounds.count == 2, "line \(row.line)")
    case "float32": #expect(["", "positive"].contains(row["allowed"]), "line \(row.line)")
    default: #expect(bounds.isEmpty, "line \(row.line)")
    }
  }
  #expect(Set(rows.map { $0["architecture"] + " " + $0["key"] }).count == rows.count)
}

@Test func checkedTensorsUseTheWordsOfThePage() throws {
  let rows = FormatTable(
    Formats.Checks.tensors, name: "checks/archive-tensors.tsv",
    columns: ["architecture", "tensor", "models", "presence", "shape"]
  ).rows
  let page = String(
    decoding: try PositionalFile.readAll(
      Fixtures.root + "/formats/checks/README.md", limit: 1 << 20), as: UTF8.self)
  let lines = page.split(separator: "\n", omittingEmptySubsequences: false)
  let start = try #require(lines.firstIndex { $0 == "| word | value |" })
  let words = lines[(start + 2)...].prefix { $0.hasPrefix("|") }
    .map { $0.split(separator: " ")[1] }.map(String.init)
  #expect(Set(rows.flatMap { $0.list("shape", separator: " ") }) == Set(words))
  for row in rows {
    #expect(["all", "dense", "experts"].contains(row["models"]), "line \(row.line)")
    #expect(["required", "optional"].contains(row["presence"]), "line \(row.line)")
  }
  #expect(Set(rows.map { $0["architecture"] + " " + $0["tensor"] }).count == rows.count)
}
