import ByteIO
import ForwardRuns
import Planning
import Quantizers
import ReferenceModel
import Tensors
import Threads
import Verification

/// Measures how much a model's output moves when one tensor alone is quantized.
///
/// Variants of the model go through the layers beside it, each with one tensor in another type: a
/// variant begins at its tensor's layer, from the model's own hidden states, and a layer's weights
/// serve all of them while they are in memory. In the end each one's predictions are compared with
/// the model's.
package struct SensitivityRun: Sendable {
  /// A tensor in a type.
  package struct Probe: Hashable, Sendable {
    package var role: WeightRole
    package var type: TensorType
    package init(role: WeightRole, type: TensorType) {
      self.role = role
      self.type = type
    }
  }

  let model: ReferenceModel
  let text: ChunkedText
  /// By archive name: `experts × columns` values each.
  let importance: [ExactString: [Float]]
  let kernels: KernelTable
  let threadCount: Int
  let memoryLimit: UInt64
  let cancellation: CancellationFlag

  package init(
    model: ReferenceModel, text: ChunkedText, importance: [ExactString: [Float]],
    kernels: KernelTable, threadCount: Int, memoryLimit: UInt64, cancellation: CancellationFlag
  ) {
    self.model = model
    self.text = text
    self.importance = importance
    self.kernels = kernels
    self.threadCount = threadCount
    self.memoryLimit = memoryLimit
    self.cancellation = cancellation
  }

  /// Most variants that go through the layers together: what they gave is kept after each round.
  private static let variantLimit = 64

  /// Measures probes, from the first layers' to the last ones'.
  ///
  /// - Parameters:
  ///   - probes: of roles that the model has.
  ///   - progress: gets what is done.
  ///   - finished: gets the mean KL divergence of each probe, in nats, round by round.
  /// - Throws: `FormatError`, `ForwardBudget.TooSmall`, `MatrixLibraryError`, `ForwardCancelled`.
  package func run(
    _ probes: [Probe], progress: (@Sendable (RunProgress) -> Void)?,
    finished: ([(probe: Probe, divergence: Double)]) throws -> Void
  ) throws {
    let sorted = probes.enumerated().sorted {
      ($0.element.role.firstLayer, $0.offset) < ($1.element.role.firstLayer, $1.offset)
    }.map(\.element)
    guard !sorted.isEmpty else { return }
    let budget = try budget()
    let rounds = stride(from: 0, to: sorted.count, by: budget.variants).map {
      Array(sorted[$0..<min($0 + budget.variants, sorted.count)])
    }
    for (number, round) in rounds.enumerated() {
      try finished(run(round, number, rounds.count, budget.groups, progress))
      try model.source.checkUnchanged()
    }
  }

  /// Chunks per group and variants per round, so that both fit the memory.
  private func budget() throws(ForwardBudget.TooSmall) -> (groups: [Range<Int>], variants: Int) {
    let used = ProcessMemory.residentByteCount
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
      chunkCount: text.chunkCount, limit: memoryLimit, used: used, threadCount: threadCount
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
    _ probes: [Probe], _ number: Int, _ roundCount: Int, _ groups: [Range<Int>],
    _ progress: (@Sendable (RunProgress) -> Void)?
  ) throws -> [(probe: Probe, divergence: Double)] {
    let tokenCount = (groups.map(\.count).max() ?? 1) * text.contextLength
    let scratch = ForwardScratch(
      [model], tokenCount: tokenCount, contextLength: text.contextLength,
      threadCount: threadCount)
    let reference = ForwardPass(
      model, scratch: scratch, kernels: kernels, cancellation: cancellation)
    let variants = probes.map { probe in
      ForwardPass(
        model, scratch: scratch, kernels: kernels, cancellation: cancellation,
        substitution: WeightSubstitution(
          probe.role, of: model, type: probe.type,
          importance: importance[ExactString(probe.role.archiveName)]))
    }
    let layerCount = model.dimensions.layerCount
    let meter = ForwardMeter(
      groupCount: roundCount * groups.count, layerCount: layerCount,
      tokenCount: text.chunkCount * text.contextLength * roundCount, report: progress)
    var sums = [Double](repeating: 0, count: probes.count)
    var count = 0
    for (index, chunks) in groups.enumerated() {
      let group = number * groups.count + index
      let tokens = text.input(ofChunks: chunks)
      try reference.embed(tokens)
      for (probe, variant) in zip(probes, variants) where probe.role == .tokenEmbedding {
        try variant.embed(tokens)
      }
      for layer in 0..<layerCount {
        meter.begin(group: group, layer: layer)
        for (probe, variant) in zip(probes, variants) where probe.role.firstLayer <= layer {
          if probe.role.firstLayer == layer { variant.begin(from: reference) }
          try variant.runLayer(layer)
        }
        try reference.runLayer(layer)
      }
      meter.begin(group: group, layer: layerCount)
      for (probe, variant) in zip(probes, variants) where probe.role.firstLayer >= layerCount {
        variant.begin(from: reference)
      }
      let positions = text.positions(ofChunks: chunks)
      let targets = text.targets(ofChunks: chunks)
      try reference.beginOutput(positions: positions)
      for (slot, variant) in variants.enumerated() {
        try variant.beginOutput(positions: positions)
        let values = try divergences(
          reference, variant, targets: targets, kernels: kernels, threadCount: threadCount,
          cancellation: cancellation)
        sums[slot] += values.reduce(0, +)
      }
      count += positions.count
    }
    return zip(probes, sums).map { ($0, $1 / Double(count)) }
  }
}

extension WeightRole {
  /// Where a variant of the model leaves it: −1 before the layers, `Int.max` behind them.
  fileprivate var firstLayer: Int {
    switch self {
    case .tokenEmbedding: -1
    case .layer(let layer, _): layer
    case .outputNorm, .output: .max
    }
  }
}
