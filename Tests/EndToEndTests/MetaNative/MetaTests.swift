import GGUF
import Ingot
import StrictJSON
import TestSupport
import Testing

/// Names, shapes, types and data of an archive's tensors, in their order.
private func tensors(_ path: String, leavingOut name: String = "") throws -> [String] {
  let archive = try GGUFFile(path)
  return try archive.tensors.filter { $0.name.string != name }.map { tensor in
    var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
    try bytes.withUnsafeMutableBytes { try archive.read(tensor, at: 0, into: $0) }
    return "\(tensor.name) \(tensor.shape) \(tensor.type) \(bytes.withUnsafeBytes { crc32($0) })"
  }
}

private func convert(_ model: String, to path: String, type: String) throws {
  var recipe = Recipe()
  recipe.type = type
  let converter = try Converter(
    checkpoint: model, output: path, recipe: recipe, memoryLimit: testMemoryLimit)
  _ = try converter.run()
}

/// One after the other: each holds a model in memory while it writes it.
@Suite(.serialized) struct MetaTests {
  @Test(arguments: ["F32", "Q4_K_M"], [1, 2, 4])
  func llama2IsTheSameBehindBothDoors(_ type: String, _ shardCount: Int) throws {
    let meta = try MetaCheckpoint.llama2(shardCount: shardCount)
    let folder = TemporaryFolder()
    try convert(meta.path, to: folder.file("meta.gguf"), type: type)
    try convert(Fixtures.path("models/llama2"), to: folder.file("hf.gguf"), type: type)
    let expected = try tensors(folder.file("hf.gguf"))
    #expect(expected.count == 39)
    #expect(try tensors(folder.file("meta.gguf")) == expected)
    // Metadata too, but for what Meta's files do not state.
    let left = ["llama.context_length"]
    let (a, b) = (try GGUFFile(folder.file("meta.gguf")), try GGUFFile(folder.file("hf.gguf")))
    // The folder's name gives the general keys.
    func keys(_ archive: GGUFFile) -> [ExactString] {
      archive.metadata.keys.filter { !$0.string.hasPrefix("general.") }
    }
    #expect(keys(a) == keys(b))
    for key in keys(b) where !left.contains(key.string) && !key.string.hasPrefix("ingot.source") {
      #expect(a.metadata[key] == b.metadata[key], "\(key)")
    }
    #expect(a.metadata["llama.context_length"] == .uint32(4096))
  }

  @Test(arguments: ["F32", "Q4_K_M"], [1, 2])
  func llama3IsTheSameBehindBothDoors(_ type: String, _ shardCount: Int) throws {
    let meta = try MetaCheckpoint.llama3(shardCount: shardCount)
    let besides = try MetaCheckpoint.llama3(shardCount: shardCount, copying: ["config.json"])
    let folder = TemporaryFolder()
    try convert(meta.path, to: folder.file("meta.gguf"), type: type)
    try convert(besides.path, to: folder.file("besides.gguf"), type: type)
    try convert(Fixtures.path("models/llama3"), to: folder.file("hf.gguf"), type: type)
    let expected = try tensors(folder.file("hf.gguf"))
    #expect(expected.count == 58)
    #expect(try tensors(folder.file("besides.gguf")) == expected)
    let factors = "rope_freqs.weight"
    #expect(
      try tensors(folder.file("meta.gguf"), leavingOut: factors)
        == tensors(folder.file("hf.gguf"), leavingOut: factors))
  }

  @Test func inspectsAndTokenizesMetasDirectory() throws {
    let folder = try MetaCheckpoint.llama2(shardCount: 2)
    let inspected = Command.ingot("inspect", folder.path, "--json", "--tensors")
    #expect(inspected.status == 0, "\(inspected.error)")
    let document = try JSONValue(parsing: Array(inspected.output.utf8), file: "stdout")
    #expect(document["format"]?.string == "Meta directory")
    #expect(document["tensorCount"]?.int == 40)
    #expect(document["files"]?.array?.count == 2)
    let other = try MetaCheckpoint.llama3(shardCount: 1)
    for (model, expected) in [(folder, "models/llama2"), (other, "models/llama3")] {
      let results = [model.path, Fixtures.path(expected)].map {
        Command.ingot("tokenize", $0, "--text", "def café(x): return 1234 <s>")
      }
      #expect(results[0].status == 0, "\(results[0].error)")
      #expect(results[0].output == results[1].output)
    }
  }

  /// Meta's files as reference of an archive made from the Hugging Face files, and the reverse.
  @Test(arguments: ["llama2", "llama3"])
  func verifiesAcrossDoors(_ model: String) throws {
    let hub = Fixtures.path("models/\(model)")
    // The names of special tokens differ between the two files of this Llama 3's tokenizer.
    let meta =
      model == "llama2"
      ? try MetaCheckpoint.llama2(shardCount: 2)
      : try MetaCheckpoint.llama3(
        shardCount: 2, copying: ["config.json", "tokenizer.json", "tokenizer_config.json"])
    let folder = TemporaryFolder()
    for (reference, source) in [(meta.path, hub), (hub, meta.path)] {
      let archive = folder.file("out.gguf")
      try convert(source, to: archive, type: "Q8_0")
      let result = Command.ingot(
        "verify", reference, archive, "--text", Fixtures.path("text/eval.txt"), "--context", "128",
        "--chunks", "40", "--policy", "auto")
      #expect(result.status == 0, "\(result.output.prefix(2000))\(result.error)")
    }
  }

  /// Meta's tokenizer and rotation, without any file of the other door.
  @Test func verifiesAnArchiveOfMetasOwnFiles() throws {
    let meta = try MetaCheckpoint.llama3(shardCount: 1)
    let folder = TemporaryFolder()
    let archive = folder.file("out.gguf")
    try convert(meta.path, to: archive, type: "Q8_0")
    #expect(Command.ingot("check", archive).status == 0)
    let result = Command.ingot(
      "verify", meta.path, archive, "--text", Fixtures.path("text/eval.txt"), "--context", "128",
      "--chunks", "40", "--policy", "auto")
    #expect(result.status == 0, "\(result.output.prefix(2000))\(result.error)")
  }

  @Test func refusesMetaDirectoriesThatContradictThemselves() throws {
    func message(_ change: (TemporaryFolder) throws -> Void) throws -> String {
      let folder = try MetaCheckpoint.llama2(shardCount: 2)
      try change(folder)
      let output = TemporaryFolder()
      let result = Command.ingot("convert", folder.path, "-o", output.file("out.gguf"))
      #expect(result.status == 65 || result.status == 66, "\(result.status) \(result.error)")
      #expect(result.error.split(separator: "\n").count { $0.hasPrefix("error") } == 1)
      #expect(output.list().isEmpty)
      return result.error
    }
    let parameters = #"{"dim":256,"multiple_of":256,"n_heads":8,"norm_eps":1e-05,"vocab_size":-1"#
    #expect(
      try message { $0.write("params.json", parameters + #","n_layers":3}"#) }
        .contains("n_layers is 3"))
    #expect(
      try message { $0.write("params.json", parameters + #","n_layers":5}"#) }
        .contains("missing tensor layers.4."))
    #expect(
      try message { $0.write("params.json", parameters + #","n_layers":4,"n_kv_heads":4}"#) }
        .contains("the configuration needs [128, 256]"))
    #expect(
      try message { $0.write("tokenizer.model", "not base64\n") }.contains("tokenizer.model"))
    #expect(
      try message { $0.write("consolidated.03.pth", [UInt8]()) }.contains("missing shard 2"))
  }
}

/// `inspect` of a folder whose output and embedding are endless: answered from headers, at once.
@Test func inspectsEndlessTensorsAtOnce() throws {
  let folder = TemporaryFolder()
  folder.write("params.json", try Fixtures.bytes("models/llama2-meta/params.json"))
  let tensors = ["norm.weight", "output.weight", "tok_embeddings.weight"].map { name in
    var tensor = TorchArchive.Tensor(
      name: name, storage: "FloatStorage",
      shape: name == "norm.weight" ? [256] : [1 << 29, 1 << 30],
      bytes: [0, 0, 0, 0])
    tensor.isExpanded = true
    return tensor
  }
  folder.write("consolidated.00.pth", TorchArchive.bytes(tensors))
  let inspected = Command.ingot("inspect", folder.path)
  #expect(inspected.status == 0, "\(inspected.error)")
  let output = TemporaryFolder()
  let converted = Command.ingot("convert", folder.path, "-o", output.file("out.gguf"))
  #expect(converted.status == 65 && output.list().isEmpty)
  #expect(converted.error.contains("tok_embeddings.weight"), "\(converted.error)")
  #expect(isOfOrder(inspected.processorSeconds + converted.processorSeconds, of: 2))
}
