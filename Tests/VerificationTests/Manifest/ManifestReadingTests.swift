import ByteIO
import StrictJSON
import TestSupport
import Testing
import Verification

private let page = Fixtures.root + "/formats/manifest.md"

/// The example of the page, which is indented by four spaces.
private func example() throws -> String {
  let text = String(decoding: try PositionalFile.readAll(page, limit: 1 << 20), as: UTF8.self)
  return text.split(separator: "\n").filter { $0.hasPrefix("    ") }.map { $0.dropFirst(4) }
    .joined(separator: "\n") + "\n"
}

private func read(_ text: String) throws(FormatError) -> ArchiveManifest {
  try ArchiveManifest(parsing: Array(text.utf8), file: "m.json")
}

@Test func exampleOfThePageIsAsWritten() throws {
  let text = try example()
  let manifest = try read(text)
  #expect(String(decoding: manifest.bytes, as: UTF8.self) == text)
  #expect(manifest.tensors.map(\.name) == ["output_norm.weight"])
  #expect(manifest.files.map(\.byteCount) == [192])
}

/// The tables of the page name every member, and no other.
@Test func membersMatchThePage() throws {
  let value = try JSONValue(parsing: Array(try example().utf8), file: "m.json")
  func names(_ column: String) throws -> Set<String> {
    let rows = try MarkdownTable(page: "manifest.md", columns: [column, "meaning"]).rows
    return Set(
      rows.flatMap { $0[column, default: ""].split(separator: ",") }
        .map { String($0.filter { $0 != "`" && $0 != " " }) })
  }
  func members(_ value: JSONValue?) -> Set<String> {
    Set((value?.object?.members ?? []).map(\.key))
  }
  #expect(try names("member") == members(value))
  #expect(try names("file member") == members(value["files"]?.array?.first))
  #expect(try names("tensor member") == members(value["tensors"]?.array?.first))
}

/// One change of the example, and the field that the refusal has to name.
private struct BadManifest: CustomTestStringConvertible, Sendable {
  var old: String
  var new: String
  var field: String
  var testDescription: String { "\(old) → \(new.prefix(80))" }

  init(_ old: String, _ new: String, _ field: String) {
    self.old = old
    self.new = new
    self.field = field
  }
}

private let badManifests: [BadManifest] = [
  BadManifest("\"ingot-manifest\"", "\"ingot-recipe\"", "format"),
  BadManifest("\"format\": \"ingot-manifest\",", "", "format"),
  BadManifest("\"version\": 1", "\"version\": 2", "version"),
  BadManifest("\"version\": 1", "\"version\": 1.0", "version"),
  BadManifest("\"version\": 1", "\"version\": 1, \"version\": 1", "duplicate"),
  BadManifest("\"version\": 1", "\"version\": 1, \"vers\\u0069on\": 1", "duplicate"),
  BadManifest("\"version\": 1", "\"version\": 1, \"more\": 1", "more"),
  BadManifest("tiny.gguf", "../tiny.gguf", "files[0].name"),
  BadManifest("tiny.gguf", "/etc/passwd", "files[0].name"),
  BadManifest("tiny.gguf", "..", "files[0].name"),
  BadManifest("tiny.gguf", ".", "files[0].name"),
  BadManifest("tiny.gguf", "", "files[0].name"),
  BadManifest("tiny.gguf", "a\\u0000b", "files[0].name"),
  BadManifest("tiny.gguf", "\\ud800", "files[0].name"),
  BadManifest("\"bytes\": 192", "\"bytes\": 191", "tensors[0].offset"),
  BadManifest("\"bytes\": 192", "\"bytes\": -1", "files[0].bytes"),
  BadManifest("\"bytes\": 192", "\"bytes\": 18446744073709551616", "files[0].bytes"),
  BadManifest("\"bytes\": 192", "\"bytes\": \"192\"", "files[0].bytes"),
  BadManifest("\"bytes\": 192,", "", "files[0].bytes"),
  BadManifest("\"headerBytes\": 128", "\"headerBytes\": 193", "files[0].headerBytes"),
  BadManifest("\"headerBytes\": 128", "\"headerBytes\": 129", "tensors[0].offset"),
  BadManifest("0f1e2d3c", "0F1E2D3C", "files[0].sha256"),
  BadManifest("0f1e2d3c", "0f1e2d3", "files[0].sha256"),
  BadManifest("00112233", "g0112233", "files[0].headerSHA256"),
  BadManifest("ffeeddcc", "", "tensors[0].sha256"),
  BadManifest("\"F32\"", "\"F33\"", "tensors[0].type"),
  BadManifest("\"F32\"", "\"U64\"", "tensors[0].type"),
  BadManifest("\"F32\"", "\"Q4_K\"", "tensors[0].bytes"),
  BadManifest("        8\n", "        9223372036854775807\n", "tensors[0].bytes"),
  BadManifest("        8\n", "        8, 1, 1, 1\n", "tensors[0].shape"),
  BadManifest("        8\n", "        -8\n", "tensors[0].shape"),
  BadManifest("\"file\": 0", "\"file\": 1", "tensors[0].file"),
  BadManifest("\"file\": 0", "\"file\": 9223372036854775807", "tensors[0].file"),
  BadManifest("\"offset\": 128", "\"offset\": 127", "tensors[0].offset"),
  BadManifest("\"offset\": 128", "\"offset\": 9223372036854775800", "tensors[0].offset"),
  BadManifest("\"bytes\": 64", "\"bytes\": 63", "tensors[0].bytes"),
  BadManifest("\"provenance\": {", "\"provenance\": [], \"x\": {", "provenance"),
  BadManifest("\"provenance\": {", "\"origin\": {", "origin"),
  BadManifest("\"ingot.version\": \"0.1.0\"", "\"ingot.other\": \"0.1.0\"", "ingot.other"),
  BadManifest("\"ingot.version\": \"0.1.0\"", "\"ingot.version\": true", "ingot.version"),
  BadManifest("\"ingot.version\": \"0.1.0\"", "\"ingot.version\": {}", "ingot.version"),
  BadManifest("\"ingot.version\": \"0.1.0\"", "\"ingot.version\": [[]]", "ingot.version"),
  BadManifest("66104", String(repeating: "1,", count: 1 << 16) + "1", "ingot.source.byte_counts"),
  BadManifest(
    "0.1.0", String(repeating: "1", count: ArchiveManifest.provenanceByteLimit), "ingot.version"),
  BadManifest("\"tensors\": [", "\"tensors\": [[],", "tensors[0]"),
  BadManifest("\"files\": [", "\"files\": [], \"x\": [", "x"),
]

@Test(arguments: badManifests)
fileprivate func refusesBadManifest(_ bad: BadManifest) throws {
  let text = try example()
  let changed = text.replacing(bad.old, with: bad.new, maxReplacements: 1)
  try #require(changed != text)
  let error = #expect(throws: FormatError.self) { try read(changed) }
  #expect(error.map { "\($0)".contains(bad.field) } == true, "\(String(describing: error))")
}

@Test func refusesRepeatedNames() throws {
  let text = try example()
  let file = try #require(text.firstRange(of: "    {\n      \"name\": \"tiny.gguf\""))
  let fileEnd = try #require(text[file.lowerBound...].firstRange(of: "    }\n"))
  let entry = text[file.lowerBound..<fileEnd.upperBound].dropLast()
  let twoFiles = text.replacing(entry, with: entry + ",\n" + entry, maxReplacements: 1)
  #expect(throws: FormatError.self) { try read(twoFiles) }
  // Composed and decomposed letters are two names.
  let other = twoFiles.replacing("tiny.gguf", with: "te\u{301}ny.gguf", maxReplacements: 1)
    .replacing("\"tiny.gguf", with: "\"t\u{E9}ny.gguf")
  #expect(try read(other).files.count == 2)

  let tensor = try #require(text.firstRange(of: "    {\n      \"name\": \"output_norm.weight\""))
  let tensorEnd = try #require(text[tensor.lowerBound...].firstRange(of: "    }\n"))
  let second = text[tensor.lowerBound..<tensorEnd.upperBound].dropLast()
  let error = #expect(throws: FormatError.self) {
    try read(text.replacing(second, with: second + ",\n" + second, maxReplacements: 1))
  }
  #expect(error.map { "\($0)".contains("tensors[1].name") } == true)
}

/// Two names for the same bytes would have them hashed twice.
@Test func refusesOverlaps() throws {
  let text = try example().replacing("\"bytes\": 192", with: "\"bytes\": 320")
  let start = try #require(text.firstRange(of: "    {\n      \"name\": \"output_norm.weight\""))
  let end = try #require(text[start.lowerBound...].firstRange(of: "    }\n"))
  let entry = text[start.lowerBound..<end.upperBound].dropLast()
  for (offset, isSound) in [(128, false), (191, false), (192, true), (256, true)] {
    let second = entry.replacing("output_norm", with: "other_norm")
      .replacing("\"offset\": 128", with: "\"offset\": \(offset)")
    // In either order.
    for pair in [entry + ",\n" + second, second + ",\n" + entry] {
      let changed = text.replacing(entry, with: pair, maxReplacements: 1)
      if isSound {
        #expect(try read(changed).tensors.count == 2)
      } else {
        let error = #expect(throws: FormatError.self) { try read(changed) }
        #expect(error.map { "\($0)".contains("overlaps") } == true, "\(offset)")
      }
    }
  }
}

@Test func refusesEveryTruncationOfAManifest() throws {
  let bytes = Array(try example().utf8)
  for count in 0..<bytes.count - 1 where bytes[count...] != [UInt8(ascii: "\n")] {
    #expect(throws: FormatError.self, "\(count)") {
      try ArchiveManifest(parsing: Array(bytes[..<count]), file: "m.json")
    }
  }
}
