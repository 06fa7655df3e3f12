import ByteIO
import GGUF
import Planning
import StrictJSON
import Tensors
import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

private let llama3 = Fixtures.path("models/llama3")

private func bytes(_ path: String) throws -> [UInt8] {
  try PositionalFile.readAll(path, limit: 64 << 20)
}

@discardableResult
private func ingot(_ arguments: String...) -> CommandResult {
  let result = Command.run([Command.ingot] + arguments)
  #expect(result.status == 0, "\(arguments): \(result.error)")
  return result
}

@Test func manifestOfConvertIsThatOfTheArchive() throws {
  let folder = TemporaryFolder()
  let archive = folder.file("out/a.gguf")
  folder.makeFolder("out")
  folder.makeFolder("elsewhere")
  for (place, threads) in [("m1.json", "1"), ("m8.json", "8")] {
    ingot(
      "convert", llama3, "-o", archive, "--type", "Q4_K_M", "--manifest", folder.file(place),
      "--threads", threads, "--progress", "none")
  }
  let first = try bytes(folder.file("m1.json"))
  #expect(try bytes(folder.file("m8.json")) == first)
  #expect(folder.list("out") == ["a.gguf"])

  ingot("manifest", archive, "-o", folder.file("again.json"))
  #expect(try bytes(folder.file("again.json")) == first)
  #expect(Array(ingot("manifest", archive, "--threads", "1").output.utf8) == first)
  // Another folder, another clock: the same manifest.
  folder.write("elsewhere/a.gguf", try bytes(archive))
  let moved = Command.run([
    "/usr/bin/env", "TZ=Pacific/Apia", "LANG=tr_TR.UTF-8", Command.ingot, "manifest",
    folder.file("elsewhere/a.gguf"),
  ])
  #expect(Array(moved.output.utf8) == first)

  let json = try JSONValue(parsing: first, file: "m1.json")
  let file = json["files"]?.array?.first
  #expect(file?["sha256"]?.string == SHA256Stream.hex(of: try bytes(archive)))
  #expect(json["tensors"]?.array?.count == 58)
  #expect(!String(decoding: first, as: UTF8.self).contains(folder.path))
  #expect(ingot("check", archive, "--manifest", folder.file("m1.json")).output.contains(": ok:"))
}

@Test func splitArchivesAreCompared() throws {
  let folder = TemporaryFolder()
  ingot(
    "convert", llama3, "-o", folder.file("s.gguf"), "--type", "Q8_0", "--split-max-size", "2M",
    "--manifest", folder.file("m.json"), "--progress", "none")
  let parts = folder.list().filter { $0.hasSuffix(".gguf") }
  #expect(parts.count > 2)
  let first = folder.file(parts[0])
  ingot("check", first, "--manifest", folder.file("m.json"))

  let last = folder.file(parts[parts.count - 1])
  let sound = try bytes(last)
  var damaged = sound
  damaged[sound.count - 200] ^= 0x10
  folder.write(parts[parts.count - 1], damaged)
  var result = Command.ingot("check", first, "--manifest", folder.file("m.json"))
  #expect(result.status == 1)
  #expect(result.output.contains("has other data than in the manifest (\(last)"))

  unlink(last)
  result = Command.ingot("check", first, "--manifest", folder.file("m.json"))
  #expect(result.status == 1, "\(result.error)")
  #expect(result.output.contains("is missing"))

  folder.write(parts[parts.count - 1], sound)
  let merged = folder.file("merged.gguf")
  ingot("convert", first, "-o", merged, "--type", "copy", "--progress", "none")
  result = Command.ingot("check", merged, "--manifest", folder.file("m.json"))
  #expect(result.status == 1)
  #expect(result.output.contains("has 1 files"))
  #expect(!result.output.contains("other data"))
}

@Test func refusesBadManifestsAndPlaces() throws {
  let folder = TemporaryFolder()
  let archive = folder.file("a.gguf")
  ingot("convert", llama3, "-o", archive, "--type", "Q8_0", "--progress", "none")
  for (text, status) in [
    ("{}", Int32(65)), ("", 65), ("{\"format\": \"ingot-manifest\", \"version\": 2}", 65),
    (String(repeating: "[", count: 5000), 65),
  ] {
    let path = folder.write("bad.json", text)
    expectRefusal(
      Command.ingot("check", archive, "--manifest", path), status: status, says: ["bad.json"],
      leaving: [], text)
  }
  expectRefusal(
    Command.ingot("check", archive, "--manifest", folder.file("none.json")), status: 66,
    says: ["none.json"], leaving: [], "")
  expectRefusal(
    Command.ingot("check", archive, "--manifest", "/dev/zero"), status: 65, says: ["/dev/zero"],
    leaving: [], "")
  expectRefusal(
    Command.ingot("manifest", folder.file("none.gguf"), "-o", folder.file("m.json")), status: 66,
    says: ["none.gguf"], leaving: folder.list().filter { $0.contains("m.json") }, "")
  expectRefusal(
    Command.ingot("manifest", archive, "-o", archive), status: 64, says: ["also the archive"],
    leaving: [], "")
  expectRefusal(
    Command.ingot("convert", llama3, "-o", archive, "--manifest", archive), status: 64,
    says: ["--manifest"], leaving: [], "")
  expectRefusal(
    Command.ingot(
      "convert", llama3, "-o", folder.file("b.gguf"), "--manifest", folder.file("no/m.json")),
    status: 73, says: ["no folder"], leaving: folder.list().filter { $0.contains("b.gguf") }, "")
}

/// However long the origin that a manifest claims is, it is refused before it costs much.
@Test func longManifestsCostTheirBytes() throws {
  let folder = TemporaryFolder()
  let archive = folder.file("a.gguf")
  ingot("convert", llama3, "-o", archive, "--type", "Q8_0", "--progress", "none")
  let long = String(repeating: "1,", count: 20 << 20) + "1"
  for (text, says) in [
    ("{\"provenance\": {\"ingot.source.byte_counts\": [\(long)]}}", "byte_counts"),
    ("{\"provenance\": {\"more\": [\(long)]}}", "more"),
    ("{\"more\": [\(long)]}", "more"),
  ] {
    let path = folder.write("m.json", text)
    let result = Command.ingot(
      addressSpace: 384, ["check", archive, "--threads", "1", "--manifest", path])
    #expect(result.status == 65 && result.error.contains(says), "\(result)")
  }
  folder.write("m.json", long + long)
  let result = Command.ingot("check", archive, "--manifest", folder.file("m.json"))
  #expect(result.status == 65 && result.error.contains("67108864"), "\(result.error)")
}

/// Beside a vision tower, the manifest is the model's, and how to get the tower's is said.
@Test func manifestOfAModelWithATower() throws {
  let folder = TemporaryFolder()
  let input = try RandomCheckpoint("llama4-16-experts")
  let made = ingot(
    "convert", input.path, "-o", folder.file("a.gguf"), "--mmproj", folder.file("t.gguf"), "--type",
    "Q8_0", "--manifest", folder.file("m.json"), "--progress", "none")
  #expect(made.error.contains("'ingot manifest \(folder.file("t.gguf"))'"), "\(made.error)")
  #expect(
    ingot("manifest", folder.file("a.gguf")).output.utf8.elementsEqual(
      try bytes(folder.file("m.json"))))
  ingot("manifest", folder.file("t.gguf"), "-o", folder.file("t.json"))
  ingot(
    "convert", input.path, "--mmproj", folder.file("t.gguf"), "--manifest",
    folder.file("alone.json"), "--progress", "none")
  #expect(try bytes(folder.file("alone.json")) == bytes(folder.file("t.json")))
}

// MARK: Provenance

/// The provenance keys of an archive, in order.
private func provenance(_ path: String) throws -> Metadata {
  var found = Metadata()
  for (key, value) in try GGUFFile(path).metadata.entries where key.string.hasPrefix("ingot.") {
    found[key] = value
  }
  return found
}

@Test func provenanceSaysWhatAnArchiveWasMadeFrom() throws {
  let folder = TemporaryFolder()
  let importance = Fixtures.path("models/imatrix/llama3.gguf")
  let list = folder.write("types.txt", "ffn_gate=Q5_K attn_q=q6_k\n")
  ingot(
    "convert", llama3, "-o", folder.file("a.gguf"), "--type", "Q4_K_M", "--imatrix", importance,
    "--tensor-type", "ffn_down=Q6_K", "--tensor-type-file", list, "--override-kv",
    "general.author=str:me", "--progress", "none")
  let found = try provenance(folder.file("a.gguf"))
  #expect(found["ingot.recipe"]?.string == "Q4_K_M")
  #expect(
    found["ingot.options"]?.strings.map(Array.init)?.map { String(decoding: $0, as: UTF8.self) }
      == [
        "tensor-type ffn_down=Q6_K", "tensor-type ffn_gate=Q5_K", "tensor-type attn_q=Q6_K",
        "override-kv general.author=str:me",
      ])
  #expect(found["ingot.importance.file"]?.string == "llama3.gguf")
  #expect(found["ingot.importance.sha256"]?.string == SHA256Stream.hex(of: try bytes(importance)))
  let names = try #require(found["ingot.source.files"]?.strings)
  let hashes = try #require(found["ingot.source.header_sha256"]?.strings)
  #expect(names.count == 2 && hashes.count == 2)
  for index in names.indices {
    let shard = try bytes(llama3 + "/" + names.text(index))
    let header = shard[..<(8 + Int(shard[..<8].reversed().reduce(0) { $0 << 8 | UInt64($1) }))]
    #expect(hashes.text(index) == SHA256Stream.hex(of: Array(header)))
  }
  // In the order of the page, and no other keys.
  let page = try MarkdownTable(page: "gguf.md", columns: ["provenance key"]).rows
    .compactMap { $0["provenance key"] }
  #expect(page == Provenance.Key.all.map(\.string))
  #expect(found.keys.map(\.string) == page.filter { found[$0] != nil })

  // Of an archive that is converted again, only the last step is told.
  ingot(
    "convert", folder.file("a.gguf"), "-o", folder.file("b.gguf"), "--type", "copy", "--progress",
    "none")
  let copied = try provenance(folder.file("b.gguf"))
  #expect(copied["ingot.recipe"]?.string == "copy")
  #expect(copied["ingot.options"] == nil && copied["ingot.importance.file"] == nil)
  #expect(copied["ingot.source.files"]?.strings?.text(0) == "a.gguf")
  let source = try GGUFFile(folder.file("a.gguf")).parts[0]
  let header = try bytes(folder.file("a.gguf"))[..<Int(source.header.dataOffset)]
  #expect(
    copied["ingot.source.header_sha256"]?.strings?.text(0) == SHA256Stream.hex(of: Array(header)))

  ingot(
    "convert", llama3, "-o", folder.file("c.gguf"), "--no-provenance", "--progress", "none")
  #expect(try provenance(folder.file("c.gguf")).count == 0)
}

@Test func recipeHashIsThatOfThePlansTypes() throws {
  let folder = TemporaryFolder()
  let recipe = folder.file("recipe.json")
  ingot("plan", llama3, "--target-bpw", "5", "-o", recipe, "--progress", "none")
  ingot(
    "convert", llama3, "--recipe", recipe, "-o", folder.file("a.gguf"), "--progress", "none")
  let found = try provenance(folder.file("a.gguf"))
  let tensors = try #require(
    JSONValue(parsing: bytes(recipe), file: recipe)["tensors"]?.object)
  let lines = try tensors.members.map { "\($0.key) \(try #require($0.value.string))\n" }.sorted()
  #expect(
    found["ingot.recipe.sha256"]?.string == SHA256Stream.hex(of: Array(lines.joined().utf8)))
  // Chosen on the way, the same archive comes out.
  ingot(
    "convert", llama3, "--target-bpw", "5", "-o", folder.file("b.gguf"), "--progress", "none")
  #expect(try bytes(folder.file("a.gguf")) == bytes(folder.file("b.gguf")))
}
