import ByteIO
import ReferenceModel
import TestSupport
import Testing

/// Both roads against the framework of the checkpoints, over the first 96 tokens of a held-out text.
///
/// Origin: Fixtures/models/README.md; each `.json` names the library's version.
@Suite struct LogitsTests {
  /// Largest difference over the logits' root mean square; measured at most 2e-6 and 4e-6.
  static let limit = 1e-5

  @Test(arguments: ["llama2", "llama3"])
  func checkpointEqualsTransformers(_ name: String) throws {
    let expected = try ExpectedLogits("models/expected/logits/\(name)")
    let model = try ReferenceModel(checkpoint: Fixtures.path("models/\(name)"))
    let logits = try model.logits(expected.tokens)
    let difference = relativeMaximum(logits, expected.logits)
    print("MEASURED", name, difference)
    #expect(difference <= Self.limit)
  }

  @Test(arguments: ["llama2", "llama3"])
  func archiveEqualsTransformers(_ name: String) throws {
    let expected = try ExpectedLogits("models/expected/logits/\(name)")
    let archive = try ConvertedModel(Fixtures.path("models/\(name)"))
    let logits = try ReferenceModel(archive: archive.path).logits(expected.tokens)
    print("MEASURED-archive", name, relativeMaximum(logits, expected.logits))
    #expect(relativeMaximum(logits, expected.logits) <= Self.limit)
    let checkpoint = try ReferenceModel(checkpoint: Fixtures.path("models/\(name)"))
    print("MEASURED-roads", name, relativeMaximum(logits, try checkpoint.logits(expected.tokens)))
    #expect(relativeMaximum(logits, try checkpoint.logits(expected.tokens)) <= Self.limit)
  }
}
