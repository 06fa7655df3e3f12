import ByteIO
import ForwardRuns
import Quantizers
import ReferenceModel
import Tensors
import Threads

/// Sends a text through one or two models, layer by layer, and sums up what they say.
struct ForwardRun {
  let text: ChunkedText
  /// The reference first; with a saved reference the candidate alone.
  let models: [ReferenceModel]
  let saved: SavedReference?
  let budget: ForwardBudget
  let kernels: KernelTable
  let threadCount: Int
  let cancellation: CancellationFlag
  let progress: (@Sendable (RunProgress) -> Void)?

  private(set) var scores: [PositionScore] = []
  private(set) var meter: LayerMeter
  private var writer: SavedReferenceWriter?
  private let keptCounts: SavedReference.KeptCounts?

  init(
    text: ChunkedText, models: [ReferenceModel], saved: SavedReference?, budget: ForwardBudget,
    kernels: KernelTable, threadCount: Int, writer: SavedReferenceWriter?,
    keptCounts: SavedReference.KeptCounts?,
    cancellation: CancellationFlag, progress: (@Sendable (RunProgress) -> Void)?
  ) {
    self.text = text
    self.models = models
    self.saved = saved
    self.budget = budget
    self.kernels = kernels
    self.threadCount = threadCount
    self.writer = writer
    self.keptCounts = keptCounts
    self.cancellation = cancellation
    self.progress = progress
    meter = LayerMeter(layerCount: models[0].dimensions.layerCount, kernels: kernels)
  }

  mutating func run() throws {
    let scratch = ForwardScratch(
      models, tokenCount: budget.chunksPerGroup * text.contextLength,
      contextLength: text.contextLength, threadCount: threadCount)
    let passes = models.map {
      ForwardPass($0, scratch: scratch, kernels: kernels, cancellation: cancellation)
    }
    let groups = budget.groups(chunkCount: text.chunkCount)
    let layerCount = models[0].dimensions.layerCount
    let progress = ForwardMeter(
      groupCount: groups.count, layerCount: layerCount,
      tokenCount: text.chunkCount * text.contextLength, report: progress)
    for (number, chunks) in groups.enumerated() {
      let tokens = text.input(ofChunks: chunks)
      for pass in passes { try pass.embed(tokens) }
      compareHidden(passes, layer: -1)
      for layer in 0..<layerCount {
        progress.begin(group: number, layer: layer)
        for pass in passes { try pass.runLayer(layer) }
        compareHidden(passes, layer: layer)
      }
      progress.begin(group: number, layer: layerCount)
      try score(chunks, passes)
    }
    for model in models { try model.source.checkUnchanged() }
    try saved?.file.checkUnchanged()
    try writer?.commit()
  }

  private mutating func compareHidden(_ passes: [ForwardPass], layer: Int) {
    guard passes.count == 2 else { return }
    meter.add(
      layer: layer, reference: passes[0].hidden, candidate: passes[1].hidden,
      width: models[0].dimensions.embeddingLength)
  }

  // MARK: Output

  private mutating func score(_ chunks: Range<Int>, _ passes: [ForwardPass]) throws {
    let positions = text.positions(ofChunks: chunks)
    let targets = text.targets(ofChunks: chunks)
    for pass in passes { try pass.beginOutput(positions: positions) }
    let records = try saved?.records(ofChunks: chunks)
    var extra = OutputStage.Extra.none
    if let keptCounts {
      extra = .keeping(
        favourites: keptCounts.favourites, samples: keptCounts.samples,
        firstPosition: chunks.lowerBound * text.scoredPositions.count)
    }
    if let records { extra = .lookups(records.map(\.allTokens)) }
    let stage = OutputStage(
      reference: passes[0], candidate: passes.count > 1 ? passes[1] : nil, kernels: kernels,
      vocabularySize: models[0].dimensions.vocabularySize, targets: targets, extra: extra,
      cancellation: cancellation)
    try stage.run(threadCount: threadCount)
    let readings = stage.readings
    for (index, reading) in readings.enumerated() where !reading.pair.isFinite {
      let place = chunks.lowerBound * text.scoredPositions.count + index
      throw notFinite(place, reading)
    }
    for (index, reading) in readings.enumerated() {
      var score = score(reading)
      if let record = records?[index] {
        let count = record.tokenCount
        score = self.score(reading, record, stage.lookedUp(index * count..<(index + 1) * count))
      }
      guard score.isFinite else {
        throw notFinite(chunks.lowerBound * text.scoredPositions.count + index, reading)
      }
      scores.append(score)
    }
    if keptCounts != nil {
      try writer?.append(
        zip(readings, stage.kept).map { reading, kept in
          ReferenceRecord(
            target: reading.referenceTarget, kept: kept,
            logNormaliser: reading.pair.p.logNormaliser)
        })
    }
  }

  private func score(_ reading: OutputStage.Reading) -> PositionScore {
    let pair = reading.pair
    var score = PositionScore(
      referenceLoss: pair.p.logNormaliser - Double(reading.referenceTarget),
      referenceTop: pair.p.top)
    guard models.count > 1 else { return score }
    score.candidateLoss = pair.q.logNormaliser - Double(reading.candidateTarget)
    score.divergence = pair.divergence
    score.candidateTop = pair.q.top
    return score
  }

  /// With a saved reference the only model that ran is the candidate.
  private func score(
    _ reading: OutputStage.Reading, _ record: ReferenceRecord, _ logits: [Float]
  ) -> PositionScore {
    let normaliser = reading.pair.p.logNormaliser
    return PositionScore(
      referenceLoss: -Double(record.targetLogProbability),
      candidateLoss: normaliser - Double(reading.referenceTarget),
      divergence: record.divergence(candidate: logits.map { Double($0) - normaliser }),
      referenceTop: record.favourites.first?.token ?? -1, candidateTop: reading.pair.p.top)
  }

  private func notFinite(_ place: Int, _ reading: OutputStage.Reading) -> FormatError {
    let isReference =
      !reading.pair.p.sum.isFinite || !reading.pair.p.maximum.isFinite
      || !reading.referenceTarget.isFinite
    let model = models.count == 1 || isReference ? models[0] : models[1]
    let (chunk, index) = place.quotientAndRemainder(dividingBy: text.scoredPositions.count)
    return FormatError(
      file: model.source.files.first ?? "", field: "logits",
      reason: .outOfRange(
        found:
          "a logit that is not finite, chunk \(chunk), position "
          + "\(text.scoredPositions.lowerBound + index)",
        allowed: "finite logits"),
      advice: "its weights are damaged: 'ingot check' finds such numbers in an archive")
  }
}
