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

private func indexed(_ text: String, shards: [String: [UInt8]]) throws -> TemporaryFolder {
  let folder = TemporaryFolder()
  for (name, bytes) in shards { folder.write(name, bytes) }
  folder.write("model.safetensors.index.json", text)
  return folder
}

@Test func joinsShardsInOrderOfNames() throws {
  let folder = try indexed(goodIndex, shards: [secondName: second, firstName: first])
  let checkpoint = try CheckpointDirectory(folder.path)
  #expect(checkpoint.files == [folder.file(firstName), folder.file(secondName)])
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

/// Beside `params.json` the weights that are missing are Meta's.
@Test func namesTheWeightsThatAFolderLacks() {
  let folder = TemporaryFolder()
  folder.write("params.json", "{}")
  let meta = "\(failure(folder.path)?.description ?? "")"
  #expect(meta.contains("missing consolidated.00.pth") && meta.contains("params.json"), "\(meta)")
  #expect(meta.contains("*.safetensors with config.json"), "\(meta)")
  folder.write("config.json", "{}")
  let both = "\(failure(folder.path)?.description ?? "")"
  #expect(both.contains("consolidated.00.pth") && both.contains("model.safetensors"), "\(both)")
}

@Test func acceptsCompleteNumberingWithoutIndex() throws {
  let folder = TemporaryFolder()
  folder.write(secondName, second)
  folder.write(firstName, first)
  #expect(try CheckpointDirectory(folder.path).tensors.count == 3)
  // One shard of the set stands for all.
  folder.write("config.json", "{}")
  #expect(try CheckpointDirectory(folder.file(secondName)).tensors.count == 3)
}

/// DeepSeek writes the total with six digits.
@Test(arguments: [("00001", "00002", "000002"), ("000000001", "000000002", "000000002")])
func acceptsNumbersOfFiveToNineDigits(_ one: String, _ two: String, _ total: String) throws {
  let folder = TemporaryFolder()
  folder.write("model-\(two)-of-\(total).safetensors", second)
  folder.write("model-\(one)-of-\(total).safetensors", first)
  let checkpoint = try CheckpointDirectory(folder.path)
  #expect(checkpoint.tensors.map(\.name) == ["a", "b", "c"])
  #expect(checkpoint.notes.isEmpty)
}

@Test(arguments: ["0001-of-00001", "00001-of-0001", "0000000001-of-00001"])
func refusesNumbersOfOtherLengths(_ numbers: String) throws {
  let folder = TemporaryFolder()
  folder.write("model-\(numbers).safetensors", first)
  #expect("\(try #require(failure(folder.path)))".contains("missing model.safetensors"))
}

@Test func refusesTwoSpellingsOfOneShard() throws {
  let folder = TemporaryFolder()
  folder.write(firstName, first)
  folder.write("model-000001-of-00002.safetensors", first)
  folder.write(secondName, second)
  #expect("\(try #require(failure(folder.path)))".contains("two ways"))
}

@Test func ignoresOtherCopiesOfTheWeights() throws {
  let folder = try indexed(goodIndex, shards: [firstName: first, secondName: second])
  folder.write("consolidated.safetensors", first)
  let original = folder.makeFolder("original")
  #expect(original.hasSuffix("/original"))
  folder.write("original/model.safetensors", first)
  let checkpoint = try CheckpointDirectory(folder.path)
  #expect(checkpoint.tensors.count == 3)
  #expect(checkpoint.notes == ["ignored: consolidated.safetensors"])
}

@Test func followsLinksOfAHubCache() throws {
  let folder = TemporaryFolder()
  folder.makeFolder("blobs")
  folder.makeFolder("snapshots")
  let snapshot = folder.makeFolder("snapshots/0f1e")
  folder.write("blobs/aa", first)
  folder.write("blobs/bb", second)
  folder.write("blobs/cc", goodIndex)
  folder.link("snapshots/0f1e/" + firstName, to: "../../blobs/aa")
  folder.link("snapshots/0f1e/" + secondName, to: "../../blobs/bb")
  folder.link("snapshots/0f1e/model.safetensors.index.json", to: "../../blobs/cc")
  #expect(try CheckpointDirectory(snapshot).tensors.count == 3)

  let broken = folder.makeFolder("snapshots/dead")
  folder.link("snapshots/dead/model.safetensors", to: "../../blobs/zz")
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
  #expect(error.file == folder.file(secondName))
  folder.write(secondName + ".incomplete", [UInt8]())
  error = try #require(failure(folder.path))
  #expect("\(error)".contains("download is not finished"))
}

@Test func refusesGapsInNumbering() throws {
  let folder = TemporaryFolder()
  folder.write("model-00001-of-00003.safetensors", first)
  folder.write("model-00003-of-00003.safetensors", second)
  let gap = try #require(failure(folder.path))
  #expect("\(gap)".contains("missing shard 2 of 3"))
  folder.write("model-00002-of-00004.safetensors", second)
  let mixed = try #require(failure(folder.path))
  #expect("\(mixed)".contains("4 shards"))
}

@Test func refusesShardNumberBeyondTotal() throws {
  let folder = TemporaryFolder()
  folder.write("model-00003-of-00001.safetensors", first)
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
  let folder = TemporaryFolder()
  let empty = try #require(failure(folder.path))
  #expect("\(empty)".contains("found: none"))
  folder.write("consolidated.safetensors", first)
  let other = try #require(failure(folder.path))
  #expect("\(other)".contains("consolidated.safetensors"))
  #expect("\(other)".contains("model.safetensors.index.json"))
  #expect(try #require(failure(folder.file("nothing"))).reason == .fileNotFound)
  #expect(try #require(failure(folder.file("no.safetensors"))).reason == .fileNotFound)
}

@Test func opensOneNamedFileOnlyBesideItsConfiguration() throws {
  let folder = TemporaryFolder()
  let path = folder.write("weights.safetensors", first)
  #expect("\(try #require(failure(path)))".contains("config.json"))
  folder.write("config.json", "{}")
  let checkpoint = try CheckpointDirectory(path)
  #expect(checkpoint.path == folder.path)
  #expect(checkpoint.tensors.count == 2)
}

@Test func refusesFoldersInPlaceOfShards() throws {
  let folder = TemporaryFolder()
  folder.makeFolder("model.safetensors")
  #expect("\(try #require(failure(folder.path)))".contains("a regular file"))
}

/// Parts that the hub's library leaves beside or far from the files.
@Test(arguments: [
  ("model", ".cache/huggingface/download/abc.def.incomplete"),
  ("model/original/mp16", ".cache/huggingface/download/original/mp16/abc.def.incomplete"),
])
func findsUnfinishedDownloadsInTheFoldersCache(_ folder: String, _ part: String) throws {
  let hub = TemporaryFolder()
  hub.write(folder + "/config.json", "{}")
  func message() throws -> String {
    "\(try #require(throws: FormatError.self) { try CheckpointDirectory(hub.file(folder)) })"
  }
  #expect(try !message().contains("is not finished"))
  hub.write("model/" + part, [UInt8]())
  #expect(try message().contains("is not finished"))
}

@Test func findsUnfinishedDownloadsInTheHubsCache() throws {
  let hub = TemporaryFolder()
  let snapshot = "models--x--y/snapshots/0123"
  hub.write(snapshot + "/config.json", "{}")
  hub.write("models--x--y/blobs/0123.incomplete", [UInt8]())
  for (path, says) in [
    (snapshot, "the download is not finished"), ("models--x--y", "name one of the folders"),
  ] {
    let error = #expect(throws: FormatError.self) { try CheckpointDirectory(hub.file(path)) }
    #expect("\(try #require(error))".contains(says))
  }
}
