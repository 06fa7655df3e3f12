import ByteIO
import Checkpoints
import Tensors
import TestSupport
import Testing

/// One row of `Fixtures/golden/meta-releases/expected.tsv`.
private struct ExpectedWeight {
  var name: String
  var type: String
  var shape: String
  var crc32: UInt32

  static func all(_ release: String) throws -> [ExpectedWeight] {
    let text = String(
      decoding: try Fixtures.bytes("golden/meta-releases/expected.tsv"), as: UTF8.self)
    return try text.split(separator: "\n").filter { $0.hasPrefix(release + "\t") }.map { line in
      let cells = line.split(separator: "\t").map(String.init)
      return ExpectedWeight(
        name: cells[1], type: cells[2], shape: cells[3], crc32: try #require(UInt32(cells[4])))
    }
  }
}

/// Meta's layouts as torch writes them; every weight has the bits of their definition.
///
/// Origin: Tests/Interop/make_meta_releases.py.
@Test(arguments: ["fp8", "qlora", "spinquant", "spinquant-lora", "llama4", "llama4-fp8"])
func readsMetasQuantizedReleases(_ release: String) throws {
  let directory = try MetaDirectory(Fixtures.path("golden/meta-releases/\(release)"))
  let expected = try ExpectedWeight.all(release)
  let isLlama4 = release.hasPrefix("llama4")
  #expect(expected.count == (isLlama4 ? 48 : 30))
  #expect(directory.tensors.map(\.name.string) == expected.map(\.name))
  for (tensor, row) in zip(directory.tensors, expected) {
    #expect(tensor.type.name == row.type, "\(row.name)")
    #expect(tensor.shape.dimensions.map(String.init).joined(separator: ",") == row.shape)
    var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
    try bytes.withUnsafeMutableBytes { try directory.read(tensor, at: 0, into: $0) }
    #expect(bytes.withUnsafeBytes { crc32($0) } == row.crc32, "\(row.name)")
    // Parts of rows, which an adaptor and a rotation need more for.
    let width = tensor.type.bytesPerBlock
    let count = tensor.elementCount
    for range in [1..<2, min(3, count)..<min(40, count), max(0, count - 9)..<count] {
      var part = [UInt8](repeating: 0, count: range.count * width)
      try part.withUnsafeMutableBytes {
        try directory.read(tensor, at: range.lowerBound * width, into: $0)
      }
      #expect(
        part == Array(bytes[range.lowerBound * width..<range.upperBound * width]), "\(row.name)")
    }
  }
  #expect(directory.notes.contains { $0.hasPrefix("dequantized") } == (release != "llama4"))
  let isVision = directory.notes.contains { $0.contains("3 tensors of the vision tower") }
  #expect(isVision == isLlama4)
  #expect(directory.files.count == ["fp8": 4, "llama4-fp8": 4, "llama4": 2][release, default: 1])
  #expect(directory.files.count == directory.fileByteCounts.count)
  #expect(directory.heldByteLimit(threadCount: 2) > directory.heldByteLimit(threadCount: 1))
  try directory.checkUnchanged()
}

// MARK: Rejection

/// A golden release with one fault.
private struct DamagedRelease {
  let folder = TemporaryFolder()

  init(_ release: String, without missing: [String] = []) throws {
    let source = Fixtures.path("golden/meta-releases/\(release)")
    for name in try DirectoryListing.names(in: source) where !missing.contains(name) {
      folder.write(name, try Fixtures.bytes("golden/meta-releases/\(release)/\(name)"))
    }
  }

  /// What opening it says.
  func message() -> String {
    do {
      _ = try MetaDirectory(folder.path)
      return ""
    } catch {
      #expect(!"\(error)".contains("\n"))
      return "\(error)"
    }
  }

  func parameters(_ text: String, replacedBy other: String) throws {
    var parameters = String(
      decoding: try PositionalFile.readAll(folder.file("params.json"), limit: 1 << 16),
      as: UTF8.self)
    precondition(parameters.contains(text))
    parameters.replace(text, with: other)
    folder.write("params.json", parameters)
  }
}

@Test func refusesScaleFilesThatDoNotFitTheShards() throws {
  let scales = try Fixtures.bytes("golden/meta-releases/fp8/fp8_scales_0.pt")
  for (missing, added, says) in [
    (["fp8_scales_1.pt"], nil, "missing the scales of shard 1: 1 of 2"),
    ([], "fp8_scales_2.pt", "there are only 2 shards"),
    (["fp8_scales_0.pt", "fp8_scales_1.pt"], nil, "missing fp8_scales_0.pt"),
    ([], "int4_scales_0.pt", "four-bit weights of a mixture of experts"),
  ] as [([String], String?, String)] {
    let release = try DamagedRelease("fp8", without: missing)
    if let added { release.folder.write(added, scales) }
    #expect(release.message().contains(says), "\(release.message())")
  }
  // The scales of another shard.
  let swapped = try DamagedRelease("fp8")
  swapped.folder.write(
    "fp8_scales_1.pt", try Fixtures.bytes("golden/meta-releases/fp8/fp8_scales_0.pt"))
  #expect(swapped.message().contains("L_feed_forward.w1_1"), "\(swapped.message())")
}

@Test func refusesScalesOfOtherTensorsAndShapes() throws {
  for (name, storage, shape, says) in [
    ("layers.1.feed_forward.experts.w1", "FloatStorage", [128], "F32 [experts, rows]"),
    ("layers.1.feed_forward.experts.w4", "FloatStorage", [2, 64], "scale of another tensor"),
    (
      "layers.1.feed_forward.experts.w1", "FloatStorage", [2, 64],
      "missing tensor layers.1.feed_forward.w1.weight_scale"
    ),
    ("01_feed_forward.w1_0", "FloatStorage", [128], "scale of another tensor"),
    ("1_feed_forward.w4_0", "FloatStorage", [128], "scale of another tensor"),
    ("9223372036854775808_feed_forward.w1_0", "FloatStorage", [128], "scale of another tensor"),
    ("1_feed_forward.w1_0", "HalfStorage", [128], "F16"),
    ("1_feed_forward.w1_0", "FloatStorage", [2, 64], "F32 [2, 64]"),
    ("1_feed_forward.w1_0", "FloatStorage", [64], "does not fit layers.1.feed_forward.w1.weight"),
    ("2_feed_forward.w1_0", "FloatStorage", [128], "layers.1.feed_forward.w1.weight_scale"),
  ] as [(String, String, [Int], String)] {
    let release = try DamagedRelease("fp8")
    let width = storage == "HalfStorage" ? 2 : 4
    release.folder.write(
      "fp8_scales_0.pt",
      TorchArchive.bytes([
        .init(
          name: name, storage: storage, shape: shape,
          bytes: [UInt8](repeating: 0, count: shape.reduce(width, *)))
      ]))
    #expect(release.message().contains(says), "\(release.message())")
  }
}

@Test func refusesScalesOfPlainWeights() throws {
  let release = try DamagedRelease("fp8")
  let names = ["w1", "w2", "w3"].flatMap { ["1_feed_forward.\($0)_0", "2_feed_forward.\($0)_0"] }
  release.folder.write(
    "fp8_scales_0.pt",
    TorchArchive.bytes(
      names.map { name in
        let rows = name.contains("w2") ? 64 : 128
        return .init(
          name: name, storage: "FloatStorage", shape: [rows],
          bytes: [UInt8](repeating: 0, count: rows * 4))
      }))
  #expect(release.message().contains("weight that is stored as BF16"), "\(release.message())")
}

@Test func refusesQuantizationArgumentsThatMeanSomethingElse() throws {
  for (text, other, says) in [
    ("int4_weight_int8_dynamic_activation", "int8_weight", "quantization_args.scheme"),
    ("\"group_size\": 32", "\"group_size\": 0", "found 0"),
    ("\"group_size\": 32", "\"group_size\": 48", "groups of 48"),
    ("\"group_size\": 32", "\"group_size\": \"32\"", "an integer"),
    ("\"group_size\": 32", "\"bits\": 4", "missing a length"),
    ("\"quantization_args\": {", "\"quantization_args\": 4, \"a\": {", "an object"),
    ("\"quantization_args\": {", "\"other\": {", "lora_args"),
    ("\"rank\": 4", "\"rank\": 5", "adaptor.A.weight"),
    ("\"rank\": 4", "\"rank\": 0", "lora_args.rank"),
    ("\"rank\": 4", "\"rank\": 1000000", "lora_args.rank"),
    ("\"scale\": 2.0", "\"scale\": 1e999", "lora_args.scale"),
    ("\"scale\": 2.0", "\"scale\": \"2\"", "lora_args.scale"),
    ("\"lora_args\"", "\"other\"", "no lora_args"),
    ("\"spinquant\": true", "\"spinquant\": 1", "true or false"),
  ] {
    let release = try DamagedRelease("spinquant-lora")
    try release.parameters(text, replacedBy: other)
    #expect(release.message().contains(says), "\(says): \(release.message())")
  }
  let shards = try DamagedRelease("qlora")
  shards.folder.write(
    "consolidated.01.pth", try Fixtures.bytes("golden/meta-releases/qlora/consolidated.00.pth"))
  #expect(shards.message().contains("2 shards"), "\(shards.message())")
  let bare = try DamagedRelease("spinquant")
  try bare.parameters(
    "\"multiple_of\"", replacedBy: "\"lora_args\": {\"rank\": 4, \"scale\": 1}, \"multiple_of\"")
  #expect(bare.message().contains("missing adaptors"), "\(bare.message())")
}

/// One four-bit weight of a release, built by hand.
@Test func refusesFourBitWeightsThatDoNotFit() throws {
  typealias Tensor = TorchArchive.Tensor
  func message(_ tensors: [Tensor]) throws -> String {
    let release = try DamagedRelease("spinquant")
    release.folder.write("consolidated.00.pth", TorchArchive.bytes(tensors))
    return release.message()
  }
  func tensor(_ name: String, _ storage: String, _ shape: [Int], width: Int) -> Tensor {
    Tensor(
      name: name, storage: storage, shape: shape,
      bytes: [UInt8](repeating: 0, count: shape.reduce(width, *)))
  }
  let norm = tensor("norm.weight", "FloatStorage", [96], width: 4)
  let base = "layers.0.feed_forward.w2"
  let codes = tensor("\(base).weight", "CharStorage", [8, 96], width: 1)
  let scales = tensor("\(base).scales", "FloatStorage", [8, 3], width: 4)
  #expect(try message([norm]).contains("no tensor is stored so"))
  #expect(try message([norm, codes]).contains("missing tensor \(base).scales"))
  #expect(try message([norm, codes, scales]).contains("found 96 rotated columns"))
  let other = tensor("layers.0.feed_forward.w1.weight", "CharStorage", [8, 96], width: 1)
  let otherScales = tensor("layers.0.feed_forward.w1.scales", "FloatStorage", [8, 3], width: 4)
  #expect(try message([norm, other, otherScales]) == "")
  let lone = tensor("layers.0.feed_forward.w3.scales", "FloatStorage", [8, 3], width: 4)
  #expect(try message([norm, other, otherScales, lone]).contains("missing the weight"))
  let zeros = tensor("layers.0.feed_forward.w1.zeros", "FloatStorage", [8, 2], width: 4)
  #expect(try message([norm, other, otherScales, zeros]).contains("[8, 2] does not fit"))
  let embedding = tensor("tok_embeddings.weight", "CharStorage", [8, 96], width: 1)
  let grouped = tensor("tok_embeddings.scales", "FloatStorage", [8, 3], width: 4)
  #expect(
    try message([norm, embedding, grouped]).contains("one scale per row"))
}
