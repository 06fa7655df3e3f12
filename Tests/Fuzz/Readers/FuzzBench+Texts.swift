import Architectures
import ByteIO
import Checkpoints
import Tensors
import TestSupport
import Tokenizers

extension FuzzBench {
  func readConfiguration(_ bytes: [UInt8]) throws(FormatError) {
    let file = folder.write("configuration/config.json", bytes)
    folder.write("configuration/generation_config.json", bytes)
    // The one's refusal does not keep the others from being read.
    _ = try? QuantizationConfiguration.read(folder: folder.file("configuration"))
    _ = try? generalMetadata(
      directory: folder.file("configuration"), architecture: "llama",
      parameterCounts: ParameterCounts(dense: 1_000_000))
    _ = try? VisionConfiguration(file: file, preprocessors: [file])
    _ = try ModelConfiguration(file: file)
  }

  func readParameters(_ bytes: [UInt8]) throws(FormatError) {
    let shapes: [(ExactString, [Int])] = [
      ("tok_embeddings.weight", [2048, 256]), ("norm.weight", [256]),
      ("layers.0.feed_forward.w1.weight", [768, 256]),
    ]
    let tensors = shapes.map { name, shape in
      TensorDescriptor(name: name, shape: Shape(shape), type: .bf16, regions: [])
    }
    _ = try ModelConfiguration(
      metaParameters: folder.write("params.json", bytes), companion: folder.file("none.json"),
      tensors: tensors)
  }

  func readTokenizerFile(_ bytes: [UInt8]) throws(FormatError) {
    folder.write("tokenizer/tokenizer.json", bytes)
    try readTokenizerFolder("tokenizer")
  }

  func readTokenizerSettings(_ bytes: [UInt8]) throws(FormatError) {
    let name = "settings/tokenizer.json"
    if !DirectoryListing.exists(folder.file(name)) {
      let sound = PositionalFile.self
      folder.write(
        name, try sound.readAll(Fixtures.path("golden/forward/tokenizer.json"), limit: 1 << 20))
    }
    folder.write("settings/tokenizer_config.json", bytes)
    folder.write("settings/special_tokens_map.json", bytes)
    folder.write("settings/chat_template.jinja", bytes)
    try readTokenizerFolder("settings")
  }

  func readVocabulary(_ bytes: [UInt8]) throws(FormatError) {
    folder.write("vocabulary/tokenizer.model", bytes)
    try readTokenizerFolder("vocabulary")
  }

  func readCard(_ bytes: [UInt8]) throws(FormatError) {
    folder.write("card/README.md", bytes)
    _ = try generalMetadata(
      directory: folder.file("card"), architecture: "llama",
      parameterCounts: ParameterCounts(dense: 8_030_261_248))
  }

  private func readTokenizerFolder(_ name: String) throws(FormatError) {
    let path = folder.file(name)
    if let encoder = try? TokenEncoder(checkpoint: path, vocabularySize: nil) {
      encodeSample(encoder)
    }
    let options = TokenizerOptions(architecture: "llama")
    _ = try? readTokenizer(directory: path, options: TokenizerOptions(architecture: "llama4"))
    _ = try readTokenizer(directory: path, options: options)
  }

  /// Text of many kinds, and what is no text.
  func encodeSample(_ encoder: TokenEncoder) {
    let text =
      "Hello,  world's 12345 tests!\r\n\tdéjà e\u{301} 漢字 \u{1F642}\u{200D} <|begin_of_text|><s></s>"
    let samples: [[UInt8]] = [Array(text.utf8), [0xFF, 0x20, 0xC3, 0x28, 0xE2, 0x82], []]
    for sample in samples {
      for parsesSpecial in [false, true] {
        let tokens = encoder.encode(sample, addsSpecial: true, parsesSpecial: parsesSpecial)
        precondition(tokens.allSatisfy { $0 >= 0 && $0 < encoder.tokenCount })
        _ = encoder.text(of: tokens)
      }
    }
  }
}
