import ByteIO
import GGUF
import Tensors
import TestSupport
import Testing
import Verification

/// The example archive, its manifest, and the findings after a change.
private struct Pair {
  let folder = TemporaryFolder()
  var path: String { folder.file("model.gguf") }
  let manifest: ArchiveManifest

  init(threadCount: Int = 2) throws {
    folder.write("model.gguf", try ExampleModel().bytes())
    let archive = try GGUFFile(folder.file("model.gguf"))
    manifest = try #require(
      try ArchiveManifest(of: archive, threadCount: threadCount, isCancelled: { false }))
  }

  func findings(threadCount: Int = 2) throws -> [String] {
    let check = ArchiveCheck(rules: .forTests, threadCount: threadCount)
    return try check.run(path, against: manifest).findings.map { "\($0)" }
  }

  func write(_ bytes: [UInt8]) { folder.write("model.gguf", bytes) }

  func write(_ change: (inout ExampleModel) -> Void) throws {
    var model = ExampleModel()
    change(&model)
    write(try model.bytes())
  }
}

private func has(_ findings: [String], _ words: String...) -> Bool {
  findings.contains { finding in
    finding.hasPrefix("error: ") && words.allSatisfy { finding.contains($0) }
  }
}

@Test func passesWhatTheManifestDescribes() throws {
  let pair = try Pair()
  #expect(try pair.findings() == [])
  #expect(try pair.findings(threadCount: 1) == [])
  // The whole file's hash is the one that is taken of all bytes at once.
  let bytes = try PositionalFile.readAll(pair.path, limit: 1 << 20)
  #expect(pair.manifest.files.map(\.sha256) == [SHA256Stream.hex(of: bytes)])
  let first = pair.manifest.tensors[0]
  let range = Int(first.fileOffset)..<Int(first.fileOffset) + first.byteCount
  #expect(first.sha256 == SHA256Stream.hex(of: Array(bytes[range])))
  #expect(try Pair(threadCount: 8).manifest == pair.manifest)
}

@Test func namesTheTensorWhoseBytesDiffer() throws {
  let pair = try Pair()
  let sound = try PositionalFile.readAll(pair.path, limit: 1 << 20)
  for tensor in pair.manifest.tensors {
    for byte in [0, tensor.byteCount - 1] {
      var bytes = sound
      bytes[Int(tensor.fileOffset) + byte] ^= 1
      pair.write(bytes)
      let findings = try pair.findings()
      #expect(has(findings, tensor.name.string, "other data"), "\(tensor.name): \(findings)")
      #expect(findings.filter { $0.contains("other data") }.count == 1, "\(findings)")
    }
  }
}

@Test func noticesBytesOutsideOfTensors() throws {
  let pair = try Pair()
  let sound = try PositionalFile.readAll(pair.path, limit: 1 << 20)
  // A key's value; and padding behind a tensor.
  var bytes = sound
  let name = Array("llama.context_length".utf8)
  let start = try #require(bytes.indices.first { bytes[$0...].starts(with: name) })
  bytes[start + name.count + 4] ^= 1
  pair.write(bytes)
  #expect(has(try pair.findings(), "model.gguf", "another header"))

  let tensors = pair.manifest.tensors
  let covered = tensors.map { Int($0.fileOffset)..<Int($0.fileOffset) + $0.byteCount }
  let dataStart = Int(pair.manifest.files[0].headerByteCount)
  let gap = try #require(
    (dataStart..<sound.count).first { at in covered.allSatisfy { !$0.contains(at) } })
  bytes = sound
  bytes[gap] ^= 1
  pair.write(bytes)
  let findings = try pair.findings()
  #expect(has(findings, "model.gguf", "has SHA-256"))
  #expect(!has(findings, "other data") && !has(findings, "another header"))
}

@Test func namesMissingExtraAndChangedTensors() throws {
  let pair = try Pair()
  try pair.write { $0.remove("blk.1.ffn_down.weight") }
  #expect(has(try pair.findings(), "blk.1.ffn_down.weight", "is missing"))
  try pair.write { $0.add("blk.1.attn_q.bias", [32]) }
  #expect(has(try pair.findings(), "blk.1.attn_q.bias", "not in the manifest"))
  try pair.write { $0.change("blk.0.attn_q.weight") { $0.type = .q8_0 } }
  #expect(has(try pair.findings(), "blk.0.attn_q.weight", "has type Q8_0", "Q4_0"))
  try pair.write { $0.change("output.weight") { $0.shape = .init([10, 16]) } }
  #expect(has(try pair.findings(), "output.weight", "has shape [10, 16]", "[5, 32]"))
  try pair.write { $0.metadata["general.name"] = .string(String(repeating: "n", count: 99)) }
  let findings = try pair.findings()
  #expect(has(findings, "another place", "more tensors"))
  #expect(!has(findings, "other data"))
  try pair.write { $0.metadata["ingot.recipe"] = .string("Q9") }
  #expect(has(try pair.findings(), "ingot.recipe", "not what the manifest says"))
}

@Test func comparesArchivesThatCannotBeRead() throws {
  let pair = try Pair()
  let sound = try PositionalFile.readAll(pair.path, limit: 1 << 20)
  var bytes = sound
  bytes[0] ^= 1
  let last = try #require(pair.manifest.tensors.last)
  bytes[Int(last.fileOffset)] ^= 1
  pair.write(bytes)
  var findings = try pair.findings()
  #expect(has(findings, "cannot be read as an archive", "magic"))
  #expect(has(findings, last.name.string, "other data"))
  #expect(findings.filter { $0.contains("other data") }.count == 1)

  for count in [0, 3, 100, sound.count / 2, sound.count - 1] {
    pair.write(Array(sound[..<count]))
    findings = try pair.findings()
    #expect(has(findings, "model.gguf", "has \(count) bytes"), "\(count): \(findings)")
  }
  #expect(has(findings, last.name.string, "behind the end") || has(findings, "cannot be read"))
}

@Test func otherNameIsOnlyAWarning() throws {
  let pair = try Pair()
  let path = pair.folder.write(
    "renamed.gguf", try PositionalFile.readAll(pair.path, limit: 1 << 20))
  let report = try ArchiveCheck(rules: .forTests).run(path, against: pair.manifest)
  #expect(report.passed)
  #expect(report.findings.map { "\($0)" }.contains { $0.contains("is called model.gguf") })
}

/// What types were expected to cost is a number, and part of the origin.
@Test func numbersOfTheOriginAreCompared() throws {
  let folder = TemporaryFolder()
  var model = ExampleModel()
  let key: ExactString = "ingot.recipe.expected_divergence"
  model.metadata[key] = .float64(0.0125)
  folder.write("model.gguf", try model.bytes())
  let made = try ArchiveManifest(
    of: GGUFFile(folder.file("model.gguf")), threadCount: 1, isCancelled: { false })
  let manifest = try #require(made)
  #expect(manifest.provenance[key.string]?.double == 0.0125)
  let again = try ArchiveManifest(parsing: manifest.bytes, file: "m.json")
  #expect(again == manifest)
  model.metadata[key] = .float64(0.0126)
  folder.write("model.gguf", try model.bytes())
  let findings = try ArchiveCheck(rules: .forTests).run(folder.file("model.gguf"), against: again)
    .findings.map { "\($0)" }
  #expect(has(findings, key.string, "not what the manifest says"), "\(findings)")
}

/// An archive with more of an origin than a manifest may have gets none, and is another one.
@Test func longOriginsAreRefused() throws {
  let pair = try Pair()
  let long = StringTable((0...ArchiveManifest.provenanceListLimit).map { _ in "x" })
  try pair.write { $0.metadata["ingot.options"] = .array(.string(long)) }
  #expect(throws: FormatError.self) {
    _ = try ArchiveManifest(of: GGUFFile(pair.path), threadCount: 1) { hashed() }
  }
  #expect(has(try pair.findings(), "ingot.options", "not what the manifest says"))
}

/// An archive of more names than a manifest takes is refused before its bytes are read.
@Test func longManifestsAreRefusedBeforeAnythingIsHashed() async {
  // In a process of its own: others are told how much memory this one has.
  await #expect(processExitsWith: .success) {
    let folder = TemporaryFolder()
    // In JSON each of these takes six bytes.
    let name = String(repeating: "\u{1}", count: 56)
    var model = ExampleModel()
    for index in 0..<150_000 { model.add("\(name)\(index)", [1]) }
    let archive = try GGUFFile(folder.write("model.gguf", try model.bytes()))
    do {
      _ = try ArchiveManifest(of: archive, threadCount: 1) { hashed() }
      Issue.record("made")
    } catch {
      #expect("\(error)".contains("whose manifest takes"), "\(error)")
    }
  }
}

/// Called when hashing begins.
private func hashed() -> Bool {
  Issue.record("hashes what it refuses")
  return true
}
