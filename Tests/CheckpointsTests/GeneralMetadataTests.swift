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

private func make(_ recorded: JSONValue, in folder: ScratchFolder) throws -> String {
  let name = try #require(recorded["directory"]?.string)
  let directory = try folder.makeFolder(name)
  if let path = recorded["nameOrPath"]?.string {
    try folder.write("{\"_name_or_path\":\"\(path)\"}", name + "/config.json")
  }
  for (member, file) in [
    ("readme", "README.md"), ("generationConfig", "generation_config.json"),
  ] {
    if let text = recorded[member]?.string { try folder.write(text, name + "/" + file) }
  }
  return directory
}

@Test func casesAreThere() { #expect(cases.count > 100) }

@Test(arguments: cases.indices)
func matchesTheConverter(_ index: Int) throws {
  let folder = try ScratchFolder()
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
  let folder = try ScratchFolder()
  let directory = try folder.makeFolder("Some-1B")
  for (name, text) in files { try folder.write(text, "Some-1B/" + name) }
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

@Test(arguments: [
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
  let folder = try ScratchFolder()
  try folder.write(Array("---\nlicense: ".utf8) + [0xFF, 0x0A], "README.md")
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
  let folder = try ScratchFolder()
  _ = try folder.makeFolder("My-Model-v2")
  let result = try generalMetadata(
    directory: folder.path + "/My-Model-v2/./", architecture: "llama",
    parameterCounts: ParameterCounts(dense: 1))
  #expect(result.entries["general.name"] == .string("My Model v2"))
  _ = try folder.makeFolder("My-Model-v2/inner")
  let parent = try generalMetadata(
    directory: folder.path + "/My-Model-v2/inner/..", architecture: "llama",
    parameterCounts: ParameterCounts(dense: 1))
  #expect(parent.entries["general.name"] == .string("My Model v2"))
}

/// Names and numbers in large amounts take time in proportion only.
@Test func readsALongCardQuickly() throws {
  let models = (0..<6000).map { "- org\($0)/Base-7B-chat-v1.\($0)\n" }.joined()
  let start = ContinuousClock.now
  let result = try general(["README.md": "---\nbase_model:\n\(models)---\n"])
  #expect(ContinuousClock.now - start < .seconds(10))
  #expect(result.entries["general.base_model.count"] == .uint32(6000))
  #expect(result.entries["general.base_model.5999.version"] == .string("v1.5999"))
}
