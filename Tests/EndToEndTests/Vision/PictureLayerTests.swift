import ByteIO
import GGUF
import Ingot
import StrictJSON
import TestSupport
import Testing

private let model = "llama32-vision"

private func list(_ numbers: [Int]) -> JSONValue {
  .array(numbers.map { .number(JSONNumber(text: "\($0)", isIntegerLiteral: true)) })
}

/// Bytes, names and metadata are those of the Llama 3.1 that is left: `expertsEqualTheReference`
/// holds them; here is what the user hears.
@Test func saysWhatIsLeftOutOfLlama32Vision() throws {
  let checkpoint = try RandomCheckpoint(model)
  let path = checkpoint.folder.file("out.gguf")
  let result = Command.ingot("convert", checkpoint.path, "-o", path, "--type", "Q8_0")
  #expect(result.status == 0, "\(result.error)")
  for text in ["attend to a picture (1, 3)", "3 layers", "<|image|>", "vision tower"] {
    #expect(result.error.contains(text), "\(result.error)")
  }
  #expect(!result.error.contains("--mmproj"))
  let archive = try GGUFFile(path)
  #expect(archive.metadata["llama.block_count"]?.int == 3)
  #expect(archive.metadata["tokenizer.ggml.tokens"]?.array?.count == 2048)
  #expect(archive.tensors.first { $0.name == "token_embd.weight" }?.rowCount == 2048)
  #expect(Command.ingot("check", path).status == 0)
  let verified = Command.ingot(
    "verify", checkpoint.path, path, "--text", Fixtures.path("text/eval.txt"), "--context", "64",
    "--chunks", "2", "--max-mean-kld", "0.1")
  #expect(verified.status == 0, "\(verified.error)\(verified.output)")
  // What stands for a picture is text to the text model, on both sides.
  let texts = [checkpoint.path, path].map {
    Command.ingot("tokenize", $0, "--text", "a<|image|>b", "--json").output
  }
  let ids = try texts.map {
    try JSONValue(parsing: Array($0.utf8), file: "stdout")["tokens"]?.array?.compactMap(\.int)
  }
  #expect(ids[0] == ids[1] && ids[0]?.contains { $0 >= 2048 } == false)
}

/// The framework's list may name layers beyond the last.
@Test func layersBeyondTheLastDoNotCount() throws {
  let archives = try [[1, 3], [1, 3, 8, 13]].map { layers in
    let checkpoint = try RandomCheckpoint(
      model, changes: ["cross_attention_layers": list(layers)])
    let path = checkpoint.folder.file("out.gguf")
    var recipe = Recipe()
    recipe.type = "Q4_0"
    recipe.modelName = model
    recipe.hasProvenance = false
    _ = try Converter(
      checkpoint: checkpoint.path, output: path, recipe: recipe, memoryLimit: testMemoryLimit
    ).run()
    return try GGUFFile(path)
  }
  #expect(archives[0].tensors.map(\.name) == archives[1].tensors.map(\.name))
  #expect(archives[0].metadata["llama.block_count"] == archives[1].metadata["llama.block_count"])
}

private struct Damage: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var says: [String]
  var changes: [String: JSONValue] = [:]
  var edit: @Sendable (inout [RandomCheckpoint.Tensor]) -> Void = { _ in }
}

private let damages = [
  Damage(
    testDescription: "a layer for text is listed",
    says: ["layers.2.self_attn", "cross_attention_layers"],
    changes: ["cross_attention_layers": list([1, 2, 3])]),
  Damage(
    testDescription: "a layer for pictures is not listed",
    says: ["layers.3.cross_attn", "cross_attention_layers"],
    changes: ["cross_attention_layers": list([1])]),
  Damage(
    testDescription: "a layer below the first", says: ["cross_attention_layers"],
    changes: ["cross_attention_layers": list([-1, 1, 3])]),
  Damage(
    testDescription: "a layer twice", says: ["cross_attention_layers"],
    changes: ["cross_attention_layers": list([1, 1, 3])]),
  Damage(
    testDescription: "nothing but pictures", says: ["cross_attention_layers"],
    changes: ["cross_attention_layers": list([0, 1, 2, 3, 4])]),
  Damage(
    testDescription: "a missing matrix has its own number",
    says: ["missing", "language_model.model.layers.4.mlp.up_proj.weight"]
  ) { $0.removeAll { $0.name.contains("layers.4.mlp.up_proj") } },
  Damage(
    testDescription: "another number of rows", says: ["embed_tokens", "[2050, 64]", "[2048, 64]"]
  ) { tensors in
    for index in tensors.indices where tensors[index].name.contains("embed_tokens") {
      tensors[index].shape[0] = 2050
      tensors[index].bytes.removeLast(6 * 128)
    }
  },
  Damage(
    testDescription: "an unknown tensor of a layer for pictures", says: ["layers.1.cross_attn.x"]
  ) {
    $0.append(.init(name: "language_model.model.layers.1.cross_attn.x", shape: [1], bytes: [0, 0]))
  },
]

@Test(arguments: damages) private func refusesDamagedPictureLayers(_ damage: Damage) throws {
  let checkpoint = try RandomCheckpoint(model, changes: damage.changes, edit: damage.edit)
  let folder = TemporaryFolder()
  let result = Command.ingot("convert", checkpoint.path, "-o", folder.file("out.gguf"))
  expectRefusal(
    result, status: 65, says: damage.says, leaving: folder.list(), damage.testDescription)
}
