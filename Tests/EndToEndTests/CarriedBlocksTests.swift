import ByteIO
import GGUF
import StrictJSON
import Tensors
import TestSupport
import Testing

/// Releases of `Fixtures/golden/carried-blocks` and what archives of them hold.
///
/// Origin: Tests/Interop/make_block_releases.py.
private struct BlockRelease {
  let folder = TemporaryFolder()
  var path: String { folder.file("release") }
  var archive: String { folder.file("archive.gguf") }

  init(_ kind: String) throws {
    for name in ["model.safetensors", "config.json"] {
      folder.write("release/\(name)", try Fixtures.bytes("golden/carried-blocks/\(kind)/\(name)"))
    }
    for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
      folder.write("release/\(name)", try Fixtures.bytes("models/llama3/\(name)"))
    }
  }

  func convert(_ options: String...) -> CommandResult {
    Command.run(
      [Command.ingot, "convert", path, "-o", archive, "--no-provenance", "--progress", "none"]
        + options)
  }

  /// Name, type, shape and checksum of the tensors, and the file type.
  func found() throws -> [String: String] {
    let file = try GGUFFile(archive)
    var found: [String: String] = [:]
    for tensor in file.tensors {
      var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
      try bytes.withUnsafeMutableBytes { try file.read(tensor, at: 0, into: $0) }
      let shape = tensor.shape.dimensions.map(String.init).joined(separator: ",")
      found[tensor.name.string] =
        "\(tensor.type) \(shape) \(bytes.withUnsafeBytes { crc32($0) })"
    }
    let fileType = try #require(file.metadata["general.file_type"]?.int)
    found["general.file_type"] = "- - \(fileType)"
    return found
  }

  static func expected(_ kind: String) throws -> [String: String] {
    let text = String(
      decoding: try Fixtures.bytes("golden/carried-blocks/expected.tsv"), as: UTF8.self)
    var expected: [String: String] = [:]
    for line in text.split(separator: "\n") where line.hasPrefix(kind + "\t") {
      let cells = line.split(separator: "\t").map(String.init)
      expected[cells[1]] = "\(cells[2]) \(cells[3]) \(cells[4])"
    }
    return expected
  }
}

@Test(arguments: ["modelopt", "compressed"])
func copiesNVFP4AsTheReferenceDoes(_ kind: String) throws {
  let release = try BlockRelease(kind)
  let result = release.convert("--type", "copy")
  #expect(result.status == 0, "\(result.error)")
  #expect(result.error.contains("tensors keep their blocks, as NVFP4"), "\(result.error)")
  let expected = try BlockRelease.expected(kind)
  #expect(expected.count == (kind == "modelopt" ? 30 : 27))
  #expect(try release.found() == expected)
  let check = Command.ingot("check", release.archive)
  #expect(check.status == 0 && !check.output.contains("warning"), "\(check)")
}

@Test func copiesMXFP4() throws {
  let release = try BlockRelease("mxfp4")
  #expect(release.convert("--type", "copy").status == 0)
  let found = try release.found()
  let expected = try BlockRelease.expected("mxfp4")
  #expect(expected.count == 7)
  for (name, value) in expected { #expect(found[name] == value, "\(name)") }
  #expect(found["general.file_type"] == "- - 38")
  #expect(found.count == 13)
}

/// A recipe that gives a tensor the type that it has does not quantize it again.
@Test(arguments: [
  ("modelopt", ["--type", "NVFP4", "--pure"]),
  ("mxfp4", ["--type", "MXFP4", "--pure", "--threads", "3"]),
  ("mxfp4", ["--type", "Q8_0", "--tensor-type", "ffn_=MXFP4"]),
])
func keepsBlocksWhereTheTypeIsTheirs(_ kind: String, _ options: [String]) throws {
  let release = try BlockRelease(kind)
  let result = Command.run(
    [Command.ingot, "convert", release.path, "-o", release.archive, "--no-provenance"] + options)
  #expect(result.status == 0, "\(result.error)")
  let found = try release.found()
  let isPartial = options.contains("--tensor-type")
  for (name, value) in try BlockRelease.expected(kind)
  where name.hasPrefix("blk.") && !name.hasSuffix("norm.weight") {
    if !isPartial || name.contains("ffn_") {
      #expect(found[name] == value, "\(name)")
    } else {
      #expect(found[name]?.hasPrefix("Q8_0") == true, "\(name)")
    }
  }
}

/// Decoded, nothing stands beside a tensor.
@Test func writesNoScalesBesideDecodedWeights() throws {
  let release = try BlockRelease("modelopt")
  #expect(release.convert("--type", "Q8_0").status == 0)
  #expect(try release.found().keys.allSatisfy { !$0.hasSuffix("scale") })
}

/// Verification reads `X.scale`: with it blocks are the weights, and with another one they are not.
@Test func verificationHonoursTheScaleBesideATensor() throws {
  let release = try BlockRelease("modelopt")
  #expect(release.convert("--type", "copy").status == 0)
  let whole = Command.ingot(
    "verify", release.path, release.archive, "--json", "-", "--progress", "none")
  #expect(whole.status == 0, "\(whole)")
  let report = try JSONValue(parsing: Array(whole.output.utf8), file: "report")
  let errors = (report["tensors"]?.array ?? []).compactMap { $0["relativeRMSError"]?.double }
  #expect(errors.count == 12)
  // One rounding of a product apart.
  #expect(errors.allSatisfy { $0 < 0x1p-23 })

  let file = try GGUFFile(release.archive)
  let scale = try #require(file.tensors.first { $0.name == "blk.0.ffn_gate.scale" })
  var bytes = try PositionalFile.readAll(release.archive, limit: 1 << 22)
  let place = Int(scale.regions[0].fileOffset)
  for (value, status) in [([0, 0, 0, 0x3F], 1), ([0, 0, 0x80, 0x7F], 65)] as [([UInt8], Int32)] {
    bytes.replaceSubrange(place..<place + 4, with: value)
    release.folder.write("archive.gguf", bytes)
    let result = Command.ingot("verify", release.path, release.archive, "--progress", "none")
    #expect(result.status == status, "\(result)")
    #expect((result.output + result.error).contains("blk.0.ffn_gate"), "\(result)")
  }
}

/// Meta's SpinQuant release as a whole: the weights that its directory gives, in Q8_0.
@Test func convertsMetasQuantizedRelease() throws {
  let folder = TemporaryFolder()
  for name in ["params.json", "consolidated.00.pth"] {
    folder.write("model/\(name)", try Fixtures.bytes("golden/meta-releases/spinquant/\(name)"))
  }
  folder.write("model/tokenizer.model", try Fixtures.bytes("models/llama3-meta/tokenizer.model"))
  let archive = folder.file("archive.gguf")
  let result = Command.ingot("convert", folder.file("model"), "-o", archive, "--type", "Q8_0")
  #expect(result.status == 0, "\(result.error)")
  #expect(result.error.contains("3 of INT4, groups of 32, rotation undone"), "\(result.error)")
  #expect(Command.ingot("check", archive).status == 0)
  let verified = Command.ingot("verify", folder.file("model"), archive, "--progress", "none")
  #expect(verified.status == 0, "\(verified)")
}
