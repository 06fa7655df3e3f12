import ByteIO
import Ingot
import Quantizers
import ReferenceModel
import StrictJSON
import TestSupport
import Threads

/// Logits that the framework of the checkpoints computed.
struct ExpectedLogits {
  var tokens: [Int32]
  /// Positions that the logits belong to, the last ones.
  var positions: Range<Int>
  /// `[positions.count, vocabulary]`.
  var logits: [Float]

  /// Reads `NAME.json` (tokens, origin) and `NAME.f32`.
  init(_ name: String) throws {
    let document = try JSONValue(
      parsing: Fixtures.bytes(name + ".json"), file: Fixtures.path(name + ".json"))
    tokens = (document["tokens"]?.array ?? []).compactMap { $0.int.map { Int32($0) } }
    let bounds = document["positions"]?.array?.compactMap(\.int) ?? [0, tokens.count]
    positions = bounds[0]..<bounds[1]
    logits = try Fixtures.floats(name + ".f32")
    precondition(!positions.isEmpty && logits.count % positions.count == 0)
  }

  /// Largest difference of a model's logits over the root mean square of these.
  func difference(_ model: ReferenceModel) throws -> Double {
    let vocabulary = model.dimensions.vocabularySize
    let found = try model.logits(tokens)
    return relativeMaximum(
      Array(found[positions.lowerBound * vocabulary..<positions.upperBound * vocabulary]), logits)
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

extension ForwardPass {
  /// A pass with a scratch of its own.
  convenience init(
    _ model: ReferenceModel, tokenCount: Int, contextLength: Int, threadCount: Int = 2,
    cancellation: CancellationFlag = CancellationFlag()
  ) throws {
    self.init(
      model,
      scratch: ForwardScratch(
        [model], tokenCount: tokenCount, contextLength: contextLength, threadCount: threadCount),
      kernels: try KernelTable(forced: nil), cancellation: cancellation)
  }

  func runAllLayers() throws {
    for layer in 0..<model.dimensions.layerCount { try runLayer(layer) }
  }

  /// All logits at the positions of `beginOutput`.
  func allLogits(positionCount: Int) throws -> [Float] {
    let vocabulary = model.dimensions.vocabularySize
    var result = [Float](repeating: .nan, count: positionCount * vocabulary)
    try result.withUnsafeMutableBufferPointer { buffer in
      guard let start = buffer.baseAddress else { return }
      try logits(ofVocabulary: 0..<vocabulary, worker: 0, into: start)
    }
    return result
  }
}

/// A checkpoint of one of the models in Fixtures/golden/forward, with a tokenizer, to spoil.
final class TinyCheckpoint {
  let folder = TemporaryFolder()
  var path: String { folder.path }

  init(_ name: String) throws {
    for file in ["config.json", "model.safetensors"] {
      folder.write(file, try Fixtures.bytes("golden/forward/\(name)/\(file)"))
    }
    folder.write("tokenizer.json", try Fixtures.bytes("golden/forward/tokenizer.json"))
  }

  /// Replaces the first occurrence of a text, which has to be there; a header stays consistent.
  func edit(_ file: String, _ old: String, _ new: String) throws {
    var bytes = try PositionalFile.readAll(folder.file(file), limit: 1 << 20)
    let wanted = Array(old.utf8)
    guard
      let place = bytes.indices.first(where: {
        bytes[$0...].starts(with: wanted)
      })
    else { preconditionFailure("\(old) is not in \(file)") }
    bytes.replaceSubrange(place..<place + wanted.count, with: Array(new.utf8))
    if file.hasSuffix(".safetensors") {
      let count = Self.headerByteCount(bytes) + new.utf8.count - wanted.count
      for byte in 0..<8 { bytes[byte] = UInt8(truncatingIfNeeded: count >> (8 * byte)) }
    }
    folder.write(file, bytes)
  }

  /// Overwrites the first F32 weight of a tensor.
  func set(_ tensor: String, to value: Float) throws {
    var bytes = try PositionalFile.readAll(folder.file("model.safetensors"), limit: 1 << 20)
    let headerEnd = 8 + Self.headerByteCount(bytes)
    let header = try JSONValue(parsing: Array(bytes[8..<headerEnd]), file: "header")
    guard let entry = header[tensor], entry["dtype"]?.string == "F32",
      let offset = entry["data_offsets"]?.array?[0].int
    else { preconditionFailure("no F32 tensor \(tensor)") }
    for byte in 0..<4 {
      bytes[headerEnd + offset + byte] = UInt8(truncatingIfNeeded: value.bitPattern >> (8 * byte))
    }
    folder.write("model.safetensors", bytes)
  }

  private static func headerByteCount(_ bytes: [UInt8]) -> Int {
    bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
  }

  func open() throws -> ReferenceModel { try ReferenceModel(checkpoint: path) }
}

/// An archive that the converter made of a checkpoint, removed with this.
final class ConvertedModel {
  private let folder = TemporaryFolder()
  var path: String { folder.file("model.gguf") }

  init(_ checkpoint: String, type: String = "F32", allowsNonstock: Bool = false) throws {
    var recipe = Recipe()
    recipe.type = type
    recipe.allowsNonstock = allowsNonstock
    _ = try Converter(
      checkpoint: checkpoint, output: path, recipe: recipe, memoryLimit: testMemoryLimit
    ).run()
  }

  func open() throws -> ReferenceModel { try ReferenceModel(archive: path) }
}
