import ByteIO
import ReferenceModel
import TestSupport
import Testing

/// Both roads against the framework of the checkpoints, in float32.
///
/// The bundled models over the first 96 tokens of a held-out text, and random ones that
/// Fixtures/golden/forward/make_forward.py makes; each `.json` names the library's version.
@Suite struct LogitsTests {
  /// Largest difference over the logits' root mean square.
  ///
  /// Measured: at most 3.1e-6 on the bundled models, 7.0e-6 on the random ones.
  static let limit = 1e-5

  static let random = ["tied-linear", "biased-wide-heads", "mistral-llama3"]

  @Test(arguments: ["llama2", "llama3"])
  func bundledModelEqualsTransformers(_ name: String) throws {
    let expected = try ExpectedLogits("models/expected/logits/\(name)")
    let checkpoint = Fixtures.path("models/\(name)")
    let roads = [
      try ReferenceModel(checkpoint: checkpoint), try ConvertedModel(checkpoint).open(),
    ]
    for model in roads {
      let difference = try expected.difference(model)
      #expect(difference <= Self.limit)
    }
    let difference = relativeMaximum(
      try roads[0].logits(expected.tokens), try roads[1].logits(expected.tokens))
    #expect(difference <= Self.limit)
  }

  @Test(arguments: random)
  func randomModelEqualsTransformers(_ name: String) throws {
    let expected = try ExpectedLogits("golden/forward/\(name)/logits")
    let checkpoint = try TinyCheckpoint(name)
    for model in [try checkpoint.open(), try ConvertedModel(checkpoint.path).open()] {
      let difference = try expected.difference(model)
      #expect(difference <= Self.limit)
    }
  }

  /// Late positions turn far: frequencies that differ in the last place would show.
  @Test(arguments: ["llama2", "llama3"]) func roadsAgreeInALongContext(_ name: String) throws {
    let checkpoint = Fixtures.path("models/\(name)")
    let tokens = (0..<700).map { Int32($0 * 7919 % 2000) }
    let expected = try ReferenceModel(checkpoint: checkpoint).logits(tokens)
    let found = try ConvertedModel(checkpoint).open().logits(tokens)
    // Measured: at most 8.4e-6.
    #expect(relativeMaximum(found, expected) <= 2 * Self.limit)
  }

  @Test func newerSpellingOfTheConfigurationSaysTheSame() throws {
    let folder = TemporaryFolder()
    for name in [
      "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
      "model.safetensors.index.json",
    ] {
      folder.link(name, to: Fixtures.path("models/llama3/\(name)"))
    }
    folder.link("config.json", to: Fixtures.path("models/llama3/config.rope_parameters.json"))
    let newer = try ReferenceModel(checkpoint: folder.path)
    let older = try ReferenceModel(checkpoint: Fixtures.path("models/llama3"))
    #expect(newer.dimensions == older.dimensions)
    #expect(newer.rotary == older.rotary)
  }

  @Test func tiedModelsHaveNoOutputOfTheirOwn() throws {
    let checkpoint = try TinyCheckpoint("tied-linear")
    for model in [try checkpoint.open(), try ConvertedModel(checkpoint.path).open()] {
      #expect(model.weights[.output] == nil)
      #expect(model.outputWeight == model.weights[.tokenEmbedding])
    }
  }

  /// Each is a mistake that the two roads have to show: neither takes the other's place.
  @Test func layoutAndScalingMatter() throws {
    let expected = try ExpectedLogits("golden/forward/mistral-llama3/logits")
    for (old, new) in [
      ("\"rope_theta\": 1000.0", "\"rope_theta\": 1001.0"),
      ("\"factor\": 8.0", "\"factor\": 7.9"),
      ("\"high_freq_factor\": 4.0", "\"high_freq_factor\": 5"), ("1e-05", "2e-05"),
    ] {
      let checkpoint = try TinyCheckpoint("mistral-llama3")
      try checkpoint.edit("config.json", old, new)
      #expect(try expected.difference(checkpoint.open()) > 2 * Self.limit, "\(new)")
      let archive = try ConvertedModel(checkpoint.path)
      #expect(try expected.difference(archive.open()) > 2 * Self.limit, "\(new)")
    }
  }
}
