import ByteIO
import ForwardRuns
import Quantizers
import ReferenceModel
import Threads
import Verification

/// A model with some of its tensors in other types.
package struct ModelVariant: Sendable {
  /// Where it leaves the model: −1 before the layers, `Int.max` behind them.
  package var firstLayer: Int
  package var substitution: WeightSubstitution

  package init(firstLayer: Int, substitution: WeightSubstitution) {
    self.firstLayer = firstLayer
    self.substitution = substitution
  }
}

/// Runs a text through a model and through variants of it, and says how far each one's predictions
/// are from the model's.
///
/// The variants go through the layers beside the model: one begins at its first layer, from the
/// model's own hidden states, and a layer's weights serve all of them while they are in memory.
package struct VariantRun: Sendable {
  let model: ReferenceModel
  let text: ChunkedText
  let kernels: KernelTable
  let threadCount: Int
  let memoryLimit: UInt64
  let cancellation: CancellationFlag

  package init(
    model: ReferenceModel, text: ChunkedText, kernels: KernelTable, threadCount: Int,
    memoryLimit: UInt64, cancellation: CancellationFlag
  ) {
    self.model = model
    self.text = text
    self.kernels = kernels
    self.threadCount = threadCount
    self.memoryLimit = memoryLimit
    self.cancellation = cancellation
  }

  /// Most variants that go through the layers together: what they gave is kept after each round.
  private static let variantLimit = 64

  /// Measures variants in their order, as many at a time as memory allows.
  ///
  /// - Parameters:
  ///   - variants: best those together that leave the model at the same layer.
  ///   - progress: gets what is done.
  ///   - finished: gets which variants a round was of, and of each the KL divergence at every scored
  ///     position, in nats.
  /// - Throws: `FormatError`, `ForwardBudget.TooSmall`, `MatrixLibraryError`, `ForwardCancelled`.
  package func run(
    _ variants: [ModelVariant], progress: (@Sendable (RunProgress) -> Void)?,
    finished: (Range<Int>, [[Double]]) throws -> Void
  ) throws {
    guard !variants.isEmpty else { return }
    let budget = try budget()
    let rounds = stride(from: 0, to: variants.count, by: budget.variants).map {
      $0..<min($0 + budget.variants, variants.count)
    }
    for (number, round) in rounds.enumerated() {
      try finished(
        round, run(Array(variants[round]), number, rounds.count, budget.groups, progress))
      try model.source.checkUnchanged()
    }
  }

  /// Chunks per group and variants per round, so that both fit the memory.
  private func budget() throws(ForwardBudget.TooSmall) -> (groups: [Range<Int>], variants: Int) {
    let used =
      ProcessMemory.residentByteCount
      + UInt64(text.scoredPositionCount * Self.variantLimit * MemoryLayout<Double>.size)
    // At least one variant beside the model; as many as fit where all chunks do.
    func bytes(chunks: Int, variants: Int) -> Int {
      ForwardBudget.passByteCount(
        [model], chunks: chunks, contextLength: text.contextLength, threadCount: threadCount)
        + variants * ForwardPass.byteCount(model, tokenCount: chunks * text.contextLength)
        + divergencesByteCount(
          positionCount: chunks * text.scoredPositions.count, threadCount: threadCount)
    }
    let enough = 16
    let forward = try ForwardBudget(
      chunkCount: text.chunkCount, limit: memoryLimit, used: used, threadCount: threadCount,
      option: "--text-context"
    ) { chunks in bytes(chunks: chunks, variants: chunks == 1 ? 1 : enough) }
    let fixed = forward.byteCount
    var variants = forward.chunksPerGroup == 1 ? 1 : enough
    let each = ForwardPass.byteCount(
      model, tokenCount: forward.chunksPerGroup * text.contextLength)
    let room = Int(memoryLimit) - Int(used) - fixed - (32 << 20) - threadCount * (48 << 20)
    if room > 0 { variants += room / max(1, each) }
    return (
      forward.groups(chunkCount: text.chunkCount), min(Self.variantLimit, max(1, variants))
    )
  }

  private func run(
    _ round: [ModelVariant], _ number: Int, _ roundCount: Int, _ groups: [Range<Int>],
    _ progress: (@Sendable (RunProgress) -> Void)?
  ) throws -> [[Double]] {
    let tokenCount = (groups.map(\.count).max() ?? 1) * text.contextLength
    let scratch = ForwardScratch(
      [model], tokenCount: tokenCount, contextLength: text.contextLength,
      threadCount: threadCount)
    let reference = ForwardPass(
      model, scratch: scratch, kernels: kernels, cancellation: cancellation)
    let variants = round.map { variant in
      (
        firstLayer: variant.firstLayer,
        pass: ForwardPass(
          model, scratch: scratch, kernels: kernels, cancellation: cancellation,
          substitution: variant.substitution)
      )
    }
    let layerCount = model.dimensions.layerCount
    let meter = ForwardMeter(
      groupCount: roundCount * groups.count, layerCount: layerCount,
      tokenCount: text.chunkCount * text.contextLength * roundCount,
      firstGroup: number * groups.count, report: progress)
    var result = [[Double]](repeating: [], count: variants.count)
    for (index, chunks) in groups.enumerated() {
      let group = number * groups.count + index
      let tokens = text.input(ofChunks: chunks)
      try reference.embed(tokens)
      for variant in variants where variant.firstLayer < 0 { try variant.pass.embed(tokens) }
      for layer in 0..<layerCount {
        meter.begin(group: group, layer: layer)
        for variant in variants where variant.firstLayer <= layer {
          if variant.firstLayer == layer { variant.pass.begin(from: reference) }
          try variant.pass.runLayer(layer)
        }
        try reference.runLayer(layer)
      }
      meter.begin(group: group, layer: layerCount)
      for variant in variants where variant.firstLayer >= layerCount {
        variant.pass.begin(from: reference)
      }
      let positions = text.positions(ofChunks: chunks)
      let targets = text.targets(ofChunks: chunks)
      try reference.beginOutput(positions: positions)
      for (slot, variant) in variants.enumerated() {
        try variant.pass.beginOutput(positions: positions)
        result[slot] += try divergences(
          reference, variant.pass, targets: targets, kernels: kernels, threadCount: threadCount,
          cancellation: cancellation)
      }
    }
    return result
  }
}
