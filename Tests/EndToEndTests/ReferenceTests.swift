import Formats
import GGUF
import Ingot
import StrictJSON
import TestSupport
import Testing

/// One conversion whose result the reference tools' is known.
struct ReferenceCase: Sendable, CustomTestStringConvertible {
  var model: String
  var mix: String
  var hasImportance = false
  var testDescription: String { "\(model) \(mix)\(hasImportance ? " with importance" : "")" }

  static let mixes = [
    "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_0", "Q4_1", "Q4_K_S", "Q4_K_M", "Q5_0", "Q5_1",
    "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0", "F16", "BF16", "F32",
    "IQ3_S", "IQ3_M", "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4_MOE", "Q1_0", "Q2_0",
  ]
  static let plain = ["llama2", "llama3"].flatMap { model in
    mixes.map { ReferenceCase(model: model, mix: $0) }
  }
  /// Those that the reference was run on with an importance matrix.
  static let withImportance = ["llama2", "llama3"].flatMap { model in
    [
      "Q2_K", "Q3_K_M", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS",
      "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "IQ4_NL", "IQ4_XS",
    ].map { ReferenceCase(model: model, mix: $0, hasImportance: true) }
  }

  func convert(to path: String, threads: Int = 2) throws {
    var recipe = Recipe()
    recipe.type = mix
    recipe.hasProvenance = false
    if hasImportance { recipe.importanceFile = Fixtures.path("models/imatrix/\(model).gguf") }
    var converter = try Converter(
      checkpoint: Fixtures.path("models/\(model)"), output: path, recipe: recipe,
      memoryLimit: testMemoryLimit)
    converter.threadCount = threads
    _ = try converter.run()
  }
}

/// Every tensor's name, shape, type and data equal those of converter and strict quantizer.
///
/// Origin: Fixtures/models/README.md.
@Test(arguments: ReferenceCase.plain + ReferenceCase.withImportance)
func tensorsEqualTheReference(_ reference: ReferenceCase) throws {
  let folder = TemporaryFolder()
  let path = folder.file("out.gguf")
  try reference.convert(to: path)
  let archive = try GGUFFile(path)
  let expected = try JSONValue(
    file: Fixtures.path(
      "models/expected/\(reference.hasImportance ? "with-imatrix/" : "")"
        + "\(reference.model)-\(reference.mix).json"), limit: 1 << 20)
  let tensors = try #require(expected["tensors"]?.object)
  #expect(archive.tensors.count == tensors.members.count)
  for tensor in archive.tensors {
    let row = try #require(tensors[tensor.name.string]?.array, "\(tensor.name)")
    #expect(row[0].string == tensor.type.name, "\(tensor.name)")
    #expect(row[1].array?.compactMap(\.int) == tensor.shape.ggufDimensions, "\(tensor.name)")
    var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
    try bytes.withUnsafeMutableBytes { try archive.read(tensor, at: 0, into: $0) }
    #expect(bytes.withUnsafeBytes { Int(crc32($0)) } == row[2].int, "\(tensor.name)")
  }
}

/// Without our own keys the whole file is the reference's.
@Test func wholeFilesEqualTheReference() throws {
  let table = FormatTable(
    try Fixtures.bytes("models/expected/whole-files.tsv"), name: "whole-files.tsv",
    columns: ["model", "mix", "bytes", "crc32"])
  #expect(table.rows.count == 50)
  for row in table.rows {
    let folder = TemporaryFolder()
    let path = folder.file("out.gguf")
    try ReferenceCase(model: row["model"], mix: row["mix"]).convert(to: path)
    let bytes = try PositionalFile.readAll(path, limit: 64 << 20)
    #expect("\(bytes.count)" == row["bytes"], "\(row["model"]) \(row["mix"])")
    let crc = bytes.withUnsafeBytes { crc32($0) }
    #expect("\(crc)" == row["crc32"], "\(row["model"]) \(row["mix"])")
  }
}

@Test func bytesDoNotDependOnThreadsOrRepetition() throws {
  let folder = TemporaryFolder()
  let reference = ReferenceCase(model: "llama3", mix: "Q4_K_M", hasImportance: true)
  var files: [[UInt8]] = []
  for (index, threads) in [1, 2, 7, 16, 2].enumerated() {
    let path = folder.file("\(index).gguf")
    try reference.convert(to: path, threads: threads)
    files.append(try PositionalFile.readAll(path, limit: 64 << 20))
  }
  for file in files.dropFirst() { #expect(file == files[0]) }
}

/// However small the chunks: parts of rows, single rows, parts of rotary heads, whole tensors.
@Test(arguments: ["Q4_K_M", "Q4_0", "IQ4_NL", "Q8_0", "F32", "BF16"])
func bytesDoNotDependOnTheCuttingIntoChunks(_ mix: String) throws {
  let folder = TemporaryFolder()
  var expected: [UInt8]?
  for weightsPerChunk in [1 << 30, 1, 300, 5000] {
    var recipe = Recipe()
    recipe.type = mix
    recipe.importanceFile = Fixtures.path("models/imatrix/llama3.gguf")
    var converter = try Converter(
      checkpoint: Fixtures.path("models/llama3"), output: folder.file("out.gguf"), recipe: recipe,
      memoryLimit: testMemoryLimit)
    converter.weightsPerChunk = weightsPerChunk
    _ = try converter.run()
    let bytes = try PositionalFile.readAll(folder.file("out.gguf"), limit: 64 << 20)
    #expect(bytes == expected ?? bytes, "\(weightsPerChunk) weights per chunk")
    expected = expected ?? bytes
  }
}

/// Shards under other names, with the tensors dealt out differently, give the same archive.
@Test func bytesDoNotDependOnTheOrderOfShards() throws {
  let folder = TemporaryFolder()
  let model = Fixtures.path("models/llama3")
  for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
    folder.link("llama3/\(name)", to: model + "/" + name)
  }
  // The two shards swap their numbers.
  for (from, to) in [("00001", "00002"), ("00002", "00001")] {
    folder.link(
      "llama3/model-\(to)-of-00002.safetensors", to: model + "/model-\(from)-of-00002.safetensors")
  }
  var recipe = Recipe()
  recipe.hasProvenance = false
  for (checkpoint, name) in [(model, "a"), (folder.file("llama3"), "b")] {
    _ = try Converter(
      checkpoint: checkpoint, output: folder.file(name), recipe: recipe,
      memoryLimit: testMemoryLimit
    ).run()
  }
  #expect(
    try PositionalFile.readAll(folder.file("a"), limit: 64 << 20)
      == PositionalFile.readAll(folder.file("b"), limit: 64 << 20))
}

/// No file of a split set is larger than asked, and together they hold the archive.
@Test func splitFilesKeepTheirLimit() throws {
  let folder = TemporaryFolder()
  let model = Fixtures.path("models/llama3")
  var recipe = Recipe()
  recipe.splitByteCount = 700_000
  let split = try Converter(
    checkpoint: model, output: folder.file("s.gguf"), recipe: recipe, memoryLimit: testMemoryLimit)
  _ = try split.run()
  #expect(split.plan.outputs.count >= 6)
  for output in split.plan.outputs {
    #expect(try PositionalFile(output.path).byteCount == output.byteCount)
    #expect(output.byteCount <= 700_000)
  }
  recipe.splitByteCount = nil
  _ = try Converter(
    checkpoint: model, output: folder.file("w.gguf"), recipe: recipe, memoryLimit: testMemoryLimit
  ).run()
  recipe.type = "copy"
  let merged = try Converter(
    checkpoint: split.plan.outputs[0].path, output: folder.file("m.gguf"), recipe: recipe,
    memoryLimit: testMemoryLimit)
  _ = try merged.run()
  let (a, b) = (try GGUFFile(folder.file("w.gguf")), try GGUFFile(folder.file("m.gguf")))
  #expect(a.tensors.map(\.name) == b.tensors.map(\.name))
  for (x, y) in zip(a.tensors, b.tensors) {
    #expect(x.type == y.type)
    var (left, right) = (
      [UInt8](repeating: 0, count: x.byteCount), [UInt8](repeating: 1, count: y.byteCount)
    )
    try left.withUnsafeMutableBytes { try a.read(x, at: 0, into: $0) }
    try right.withUnsafeMutableBytes { try b.read(y, at: 0, into: $0) }
    #expect(left == right, "\(x.name)")
  }
}
