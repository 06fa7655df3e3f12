import ByteIO
import Quantizers
import ReferenceModel
import Tensors
import TestSupport
import Testing
import Threads

/// What a forward pass may not depend on.
@Suite struct InvarianceTests {
  /// Largest difference over the root mean square.
  ///
  /// Some kernels of the library round differently where a matrix ends elsewhere: measured 2.8e-6.
  static let limit = 6e-6
  let model: ReferenceModel
  let tokens: [Int32]

  init() throws {
    model = try ReferenceModel(checkpoint: Fixtures.path("models/llama3"))
    tokens = try ExpectedLogits("models/expected/logits/llama3").tokens
  }

  @Test func threadCount() throws {
    let single = try model.logits(tokens, threadCount: 1)
    for count in [2, 3, 7] {
      let several = try model.logits(tokens, threadCount: count)
      #expect(several == single, "\(count) threads")
    }
  }

  /// Tiles that end inside heads, several parts of a row, several blocks of tokens and queries.
  @Test func tiling() throws {
    var tiling = ForwardTiling()
    tiling.rowCount = 80
    tiling.columnCount = 256
    tiling.tokenCount = 40
    tiling.queryCount = 20
    let expected = try model.logits(tokens)
    let found = try model.logits(tokens, threadCount: 2, tiling: tiling)
    #expect(relativeMaximum(found, expected) <= Self.limit)
    tiling.scoreLimit = 1
    let smaller = try model.logits(tokens, threadCount: 1, tiling: tiling)
    #expect(relativeMaximum(smaller, expected) <= Self.limit)
  }

  @Test func tilingOfBlockTypes() throws {
    var tiling = ForwardTiling()
    tiling.rowCount = 80
    tiling.columnCount = 256
    let archive = try ConvertedModel(Fixtures.path("models/llama3"), type: "Q4_K_M")
    let quantized = try archive.open()
    let expected = try quantized.logits(tokens)
    let found = try quantized.logits(tokens, tiling: tiling)
    #expect(relativeMaximum(found, expected) <= Self.limit)
    let drift = relativeMaximum(expected, try model.logits(tokens))
    #expect(drift > 0.01 && drift < 1)
  }

  /// Types that weigh by a whole row are put in its place whole, though tiles are narrower.
  @Test(arguments: [TensorType.q4_1, .q5_0, .q4_K])
  func tilingOfSubstitutions(_ type: TensorType) throws {
    var random = SplitMix64(seed: 3)
    let choices = [WeightRole.layer(0, .query), .layer(1, .gate), .layer(3, .down), .output].map {
      role in
      WeightSubstitution.Choice(
        role: role, types: [type],
        importance: (0..<(model.inputLengths[role] ?? 0)).map { _ in
          Float.random(in: 0.01...4, using: &random)
        })
    }
    let substitution = WeightSubstitution(choices, of: model)
    func logits(_ tiling: ForwardTiling) throws -> [Float] {
      let scratch = ForwardScratch(
        [model], tokenCount: tokens.count, contextLength: tokens.count, threadCount: 2,
        tiling: tiling)
      let pass = ForwardPass(
        model, scratch: scratch, kernels: try KernelTable(forced: nil),
        cancellation: CancellationFlag(), substitution: substitution)
      try pass.embed(tokens)
      try pass.runAllLayers()
      try pass.beginOutput(positions: Array(tokens.indices))
      return try pass.allLogits(positionCount: tokens.count)
    }
    let whole = try logits(.standard)
    var tiling = ForwardTiling()
    tiling.rowCount = 48
    // Rows have 256 and 768 weights.
    tiling.columnCount = 256
    #expect(relativeMaximum(try logits(tiling), whole) <= Self.limit)
    let drift = relativeMaximum(whole, try model.logits(tokens))
    #expect(drift > 0.01 && drift < 2, "\(drift)")
  }

  /// Chunks of a group neither see each other nor each other's positions.
  @Test func groups() throws {
    let contextLength = 24
    let group = try ForwardPass(model, tokenCount: tokens.count, contextLength: contextLength)
    try group.embed(tokens)
    try group.runAllLayers()
    let hidden = Array(group.hidden)
    let width = model.dimensions.embeddingLength
    let single = try ForwardPass(model, tokenCount: contextLength, contextLength: contextLength)
    for start in stride(from: 0, to: tokens.count, by: contextLength) {
      try single.embed(Array(tokens[start..<start + contextLength]))
      try single.runAllLayers()
      let part = Array(hidden[start * width..<(start + contextLength) * width])
      #expect(relativeMaximum(part, Array(single.hidden)) <= Self.limit, "chunk at \(start)")
    }
  }

  /// Later tokens change nothing before them.
  @Test func causality() throws {
    var changed = tokens
    changed[60] = 7
    let vocabulary = model.dimensions.vocabularySize
    let logits = try model.logits(tokens)
    let other = try model.logits(changed)
    #expect(logits[..<(60 * vocabulary)] == other[..<(60 * vocabulary)])
    #expect(logits[(60 * vocabulary)...] != other[(60 * vocabulary)...])
  }

  @Test func outputOfSomePositionsInParts() throws {
    let vocabulary = model.dimensions.vocabularySize
    let expected = try model.logits(tokens)
    let positions = [3, 4, 40, 95]
    let pass = try ForwardPass(
      model, tokenCount: tokens.count, contextLength: tokens.count, threadCount: 3)
    try pass.embed(tokens)
    try pass.runAllLayers()
    try pass.beginOutput(positions: positions)
    #expect(pass.hidden.count == positions.count * model.dimensions.embeddingLength)

    // Three workers at once, parts that are no whole tiles.
    let width = 300
    let parts = Guarded<[Int: [Float]]>([:])
    WorkerThreads.run(count: 3) { worker in
      for part in stride(from: worker, to: (vocabulary + width - 1) / width, by: 3) {
        let rows = part * width..<min(vocabulary, (part + 1) * width)
        var logits = [Float](repeating: .nan, count: positions.count * rows.count)
        logits.withUnsafeMutableBufferPointer { buffer in
          guard let start = buffer.baseAddress else { return }
          try? pass.logits(ofVocabulary: rows, worker: worker, into: start)
        }
        parts.withLock { [logits] in $0[rows.lowerBound] = logits }
      }
    }
    var found: [Float] = []
    for row in positions.indices {
      for (first, part) in parts.withLock({ $0 }).sorted(by: { $0.key < $1.key }) {
        let count = min(vocabulary, first + width) - first
        found += part[row * count..<(row + 1) * count]
      }
    }
    let wanted = positions.flatMap { expected[$0 * vocabulary..<($0 + 1) * vocabulary] }
    #expect(relativeMaximum(found, wanted) <= Self.limit)
  }

  /// A shorter group in the same buffers, as the last one of a text.
  @Test func buffersAreUsedAgain() throws {
    let expected = try model.logits(Array(tokens[..<32]))
    let pass = try ForwardPass(model, tokenCount: 96, contextLength: 32)
    try pass.embed(tokens)
    try pass.runAllLayers()
    try pass.embed(Array(tokens[..<32]))
    try pass.runAllLayers()
    try pass.beginOutput(positions: Array(0..<32))
    #expect(relativeMaximum(try pass.allLogits(positionCount: 32), expected) <= Self.limit)
  }

  /// Two models of unlike shape take turns in one scratch.
  @Test func modelsShareAScratch() throws {
    let archive = try ConvertedModel(Fixtures.path("models/llama3"), type: "Q8_0")
    let other = try ReferenceModel(checkpoint: Fixtures.path("models/llama2"))
    let models = [model, try archive.open(), other]
    let kernels = try KernelTable(forced: nil)
    let scratch = ForwardScratch(
      models, tokenCount: tokens.count, contextLength: tokens.count, threadCount: 2)
    let passes = models.map {
      ForwardPass($0, scratch: scratch, kernels: kernels, cancellation: CancellationFlag())
    }
    for pass in passes { try pass.embed(tokens) }
    for layer in 0..<(models.map(\.dimensions.layerCount).max() ?? 0) {
      for pass in passes where layer < pass.model.dimensions.layerCount {
        try pass.runLayer(layer)
      }
    }
    for pass in passes { try pass.beginOutput(positions: Array(tokens.indices)) }
    for pass in passes {
      let expected = try pass.model.logits(tokens)
      let found = try pass.allLogits(positionCount: tokens.count)
      #expect(relativeMaximum(found, expected) <= Self.limit)
    }
  }

  @Test(arguments: [(96, 24, 1), (96, 96, 3), (4096, 512, 16), (24, 24, 2)])
  func byteCountIsWhatIsAllocated(_ tokenCount: Int, _ contextLength: Int, _ threads: Int) throws {
    let archive = try ConvertedModel(Fixtures.path("models/llama3"), type: "Q4_K_M")
    let models = [model, try archive.open()]
    let scratch = ForwardScratch(
      models, tokenCount: tokenCount, contextLength: contextLength, threadCount: threads)
    #expect(
      scratch.allocatedByteCount
        == ForwardScratch.byteCount(
          models, tokenCount: tokenCount, contextLength: contextLength, threadCount: threads))
    for model in models {
      let pass = ForwardPass(
        model, scratch: scratch, kernels: .scalar, cancellation: CancellationFlag())
      #expect(pass.allocatedByteCount == ForwardPass.byteCount(model, tokenCount: tokenCount))
    }
  }
}
