import ByteIO
import GGUF
import Ingot
import StrictJSON
import TestSupport
import Testing

private let model = "llama4-16-experts"

private func number(_ text: String) -> JSONValue {
  .number(JSONNumber(text: text, isIntegerLiteral: text.allSatisfy(\.isNumber)))
}

/// The whole file equals the reference converter's, byte for byte.
///
/// Origin: Tests/Interop/make_expert_models.py.
@Test(arguments: ["auto", "f32", "f16", "q8_0"])
func projectorEqualsTheReference(_ outtype: String) throws {
  let checkpoint = try RandomCheckpoint(model)
  let folder = TemporaryFolder()
  let path = folder.file("mmproj.gguf")
  var recipe = Recipe()
  recipe.hasProvenance = false
  _ = try Converter(
    // The folder gives the model its name.
    checkpoint: folder.link(model, to: checkpoint.path), output: nil,
    projector: ProjectorOutput(path: path, type: outtype == "auto" ? nil : outtype),
    recipe: recipe, memoryLimit: testMemoryLimit
  ).run()
  let expected = try #require(checkpoint.expected["projector"]?[outtype])
  let archive = try GGUFFile(path)
  let rows = try #require(expected["tensors"]?.object)
  #expect(archive.tensors.map(\.name.string) == rows.members.map(\.key))
  for tensor in archive.tensors {
    let row = try #require(rows[tensor.name.string]?.array, "\(tensor.name)")
    #expect(row[0].string == tensor.type.name, "\(tensor.name)")
    #expect(row[1].array?.compactMap(\.int) == tensor.shape.ggufDimensions, "\(tensor.name)")
  }
  let keys = try #require(expected["metadata"]?.object).members.map(\.key)
  #expect(archive.metadata.keys.map(\.string) == keys)
  let bytes = try PositionalFile.readAll(path, limit: 1 << 24)
  #expect(bytes.withUnsafeBytes { Int(crc32($0)) } == expected["crc32"]?.int)
}

@Test func writesBothArchivesOrNone() throws {
  let checkpoint = try RandomCheckpoint(model)
  let folder = TemporaryFolder()
  let (archive, tower) = (folder.file("model.gguf"), folder.file("mmproj.gguf"))
  let plan = Command.ingot(
    "convert", checkpoint.path, "-o", archive, "--mmproj", tower, "--dry-run", "--json")
  #expect(plan.status == 0 && folder.list().isEmpty, "\(plan.error)")
  let document = try JSONValue(parsing: Array(plan.output.utf8), file: "stdout")
  let outputs = try #require(document["outputs"]?.array)
  #expect(outputs.map { $0["kind"]?.string } == ["model", "mmproj"])
  #expect(outputs.map { $0["path"]?.string } == [archive, tower])
  let tensors = try #require(document["tensors"]?.array)
  let ofTower = tensors.filter { $0["output"]?.int == 1 }.compactMap { $0["name"]?.string }
  #expect(ofTower.count == 58)
  #expect(ofTower.allSatisfy { $0.hasPrefix("v.") || $0.hasPrefix("mm.") })
  // How many bits a weight has is said of the language model.
  let plain = try Converter(checkpoint: checkpoint.path, output: archive).plan
  #expect(document["weightCount"]?.int == Int(plain.weightCount))
  #expect(document["bitsPerWeight"]?.double == plain.bitsPerWeight)

  let both = Command.ingot("convert", checkpoint.path, "-o", archive, "--mmproj", tower)
  #expect(both.status == 0, "\(both.error)")
  #expect(!both.error.contains("left out"))
  #expect(folder.list() == ["mmproj.gguf", "model.gguf"])
  let alone = folder.file("alone.gguf")
  let only = Command.ingot("convert", checkpoint.path, "--mmproj", alone)
  #expect(only.status == 0, "\(only.error)")
  let limit: UInt64 = 1 << 24
  #expect(
    try PositionalFile.readAll(alone, limit: limit) == PositionalFile.readAll(tower, limit: limit))
  let checked = Command.ingot("check", tower)
  #expect(checked.status == 0, "\(checked.output)\(checked.error)")

  let split = Command.ingot(
    "convert", checkpoint.path, "-o", folder.file("part.gguf"), "--mmproj",
    folder.file("tower.gguf"), "--split-max-size", "300K")
  #expect(split.status == 0, "\(split.error)")
  let parts = folder.list().filter { $0.hasPrefix("part-") }
  #expect(parts.count > 1)
  #expect(
    try PositionalFile.readAll(folder.file("tower.gguf"), limit: limit)
      == PositionalFile.readAll(tower, limit: limit))
}

/// Weights that are not finite are met late: neither file is there then.
@Test func badTowerLeavesNeitherArchive() throws {
  let checkpoint = try RandomCheckpoint(model) { tensors in
    for index in tensors.indices where tensors[index].name.hasSuffix("2.mlp.fc2.weight") {
      tensors[index].bytes.replaceSubrange(4..<6, with: [0xC0, 0x7F])
    }
  }
  let folder = TemporaryFolder()
  let result = Command.ingot(
    "convert", checkpoint.path, "-o", folder.file("a.gguf"), "--mmproj", folder.file("b.gguf"),
    "--mmproj-type", "q8_0")
  expectRefusal(
    result, status: 65, says: ["layers.2.mlp.fc2.weight"], leaving: folder.list(), "NaN")
}

@Test func correctedNormsHaveTheNameThatIsLookedFor() throws {
  let checkpoint = try RandomCheckpoint(model)
  let path = checkpoint.folder.file("corrected.gguf")
  let result = Command.ingot(
    "convert", checkpoint.path, "--mmproj", path, "--mmproj-correct-norms")
  #expect(result.status == 0, "\(result.error)")
  #expect(!result.error.contains("--mmproj-correct-norms"))
  let names = try GGUFFile(path).tensors.map(\.name.string)
  #expect(names.contains("v.blk.2.ln2.weight") && names.contains("v.blk.0.ln2.bias"))
  #expect(!names.contains { $0.contains("attn_post_norm") })
}

private struct Refusal: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var status: Int32
  var says: [String]
  var visionChanges: [String: JSONValue] = [:]
  var removesPreprocessor = false
  var options: [String] = []
  var edit: @Sendable (inout [RandomCheckpoint.Tensor]) -> Void = { _ in }
}

private let refusals = [
  Refusal(
    testDescription: "no tower", status: 64, says: ["--mmproj", "no vision tower"]
  ) { $0.removeAll { $0.name.hasPrefix("vision_model.") } },
  Refusal(
    testDescription: "unknown type", status: 64, says: ["--mmproj-type", "Q4_K", "BF16"],
    options: ["--mmproj-type", "Q4_K"]),
  Refusal(
    testDescription: "no preprocessor", status: 65, says: ["preprocessor_config", "image_mean"],
    removesPreprocessor: true),
  Refusal(
    testDescription: "another activation", status: 65, says: ["vision_config.hidden_act", "gelu"],
    visionChanges: ["hidden_act": .string("relu")]),
  Refusal(
    testDescription: "another base", status: 65, says: ["vision_config.rope_theta", "10000"],
    visionChanges: ["rope_theta": number("500")]),
  Refusal(
    testDescription: "a ratio of no whole patches", status: 65, says: ["pixel_shuffle_ratio"],
    visionChanges: ["pixel_shuffle_ratio": number("0.3")]),
  Refusal(
    testDescription: "pictures of no whole patches", status: 65, says: ["image_size", "60"],
    visionChanges: ["image_size": number("60")]),
  Refusal(
    testDescription: "a layer too few", status: 65, says: ["belongs to layer 2", "2"],
    visionChanges: ["num_hidden_layers": number("2")]),
  Refusal(
    testDescription: "a layer too many", status: 65, says: ["missing", "model.layers.3."],
    visionChanges: ["num_hidden_layers": number("4")]),
  Refusal(
    testDescription: "another width", status: 65, says: ["linear_1", "[64, 48]", "[64, 40]"],
    visionChanges: [
      "vision_output_dim": number("40"), "projector_input_dim": number("40"),
      "projector_output_dim": number("40"),
    ]),
  Refusal(
    testDescription: "unknown tensor", status: 65,
    says: ["vision_model.extra", "llama4-vision.tsv"]
  ) { $0.append(.init(name: "vision_model.extra", shape: [1], bytes: [0, 0])) },
]

@Test(arguments: refusals) private func refusesTower(_ refusal: Refusal) throws {
  let checkpoint = try RandomCheckpoint(
    model, visionChanges: refusal.visionChanges, edit: refusal.edit)
  if refusal.removesPreprocessor { checkpoint.folder.write("preprocessor_config.json", "{}") }
  let folder = TemporaryFolder()
  let result = Command.run(
    [Command.ingot, "convert", checkpoint.path, "--mmproj", folder.file("out.gguf")]
      + refusal.options)
  expectRefusal(
    result, status: refusal.status, says: refusal.says, leaving: folder.list(),
    refusal.testDescription)
}

@Test func refusesInputsWithoutATowerAndOutputsThatAreInputs() throws {
  let checkpoint = try RandomCheckpoint(model)
  let folder = TemporaryFolder()
  let (out, tower) = (folder.file("out.gguf"), folder.file("tower.gguf"))
  let llama3 = Fixtures.path("models/llama3")
  #expect(Command.ingot("convert", llama3, "-o", out, "--type", "Q8_0").status == 0)
  let cases: [(arguments: [String], says: [String])] = [
    ([llama3, "--mmproj", tower], ["LlamaForCausalLM", "no vision tower"]),
    ([out, "-o", folder.file("b.gguf"), "--mmproj", tower], ["out.gguf", "Hugging Face"]),
    ([out, "--mmproj", tower], ["out.gguf", "Hugging Face"]),
    ([checkpoint.path], ["nothing to write", "--mmproj"]),
    ([checkpoint.path, "-o", out, "--mmproj-type", "F16"], ["--mmproj FILE"]),
    ([checkpoint.path, "-o", tower, "--mmproj", tower], ["tower.gguf", "also the archive"]),
    ([checkpoint.path, "--mmproj", checkpoint.folder.file("config.json")], ["also an input"]),
    (
      [checkpoint.path, "--mmproj", tower, "--modelfile", folder.file("Modelfile")],
      ["--modelfile", "-o"]
    ),
  ]
  for (arguments, says) in cases {
    let result = Command.run([Command.ingot, "convert"] + arguments)
    expectRefusal(
      result, status: 64, says: says, leaving: folder.list().filter { $0 != "out.gguf" },
      "\(arguments)")
  }
}
