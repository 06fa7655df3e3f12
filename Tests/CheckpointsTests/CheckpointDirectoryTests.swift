import ByteIO
import Checkpoints
import Tensors
import TestSupport
import Testing

private let first = SafetensorsBytes.vectors([("b", 2), ("a", 1)])
private let second = SafetensorsBytes.vectors([("c", 3)])
private let firstName = "model-00001-of-00002.safetensors"
private let secondName = "model-00002-of-00002.safetensors"

private func index(_ map: [(String, String)]) -> String {
  let members = map.map { "\"\($0)\":\"\($1)\"" }.joined(separator: ",")
  return "{\"metadata\":{\"total_size\":24},\"weight_map\":{\(members)}}"
}

private let goodIndex = index([("a", firstName), ("b", firstName), ("c", secondName)])

private func failure(_ path: String) -> FormatError? {
  do {
    _ = try CheckpointDirectory(path)
    return nil
  } catch {
    return error
  }
}

private func indexed(_ text: String, shards: [String: [UInt8]]) throws -> ScratchFolder {
  let folder = try ScratchFolder()
  for (name, bytes) in shards { try folder.write(bytes, name) }
  try folder.write(text, "model.safetensors.index.json")
  return folder
}

@Test func joinsShardsInOrderOfNames() throws {
  let folder = try indexed(goodIndex, shards: [secondName: second, firstName: first])
  let checkpoint = try CheckpointDirectory(folder.path)
  #expect(checkpoint.files == [folder.path(firstName), folder.path(secondName)])
  #expect(checkpoint.tensors.map(\.name) == ["a", "b", "c"])
  #expect(checkpoint.tensors.map { $0.regions[0].file } == [0, 0, 1])
  var bytes = [UInt8](repeating: 0, count: 4)
  try bytes.withUnsafeMutableBytes { try checkpoint.read(checkpoint.tensors[0], at: 0, into: $0) }
  #expect(bytes == [8, 9, 10, 11])
  try bytes.withUnsafeMutableBytes { try checkpoint.read(checkpoint.tensors[2], at: 8, into: $0) }
  #expect(bytes == [8, 9, 10, 11])
}

@Test func readsTheFixtures() throws {
  let llama3 = try CheckpointDirectory(Fixtures.path("models/llama3"))
  #expect(llama3.files.count == 2)
  #expect(llama3.tensors.reduce(0) { $0 + $1.elementCount } == 5_770_496)
  let llama2 = try CheckpointDirectory(Fixtures.path("models/llama2/model.safetensors"))
  #expect(llama2.path == Fixtures.path("models/llama2"))
  #expect(llama2.files.count == 1)
}

@Test func acceptsCompleteNumberingWithoutIndex() throws {
  let folder = try ScratchFolder()
  try folder.write(second, secondName)
  try folder.write(first, firstName)
  #expect(try CheckpointDirectory(folder.path).tensors.count == 3)
  // One shard of the set stands for all.
  try folder.write("{}", "config.json")
  #expect(try CheckpointDirectory(folder.path(secondName)).tensors.count == 3)
}

@Test func ignoresOtherCopiesOfTheWeights() throws {
  let folder = try indexed(goodIndex, shards: [firstName: first, secondName: second])
  try folder.write(first, "consolidated.safetensors")
  let original = try folder.makeFolder("original")
  #expect(original.hasSuffix("/original"))
  try folder.write(first, "original/model.safetensors")
  let checkpoint = try CheckpointDirectory(folder.path)
  #expect(checkpoint.tensors.count == 3)
  #expect(checkpoint.notes == ["ignored: consolidated.safetensors"])
}

@Test func followsLinksOfAHubCache() throws {
  let folder = try ScratchFolder()
  _ = try folder.makeFolder("blobs")
  _ = try folder.makeFolder("snapshots")
  let snapshot = try folder.makeFolder("snapshots/0f1e")
  try folder.write(first, "blobs/aa")
  try folder.write(second, "blobs/bb")
  try folder.write(goodIndex, "blobs/cc")
  try folder.link("snapshots/0f1e/" + firstName, to: "../../blobs/aa")
  try folder.link("snapshots/0f1e/" + secondName, to: "../../blobs/bb")
  try folder.link("snapshots/0f1e/model.safetensors.index.json", to: "../../blobs/cc")
  #expect(try CheckpointDirectory(snapshot).tensors.count == 3)

  let broken = try folder.makeFolder("snapshots/dead")
  try folder.link("snapshots/dead/model.safetensors", to: "../../blobs/zz")
  let error = try #require(failure(broken))
  #expect(error.reason == .fileNotFound)
}

@Test(arguments: [
  "../outside.safetensors", "/etc/passwd", "sub/model.safetensors", "..", ".", "",
  #"a\\b.safetensors"#, #"a\u0000.safetensors"#, #"\u002e\u002e\u002foutside.safetensors"#,
])
func refusesIndexValuesThatAreNoPlainName(_ value: String) throws {
  let folder = try indexed(index([("a", value)]), shards: [firstName: first])
  let error = try #require(failure(folder.path))
  #expect(error.field == "weight_map[\"a\"]")
  #expect("\(error)".contains("plain name"))
}

@Test(arguments: [
  "{}", #"{"weight_map":{}}"#, #"{"weight_map":[]}"#, #"{"weight_map":{"a":1}}"#, "[]", "",
  #"{"weight_map":{"a":"x","a":"y"}}"#, #"{"weight_map":null}"#,
])
func refusesBadIndex(_ text: String) throws {
  let folder = try indexed(text, shards: [firstName: first])
  let error = try #require(failure(folder.path))
  #expect(error.file.hasSuffix("model.safetensors.index.json"))
}

@Test func refusesMissingShard() throws {
  let folder = try indexed(goodIndex, shards: [firstName: first])
  var error = try #require(failure(folder.path))
  guard case .missing = error.reason else { return #expect(Bool(false), "\(error)") }
  #expect(error.file == folder.path(secondName))
  try folder.write([], secondName + ".incomplete")
  error = try #require(failure(folder.path))
  #expect("\(error)".contains("download is not finished"))
}

@Test func refusesGapsInNumbering() throws {
  let folder = try ScratchFolder()
  try folder.write(first, "model-00001-of-00003.safetensors")
  try folder.write(second, "model-00003-of-00003.safetensors")
  let gap = try #require(failure(folder.path))
  #expect("\(gap)".contains("missing shard 2 of 3"))
  try folder.write(second, "model-00002-of-00004.safetensors")
  let mixed = try #require(failure(folder.path))
  #expect("\(mixed)".contains("4 shards"))
}

@Test func refusesShardNumberBeyondTotal() throws {
  let folder = try ScratchFolder()
  try folder.write(first, "model-00003-of-00001.safetensors")
  #expect("\(try #require(failure(folder.path)))".contains("allowed 1 to 1"))
}

@Test func refusesIndexThatDisagreesWithShards() throws {
  let shards = [firstName: first, secondName: second]
  let faults = [
    (goodIndex.replacing("\"c\"", with: "\"d\""), "does not hold it"),
    (index([("a", firstName), ("c", secondName)]), "missing tensor b"),
    (index([("a", firstName), ("b", secondName), ("c", secondName)]), "holds the tensor"),
  ]
  for (text, expected) in faults {
    let folder = try indexed(text, shards: shards)
    let error = try #require(failure(folder.path))
    #expect("\(error)".contains(expected), "\(error)")
  }
}

@Test func refusesTensorInTwoShards() throws {
  let folder = try indexed(goodIndex, shards: [firstName: first, secondName: first])
  let error = try #require(failure(folder.path))
  guard case .duplicate = error.reason else { return #expect(Bool(false), "\(error)") }
}

@Test func saysWhatWasExpected() throws {
  let folder = try ScratchFolder()
  let empty = try #require(failure(folder.path))
  #expect("\(empty)".contains("found: none"))
  try folder.write(first, "consolidated.safetensors")
  let other = try #require(failure(folder.path))
  #expect("\(other)".contains("consolidated.safetensors"))
  #expect("\(other)".contains("model.safetensors.index.json"))
  #expect(try #require(failure(folder.path("nothing"))).reason == .fileNotFound)
  #expect(try #require(failure(folder.path("no.safetensors"))).reason == .fileNotFound)
}

@Test func opensOneNamedFileOnlyBesideItsConfiguration() throws {
  let folder = try ScratchFolder()
  let path = try folder.write(first, "weights.safetensors")
  #expect("\(try #require(failure(path)))".contains("config.json"))
  try folder.write("{}", "config.json")
  let checkpoint = try CheckpointDirectory(path)
  #expect(checkpoint.path == folder.path)
  #expect(checkpoint.tensors.count == 2)
}

@Test func refusesFoldersInPlaceOfShards() throws {
  let folder = try ScratchFolder()
  _ = try folder.makeFolder("model.safetensors")
  #expect("\(try #require(failure(folder.path)))".contains("a regular file"))
}
