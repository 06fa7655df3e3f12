import ByteIO
import Checkpoints
import StrictJSON
import Tensors
import TestSupport
import Testing

/// Cases recorded from the reference converter; the file states its origin.
private let cases: [JSONValue] = {
  let path = Fixtures.path("golden/checkpoints/general-metadata.json")
  return (try? JSONValue(file: path, limit: 1 << 20))?["cases"]?.array ?? []
}()

private func make(_ recorded: JSONValue, in folder: TemporaryFolder) throws -> String {
  let name = try #require(recorded["directory"]?.string)
  let directory = folder.makeFolder(name)
  if let path = recorded["nameOrPath"]?.string {
    folder.write(name + "/config.json", "{\"_name_or_path\":\"\(path)\"}")
  }
  for (member, file) in [
    ("readme", "README.md"), ("generationConfig", "generation_config.json"),
  ] {
    if let text = recorded[member]?.string { folder.write(name + "/" + file, text) }
  }
  return directory
}

@Test func casesAreThere() { #expect(cases.count > 100) }

@Test(arguments: cases.indices)
func matchesTheConverter(_ index: Int) throws {
  let folder = TemporaryFolder()
  let directory = try make(cases[index], in: folder)
  let count = try #require(cases[index]["parameterCount"]?.int)
  let entries = try generalMetadata(
    directory: directory, architecture: "llama", parameterCounts: ParameterCounts(dense: count)
  ).entries
  let expected = try #require(cases[index]["metadata"]?.array)
  #expect(entries.keys.map(\.string) == expected.map { $0.array?[0].string })
  for row in expected {
    let cells = try #require(row.array)
    let key = try #require(cells[0].string)
    let value: MetadataValue? =
      switch cells[1].string {
      case "string": cells[2].string.map { .string($0) }
      case "uint32": cells[2].int.map { .uint32(UInt32($0)) }
      case "int32": cells[2].int.map { .int32(Int32($0)) }
      case "float32": cells[2].int.map { .float32(Float(bitPattern: UInt32($0))) }
      case "array": cells[2].array.map { .array(.string(StringTable($0.compactMap(\.string)))) }
      default: nil
      }
    #expect(entries[key] == value, "\(key)")
  }
}

private func general(_ files: [String: String], modelName: String? = nil) throws -> (
  entries: Metadata, notes: [String]
) {
  let folder = TemporaryFolder()
  let directory = folder.makeFolder("Some-1B")
  for (name, text) in files { folder.write("Some-1B/" + name, text) }
  return try generalMetadata(
    directory: directory, architecture: "llama", modelName: modelName,
    parameterCounts: ParameterCounts(dense: 1_000_000_000))
}

@Test func modelNameReplacesTheName() throws {
  let entries = try general(["README.md": "---\nname: Card\n---\n"], modelName: "Mine").entries
  #expect(entries["general.name"] == .string("Mine"))
  #expect(entries["general.size_label"] == .string("1B"))
}

@Test func countsExpertsInTheLabel() {
  let mixtral = ParameterCounts(
    total: 46_702_792_704, shared: 1_605_639_168, perExpert: 5_637_144_192, expertCount: 8)
  #expect(mixtral.sizeLabel == "8x7.2B")
  #expect(ParameterCounts(dense: 0).sizeLabel == nil)
}

/// An alias of an alias of … would expand to 10^9 values.
private let aliasBomb =
  "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
  + (1...9).map { level in
    let alias = "*a\(level - 1)"
    return "a\(level): &a\(level) [" + Array(repeating: alias, count: 10).joined(separator: ",")
      + "]\n"
  }.joined()

/// Each level holds an alias of the one before it: no line is deep, the last value is.
private func aliasChain(_ levels: Int) -> String {
  (1..<levels).reduce("a1: &a1 [x]\n") { text, level in
    text + "a\(level + 1): &a\(level + 1) [*a\(level)]\n"
  }
}

@Test func readsLevelsUpToTheLimit() throws {
  // The mapping itself is a level.
  for yaml in [
    aliasChain(31),
    "a: " + String(repeating: "[", count: 31)
      + String(repeating: "]", count: 31) + "\n",
  ] {
    let result = try general(["README.md": "---\nlicense: mit\n\(yaml)---\n"])
    #expect(result.entries["general.license"] == .string("mit"), "\(result.notes)")
  }
}

@Test(arguments: [1, 1024, 1025, 4 << 20])
func ignoresNamesThatAreTooLong(_ byteCount: Int) throws {
  // Every part is another size.
  let sizes = (0...byteCount / 2).lazy.map { "-\($0)B" }
  var name = "N"
  for size in sizes where name.utf8.count + size.utf8.count <= byteCount { name += size }
  name += String(repeating: "x", count: byteCount - name.utf8.count)
  let time = try processorTime {
    let result = try general(["config.json": "{\"_name_or_path\":\"\(name)\"}"])
    let isTaken = result.entries["general.name"]?.string?.hasPrefix("N") == true
    #expect(isTaken == (byteCount <= 1024))
  }
  #expect(isOfOrder(time, of: 2))
}

@Test(arguments: [
  aliasChain(32), aliasChain(3000),
  "a: " + String(repeating: "[", count: 32)
    + String(repeating: "]", count: 32) + "\n",
  aliasBomb, "a: [", "a: *nowhere\n", "- a list\n", "just text\n", "a: b: c\n", "%YAML 9\n",
  String(repeating: "[", count: 40), "a: 1\n...\nb: 2\n", "a: &x [*x]\n",
  "x: " + String(repeating: "y", count: 300_000) + "\n",
])
func ignoresCardsThatCannotBeRead(_ yaml: String) throws {
  let result = try general(["README.md": "---\nlicense: mit\n\(yaml)---\n"])
  #expect(result.entries["general.license"] == nil)
  #expect(result.notes.count == 1)
  #expect(result.notes.allSatisfy { $0.contains("README.md") })
}

@Test func ignoresACardThatIsNotUTF8() throws {
  let folder = TemporaryFolder()
  folder.write("README.md", Array("---\nlicense: ".utf8) + [0xFF, 0x0A])
  let result = try generalMetadata(
    directory: folder.path, architecture: "llama", parameterCounts: ParameterCounts(dense: 1))
  #expect(result.notes.count == 1)
}

@Test func takesNumbersInACardAsWritten() throws {
  let result = try general([
    "README.md": "---\nversion: 1.10\nname: no\nlicense: [mit, 2]\ndescription: [x]\n---\n"
  ])
  #expect(result.entries["general.version"] == .string("1.10"))
  #expect(result.entries["general.name"] == .string("no"))
  #expect(result.entries["general.license"] == .string("mit,2"))
  #expect(result.notes == ["ignored: README.md: description is no text"])
}

@Test(arguments: [
  #"{"top_k":1.5}"#, #"{"top_k":"50"}"#, #"{"top_k":4294967296}"#, #"{"temperature":"hot"}"#,
  #"{"temperature":1e39}"#, #"{"top_p":true}"#, #"{"sequence":1}"#,
])
func refusesImpossibleSamplerSettings(_ text: String) throws {
  #expect(throws: FormatError.self) { try general(["generation_config.json": text]) }
}

@Test func resolvesTheNameOfTheCurrentFolder() throws {
  let folder = TemporaryFolder()
  folder.makeFolder("My-Model-v2")
  let result = try generalMetadata(
    directory: folder.path + "/My-Model-v2/./", architecture: "llama",
    parameterCounts: ParameterCounts(dense: 1))
  #expect(result.entries["general.name"] == .string("My Model v2"))
  folder.makeFolder("My-Model-v2/inner")
  let parent = try generalMetadata(
    directory: folder.path + "/My-Model-v2/inner/..", architecture: "llama",
    parameterCounts: ParameterCounts(dense: 1))
  #expect(parent.entries["general.name"] == .string("My Model v2"))
}

/// Names and numbers in large amounts take time in proportion only.
@Test func readsALongCardQuickly() throws {
  let models = (0..<6000).map { "- org\($0)/Base-7B-chat-v1.\($0)\n" }.joined()
  let time = try processorTime {
    let result = try general(["README.md": "---\nbase_model:\n\(models)---\n"])
    #expect(result.entries["general.base_model.count"] == .uint32(6000))
    #expect(result.entries["general.base_model.5999.version"] == .string("v1.5999"))
  }
  #expect(isOfOrder(time, of: 3))
}
