import ReferenceModel
import StrictJSON
import TestSupport
import Testing

/// Logits of every eighth position of a random model with experts, by the framework.
private struct ExpectedExpertLogits {
  var changes: [String: JSONValue] = [:]
  var tokens: [Int32]
  var logits: [Float]

  /// Reads the fixture; the variant is `stock`, or `nonstock` where llama.cpp would compute
  /// something else.
  init(_ model: String, _ variant: String = "stock") throws {
    let file = Fixtures.path("models/random/\(model).json")
    let document = try JSONValue(file: file, limit: 1 << 20)
    let entry = try #require(document["logits"]?[variant])
    for member in entry["changes"]?.object?.members ?? [] { changes[member.key] = member.value }
    tokens = document["tokens"]?.array?.compactMap { $0.int.map(Int32.init) } ?? []
    logits = try Fixtures.floats("models/random/\(try #require(entry["file"]?.string))")
  }

  func difference(_ model: ReferenceModel) throws -> Double {
    relativeMaximum(Self.everyEighth(try model.logits(tokens), model), logits)
  }

  static func everyEighth(_ logits: [Float], _ model: ReferenceModel) -> [Float] {
    let width = model.dimensions.vocabularySize
    return stride(from: 0, to: logits.count / width, by: 8).flatMap {
      logits[$0 * width..<($0 + 1) * width]
    }
  }
}

/// Layers with experts on both roads against the framework of the checkpoints, in float32.
///
/// Origin: Tests/Interop/make_expert_models.py.
@Suite struct ExpertLogitsTests {
  /// Largest difference over the logits' root mean square.
  ///
  /// Single precision itself is up to 7.4e-5 away from double precision here, by the framework's own
  /// figures: random experts amplify. Measured: at most 8.1e-6, and 3.4e-5 in small tiles.
  static let limit = 1e-4
  static let llama4 = ["llama4-16-experts", "llama4-every-second"]

  @Test(arguments: RandomCheckpoint.all) func equalsTransformers(_ name: String) throws {
    let expected = try ExpectedExpertLogits(name)
    let checkpoint = try RandomCheckpoint(name)
    let roads = [
      try ReferenceModel(checkpoint: checkpoint.path), try ConvertedModel(checkpoint.path).open(),
    ]
    for model in roads {
      let difference = try expected.difference(model)
      #expect(difference <= Self.limit)
    }
  }

  /// Chunks of attention and temperatures that make a difference in a short text.
  @Test(arguments: llama4) func nonstockAttentionEqualsTransformers(_ name: String) throws {
    let expected = try ExpectedExpertLogits(name, "nonstock")
    let checkpoint = try RandomCheckpoint(name, changes: expected.changes)
    let roads = [
      try ReferenceModel(checkpoint: checkpoint.path),
      try ConvertedModel(checkpoint.path, allowsNonstock: true).open(),
    ]
    for model in roads {
      let difference = try expected.difference(model)
      #expect(difference <= Self.limit)
      #expect(model.attention?.chunkLength == 24)
    }
    let stock = try RandomCheckpoint(name)
    #expect(try expected.difference(ReferenceModel(checkpoint: stock.path)) > 0.01)
  }

  /// An archive keeps what its model computes when it is converted again.
  @Test func nonstockKeysSurviveRequantizing() throws {
    let expected = try ExpectedExpertLogits("llama4-16-experts", "nonstock")
    let checkpoint = try RandomCheckpoint("llama4-16-experts", changes: expected.changes)
    let first = try ConvertedModel(checkpoint.path, allowsNonstock: true)
    let second = try ConvertedModel(first.path, type: "copy").open()
    #expect(try expected.difference(second) <= Self.limit)
  }

  /// Releases in 8 bits hold each expert by itself, rows first.
  @Test func separateExpertsEqualFusedOnes() throws {
    let expected = try ExpectedExpertLogits("llama4-16-experts")
    let checkpoint = try RandomCheckpoint("llama4-16-experts") { tensors in
      tensors = tensors.flatMap(\.separateExperts)
    }
    let model = try ReferenceModel(checkpoint: checkpoint.path)
    #expect(try expected.difference(model) <= Self.limit)
  }

  /// Text models come with the prefix and without.
  @Test func prefixMayBeAbsent() throws {
    let expected = try ExpectedExpertLogits("llama4-16-experts")
    let checkpoint = try RandomCheckpoint("llama4-16-experts") { tensors in
      for index in tensors.indices where tensors[index].name.hasPrefix("language_model.") {
        tensors[index].name.removeFirst("language_model.".count)
      }
    }
    let model = try ReferenceModel(checkpoint: checkpoint.path)
    #expect(try expected.difference(model) <= Self.limit)
  }

  @Test(arguments: RandomCheckpoint.models) func doesNotDependOnTilesOrThreads(_ name: String)
    throws
  {
    let expected = try ExpectedExpertLogits(name)
    let checkpoint = try RandomCheckpoint(name)
    let model = try ReferenceModel(checkpoint: checkpoint.path)
    let logits = try model.logits(expected.tokens)
    #expect(try model.logits(expected.tokens, threadCount: 1) == logits)
    #expect(try model.logits(expected.tokens, threadCount: 5) == logits)
    var tiling = ForwardTiling()
    tiling.rowCount = 5
    tiling.columnCount = 36
    tiling.tokenCount = 3
    tiling.queryCount = 20
    let found = try model.logits(expected.tokens, tiling: tiling)
    #expect(relativeMaximum(found, logits) <= Self.limit)
    // With one token, activations hardly hold the input of one expert.
    let first = try model.logits(Array(expected.tokens[..<1]))
    #expect(relativeMaximum(first, Array(logits[..<first.count])) <= Self.limit)
  }

  /// Of equal scores the lowest counts, and what no token reaches takes no part.
  @Test func unreachedExpertsTakeNoPart() throws {
    let checkpoint = try RandomCheckpoint("llama4-16-experts") { tensors in
      for index in tensors.indices {
        let (name, count) = (tensors[index].name, tensors[index].bytes.count)
        if name.hasSuffix("router.weight") {
          tensors[index].bytes = [UInt8](repeating: 0, count: count)
        } else if name.contains("experts.") {
          tensors[index].bytes.replaceSubrange(
            (count / 16)..., with: [UInt8](repeating: 0xFF, count: count - count / 16))
        }
      }
    }
    let model = try ReferenceModel(checkpoint: checkpoint.path)
    #expect(try model.logits([1, 2, 3, 4]).allSatisfy(\.isFinite))
  }

  /// What a group can reach at most is what a run is said to read.
  @Test func readsNoMoreThanReachable() throws {
    let checkpoint = try RandomCheckpoint("llama4-16-experts")
    let model = try ReferenceModel(checkpoint: checkpoint.path)
    let expert = UInt64(3 * 64 * 32 * 2 * 4)
    let one = model.byteCountRead(tokenCount: 1)
    #expect(model.byteCountRead(tokenCount: 3) == one + 2 * expert)
    #expect(model.byteCountRead(tokenCount: 1000) == one + 15 * expert)
    #expect(one < model.source.fileByteCounts[0])
  }
}

extension RandomCheckpoint.Tensor {
  /// Fused experts as a tensor `[rows, columns]` for each expert and matrix; all others as they are.
  fileprivate var separateExperts: [Self] {
    guard let place = name.ranges(of: ".experts.").first, shape.count == 3 else { return [self] }
    let prefix = name[..<place.upperBound]
    let names = name.hasSuffix("gate_up_proj") ? ["gate_proj", "up_proj"] : ["down_proj"]
    let (columns, width) = (shape[1], shape[2])
    let rows = width / names.count
    return (0..<shape[0]).flatMap { expert in
      names.enumerated().map { half, matrix in
        var turned: [UInt8] = []
        for row in 0..<rows {
          for column in 0..<columns {
            let element = (expert * columns + column) * width + half * rows + row
            turned += bytes[2 * element..<2 * element + 2]
          }
        }
        return Self(
          name: "\(prefix)\(expert).\(matrix).weight", shape: [rows, columns], bytes: turned)
      }
    }
  }
}
