import ByteIO
import StrictJSON
import TestSupport
import Testing

private let models = [
  "models/llama3", "models/llama2/safetensors", "models/llama2/bin-zip", "models/llama2/bin-legacy",
  "models/llama2/meta-2-shards",
]

private func sameBytes(_ a: String, _ b: String) throws -> Bool {
  try PositionalFile.readAll(a, limit: 1 << 28) == PositionalFile.readAll(b, limit: 1 << 28)
}

private func expectSuccess(_ arguments: String...) {
  let result = Command.run([Command.ingot] + arguments)
  #expect(result.status == 0, "\(arguments): \(result.error)")
}

/// From a packed folder comes the archive that comes from the folder, and the folder itself.
@Test(arguments: models) func convertsPackedFolders(_ model: String) throws {
  let source = Fixtures.path(model)
  guard DirectoryListing.exists(source) else { return }
  let folder = TemporaryFolder()
  let (packed, plain, other) = (
    folder.file("x.ingot"), folder.file("plain.gguf"), folder.file("other.gguf")
  )
  expectSuccess("pack", source, "-o", packed)
  expectSuccess("convert", source, "-o", plain, "--type", "Q4_K_M", "--no-provenance")
  expectSuccess("convert", packed, "-o", other, "--type", "Q4_K_M", "--no-provenance")
  #expect(try sameBytes(plain, other))
  expectSuccess("inspect", packed, "--tensors")
  expectSuccess("tokenize", packed, "--text", "Hello")
  expectSuccess("unpack", packed, "--test")
  expectSuccess("unpack", packed, "-o", folder.file("out"))
  let names = try DirectoryListing.names(in: source)
  #expect(try DirectoryListing.names(in: folder.file("out")) == names)
  for name in names { #expect(try sameBytes(source + "/" + name, folder.file("out/" + name))) }
}

/// Transposed experts are read in strips of packed frames.
@Test func convertsPackedTransposedExperts() throws {
  let checkpoint = try RandomCheckpoint("llama4-16-experts")
  let folder = TemporaryFolder()
  let (packed, plain) = (folder.file("x.ingot"), folder.file("plain.gguf"))
  expectSuccess("pack", checkpoint.path, "-o", packed)
  expectSuccess("convert", checkpoint.path, "-o", plain, "--type", "BF16", "--no-provenance")
  for threads in ["1", "4"] {
    let other = folder.file("other\(threads).gguf")
    expectSuccess(
      "convert", packed, "-o", other, "--type", "BF16", "--no-provenance", "--threads", threads)
    #expect(try sameBytes(plain, other))
  }
}

@Test func commandsTakePackedArchives() throws {
  let folder = TemporaryFolder()
  let source = Fixtures.path("models/llama3")
  let text = folder.write("text.txt", String(repeating: "def f(x): return x + 1\n", count: 40))
  let (archive, merged) = (folder.file("a.gguf"), folder.file("merged.gguf"))
  let packed = folder.file("a.gguf.ingot")
  let seekable = folder.file("a.gguf.zst")
  expectSuccess("convert", source, "-o", archive, "--type", "Q8_0")
  expectSuccess("pack", archive, "-o", packed)
  expectSuccess("pack", archive, "-o", seekable, "--format", "seekable-zstd")
  for input in [packed, seekable] {
    expectSuccess("check", input)
    expectSuccess("inspect", input, "--metadata")
    expectSuccess("convert", input, "-o", merged, "--type", "copy", "--no-provenance")
  }
  let report = Command.ingot("inspect", packed, "--json")
  let document = try JSONValue(parsing: Array(report.output.utf8), file: "stdout")
  #expect(document["packing"]?["types"]?.array?.contains { $0["type"]?.string == "Q8_0" } == true)
  let judge = ["--text", text, "--context", "64", "--chunks", "2", "--json", "-"]
  let plain = Command.run([Command.ingot, "verify", source, archive] + judge)
  let other = Command.run([Command.ingot, "verify", source, packed] + judge)
  #expect(other.status == plain.status && plain.status <= 1, "\(other.error)")

  // A split archive, packed with its folder.
  folder.makeFolder("split")
  expectSuccess(
    "convert", source, "-o", folder.file("split/m.gguf"), "--type", "Q8_0", "--split-max-size",
    "2M", "--no-provenance")
  let first = folder.list("split")[0]
  expectSuccess("pack", folder.file("split"), "-o", folder.file("split.ingot"))
  let (fromPlain, fromPacked) = (folder.file("p.gguf"), folder.file("q.gguf"))
  for (input, output) in [("split/", fromPlain), ("split.ingot/", fromPacked)] {
    expectSuccess(
      "convert", folder.file(input + first), "-o", output, "--type", "Q4_0", "--allow-requantize",
      "--no-provenance")
  }
  #expect(try sameBytes(fromPlain, fromPacked))
  // An output that would replace what is read.
  let onto = Command.ingot(
    "convert", folder.file("split.ingot/" + first), "-o", folder.file("split.ingot"), "--type",
    "copy")
  #expect(onto.status == 64, "\(onto.error)")
}

@Test(.disabled(if: Command.isWatched, "a sanitizer takes more memory than the limit"))
func packingKeepsToItsMemory() throws {
  let folder = TemporaryFolder()
  var generator = SplitMix64(seed: 9)
  let input = folder.write(
    "big", (0..<(32 << 20)).map { _ in UInt8.random(in: 0...99, using: &generator) })
  let seekable = ["--format", "seekable-zstd", "--level", "9"]
  for (command, arguments) in [
    ("pack", [input, "-o", folder.file("out")]), ("unpack", [folder.file("out"), "--test"]),
    // Packed input is unpacked on the way; higher levels have larger tables.
    ("pack", [folder.file("out"), "-o", folder.file("again")]),
    ("pack", [input, "-o", folder.file("other"), "--level", "12"]),
    ("pack", [input, "-o", folder.file("seekable")] + seekable),
    ("unpack", [folder.file("seekable"), "--test"]),
  ] {
    let result = Command.run(
      [Command.ingot, command] + arguments + [
        "--threads", "64", "--memory-limit", "64MiB", "--json",
      ])
    #expect(result.status == 0, "\(result.error)")
    let document = try JSONValue(parsing: Array(result.output.utf8), file: "stdout")
    #expect((document["peakResidentBytes"]?.int ?? .max) <= 64 << 20)
    let small = Command.run(
      [Command.ingot, command] + arguments + ["--memory-limit", "1MiB"])
    #expect(small.status == 64 && small.error.contains("--memory-limit"))
  }
}

@Test(.disabled(if: Command.isWatched, "a sanitizer takes more memory than the limit"))
func levelsThatDoNotFitAreTold() throws {
  let folder = TemporaryFolder()
  let input = folder.write("file", [UInt8](repeating: 1, count: 2 << 20))
  let result = Command.ingot(
    "pack", input, "-o", folder.file("out"), "--format", "seekable-zstd", "--level", "22",
    "--memory-limit", "32MiB")
  #expect(result.status == 64, "\(result.error)")
  #expect(result.error.contains("--memory-limit") && result.error.contains("--level 22"))
  expectSuccess(
    "pack", input, "-o", folder.file("out"), "--format", "seekable-zstd", "--memory-limit", "32MiB")
}

private func flipped(_ bytes: [UInt8], _ index: Int) -> [UInt8] {
  var bytes = bytes
  bytes[index] ^= 1
  return bytes
}

/// Packed files that are damaged, or hold no model, are told from those that do.
@Test func inspectTellsDamagedFromOther() throws {
  let folder = TemporaryFolder()
  let source = Fixtures.path("models/llama3")
  let model = folder.file("model.ingot")
  expectSuccess("pack", source, "-o", model)
  let bytes = try PositionalFile(plain: model).read(
    at: 0, count: Int(PositionalFile(plain: model).byteCount))
  // Cut short; then a byte of the trailer, of the directory, and of the last page of the frame table.
  for (name, damaged, field) in [
    ("cut", Array(bytes.dropLast(10)), "trailer"),
    ("trailer", flipped(bytes, bytes.count - 40), "trailer"),
    ("directory", flipped(bytes, bytes.count - 90), "directory"),
  ] {
    let path = folder.write(name, damaged)
    for arguments in [["inspect"], ["inspect", "--json"], ["convert", "-o", folder.file("out")]] {
      let result = Command.run([Command.ingot, arguments[0], path] + arguments.dropFirst())
      #expect(result.status == 65, "\(name) \(arguments): \(result.error)")
      #expect(result.error.contains(path) && result.error.contains(field), "\(result.error)")
      #expect(result.output.isEmpty)
    }
  }
  // The weights' own header lies in frames.
  let frame = folder.write("frame", flipped(bytes, bytes.count / 2))
  #expect(Command.ingot("unpack", frame, "--test").status == 65)
  // No model: the report is all there is to say.
  folder.write("text.txt", String(repeating: "words ", count: 9_000))
  folder.write("texts/a.txt", "text")
  for (input, format) in [("text.txt", "ingot"), ("text.txt", "seekable-zstd"), ("texts", "ingot")]
  {
    let packed = folder.file("packed")
    expectSuccess("pack", folder.file(input), "-o", packed, "--format", format)
    let result = Command.ingot("inspect", packed)
    #expect(result.status == 0 && result.output.contains("packed (\(format))"), "\(result.error)")
    #expect(result.error.contains("no model"), "\(result.error)")
    let json = Command.ingot("inspect", packed, "--json")
    let document = try JSONValue(parsing: Array(json.output.utf8), file: "stdout")
    #expect(document["packing"]?["form"]?.string == format)
    #expect(Command.ingot("convert", packed, "-o", folder.file("out")).status == 65)
  }
  #expect(!folder.list().contains("out"))
}

@Test func wrongUseOfPackingIsTold() throws {
  let folder = TemporaryFolder()
  let file = folder.write("file", "text")
  for (arguments, status) in [
    (["pack", folder.file("none"), "-o", folder.file("out")], 66),
    (["pack", file, "-o", file], 64), (["pack", file], 64),
    (["pack", file, "-o", folder.file("none/out")], 73),
    (["pack", file, "-o", folder.file("out"), "--level", "99"], 64),
    (["pack", folder.path, "-o", folder.file("out")], 64),
    (["unpack", file, "-o", folder.file("out")], 65),
    (["unpack", file], 64), (["unpack", file, "--test", "-o", folder.file("out")], 64),
  ] as [([String], Int32)] {
    let result = Command.run([Command.ingot] + arguments)
    #expect(result.status == status, "\(arguments): \(result.error)")
    #expect(result.error.contains("rror"))
  }
  #expect(folder.list() == ["file"])
}

/// What lies in a packed folder is told from what does not.
@Test func namesInPackedFoldersAreFoundOrRefused() throws {
  let folder = TemporaryFolder()
  folder.write("in/models/one/config.json", "{}")
  folder.write("in/models/one/notes", "text")
  let packed = folder.file("x.ingot")
  expectSuccess("pack", folder.file("in"), "-o", packed)
  for (arguments, status, says) in [
    (["inspect", packed + "/none"], 66, "no such file"),
    (["inspect", packed + "/none/deeper", "--json"], 66, "no such file"),
    (["inspect", packed + "/models/one/notes"], 65, "notes"),
    (
      ["unpack", packed + "/models/one/notes", "-o", folder.file("out")], 65,
      "'ingot unpack' restores"
    ),
    (["unpack", packed + "/none", "--test"], 66, "no such file"),
  ] {
    let result = Command.run([Command.ingot] + arguments)
    #expect(Int(result.status) == status, "\(arguments): \(result)")
    #expect(result.error.contains(says) && result.output.isEmpty, "\(arguments): \(result)")
  }
  // A folder inside is packed as the same one outside.
  expectSuccess("pack", packed + "/models/one", "-o", folder.file("inner.ingot"))
  expectSuccess("pack", folder.file("in/models/one"), "-o", folder.file("outer.ingot"))
  let files = try ["inner.ingot", "outer.ingot"].map { try PositionalFile(plain: folder.file($0)) }
  let bytes = try files.map { try $0.read(at: 0, count: Int($0.byteCount)) }
  #expect(bytes[0] == bytes[1])
}

/// A seekable file that lost its end is told as one.
@Test func seekableFilesThatAreCutOffAreTold() throws {
  let folder = TemporaryFolder()
  let packed = folder.file("x.zst")
  let source = folder.write("x", [UInt8](repeating: 7, count: 100_000))
  expectSuccess("pack", source, "-o", packed, "--format", "seekable-zstd")
  let bytes = try PositionalFile(plain: packed)
  let start = try bytes.read(at: 0, count: Int(bytes.byteCount) - 1)
  let result = Command.ingot("unpack", folder.write("cut.zst", start), "--test")
  #expect(result.status == 65 && result.error.contains("seek table"), "\(result)")
}
