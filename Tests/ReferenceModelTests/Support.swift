import Ingot
import Quantizers
import ReferenceModel
import StrictJSON
import TestSupport

/// Logits that the framework of the checkpoints computed.
struct ExpectedLogits {
  var tokens: [Int32]
  /// `[tokens.count, vocabulary]`.
  var logits: [Float]

  /// Reads `NAME.json` (tokens, origin) and `NAME.f32`.
  init(_ name: String) throws {
    let document = try JSONValue(
      parsing: Fixtures.bytes(name + ".json"), file: Fixtures.path(name + ".json"))
    tokens = (document["tokens"]?.array ?? []).compactMap { $0.int.map { Int32($0) } }
    logits = try Fixtures.floats(name + ".f32")
    precondition(!tokens.isEmpty && logits.count % tokens.count == 0)
  }
}

/// Largest difference over the root mean square of `expected`.
func relativeMaximum(_ found: [Float], _ expected: [Float]) -> Double {
  precondition(found.count == expected.count && !found.isEmpty)
  var largest = 0.0
  var square = 0.0
  for (a, b) in zip(found, expected) {
    let difference = abs(Double(a) - Double(b))
    // Written so that NaN counts as infinitely far.
    if !(difference <= largest) { largest = difference.isNaN ? .infinity : difference }
    square += Double(b) * Double(b)
  }
  return largest / (square / Double(expected.count)).squareRoot()
}

extension ReferenceModel {
  func logits(
    _ tokens: [Int32], threadCount: Int = 2, tiling: ForwardTiling = .standard
  ) throws -> [Float] {
    try logits(
      of: tokens, kernels: KernelTable(forced: nil), threadCount: threadCount, tiling: tiling)
  }
}

/// An archive that the converter made of a checkpoint, removed with this.
final class ConvertedModel {
  private let folder = TemporaryFolder()
  var path: String { folder.file("model.gguf") }

  init(_ checkpoint: String, type: String = "F32") throws {
    var recipe = Recipe()
    recipe.type = type
    _ = try Converter(checkpoint: checkpoint, output: path, recipe: recipe).run()
  }
}
