/// Buffers that several models share in turn: everything but the hidden states.
///
/// Per token one embedding width for what a norm made, and the larger of queries + keys + values and
/// the feed-forward width: the attention's output takes the place of the queries, and the two halves
/// of a layer never hold both. Experts make do with the same room, some of them at a time.
package final class ForwardScratch: Sendable {
  package let tokenCount: Int
  package let contextLength: Int
  package let threadCount: Int
  let tiling: ForwardTiling
  let workers: [WorkerBuffers]
  /// `[tokenCount, widest embedding]`.
  let normed: FloatBuffer
  /// `[tokenCount, widest of queries + keys + values, and feed-forward]`.
  let activations: FloatBuffer
  /// A norm's weights.
  let normWeights: FloatBuffer
  let routing: RoutingBuffers
  private let rotations: [RotaryFrequencies: RotationTable]

  /// Bytes that `init` with the same arguments allocates.
  package static func byteCount(
    _ models: [ReferenceModel], tokenCount: Int, contextLength: Int, threadCount: Int,
    tiling: ForwardTiling = .standard
  ) -> Int {
    let sizes = Sizes(models, tokenCount, contextLength, threadCount, tiling)
    let floats = sizes.normed + sizes.activations + sizes.normWeights + sizes.rotations.reduce(0, +)
    return floats * 4 + threadCount * sizes.worker.byteCount
      + RoutingBuffers.byteCount(scoreCount: sizes.scores, choiceCount: sizes.choices)
  }

  /// Allocates.
  ///
  /// - Parameters:
  ///   - models: all that will use it, one after the other.
  ///   - tokenCount: most tokens of a group, whole chunks.
  ///   - contextLength: tokens of a chunk.
  ///   - threadCount: workers.
  ///   - tiling: for tests; results do not depend on it.
  package init(
    _ models: [ReferenceModel], tokenCount: Int, contextLength: Int, threadCount: Int,
    tiling: ForwardTiling = .standard
  ) {
    precondition(contextLength > 0 && tokenCount > 0 && tokenCount % contextLength == 0)
    precondition(threadCount > 0 && tokenCount <= Int(Int32.max))
    let sizes = Sizes(models, tokenCount, contextLength, threadCount, tiling)
    self.tokenCount = tokenCount
    self.contextLength = contextLength
    self.threadCount = threadCount
    self.tiling = tiling
    workers = (0..<threadCount).map { _ in WorkerBuffers(sizes.worker) }
    normed = FloatBuffer(count: sizes.normed)
    activations = FloatBuffer(count: sizes.activations)
    normWeights = FloatBuffer(count: sizes.normWeights)
    routing = RoutingBuffers(scoreCount: sizes.scores, choiceCount: sizes.choices)
    var rotations: [RotaryFrequencies: RotationTable] = [:]
    for rotary in Set(models.map(\.rotary)) {
      rotations[rotary] = RotationTable(rotary, contextLength: contextLength)
    }
    self.rotations = rotations
  }

  /// Bytes that were allocated.
  package var allocatedByteCount: Int {
    let floats =
      normed.count + activations.count + normWeights.count
      + rotations.values.reduce(0) { $0 + $1.buffer.count }
    return floats * 4 + routing.byteCount + workers.reduce(0) { $0 + $1.byteCount }
  }

  func rotation(_ rotary: RotaryFrequencies) -> RotationTable {
    guard let table = rotations[rotary] else {
      preconditionFailure("the scratch was not made for this model")
    }
    return table
  }

  private struct Sizes {
    var normed: Int
    var activations: Int
    var normWeights: Int
    /// One per distinct rotation.
    var rotations: [Int]
    /// Of routers.
    var scores: Int
    var choices: Int
    var worker: WorkerBuffers.Sizes

    init(
      _ models: [ReferenceModel], _ tokenCount: Int, _ contextLength: Int, _ threadCount: Int,
      _ tiling: ForwardTiling
    ) {
      let widths = models.map(\.dimensions)
      let embedding = widths.map(\.embeddingLength).max() ?? 1
      normed = tokenCount * embedding
      // One choice of an expert fits at least.
      let choice = widths.map { $0.embeddingLength + ($0.experts?.feedForwardLength ?? 0) }
      activations = max(tokenCount * (widths.map(\.innerLength).max() ?? 1), choice.max() ?? 1)
      scores = tokenCount * (widths.compactMap { $0.experts?.count }.max() ?? 0)
      choices = tokenCount * (widths.compactMap { $0.experts?.usedCount }.max() ?? 0)
      normWeights = embedding
      rotations = Set(models.map(\.rotary)).map { contextLength * 2 * $0.frequencies.count }
      worker = WorkerBuffers.Sizes(
        models, tokenCount: tokenCount, contextLength: contextLength, tiling: tiling)
    }
  }
}
