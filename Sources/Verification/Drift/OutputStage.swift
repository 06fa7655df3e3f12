import ByteIO
import Quantizers
import ReferenceModel
import Synchronization
import Threads

/// The end of a forward pass: logits of scored positions, compared tile by tile and never stored.
///
/// A tile is a run of the vocabulary. Every worker takes the next tile, computes its logits by both
/// models for all positions, and adds them to sums of its own, which are merged in the end.
final class OutputStage: @unchecked Sendable {
  /// What is measured besides the sums.
  enum Extra: Sendable {
    case none
    /// What a saved reference keeps of `reference`.
    case keeping(favourites: Int, samples: Int, firstPosition: Int)
    /// The logits of given tokens: those that a saved reference kept, per position.
    case lookups([[Int32]])
  }

  /// Of one position.
  struct Reading {
    var pair: LogitPair
    /// Logits of the token that follows.
    var referenceTarget: Float
    var candidateTarget: Float
  }

  private let reference: ForwardPass
  private let candidate: ForwardPass?
  private let kernels: KernelTable
  private let vocabularySize: Int
  private let targets: [Int32]
  private let extra: Extra
  private let nextTile = Atomic(0)
  private let failure = Guarded<(any Error)?>(nil)
  private let cancellation: CancellationFlag
  /// Everything below is written by one worker in one place, or under `merged`'s lock.
  private let targetLogits: UnsafeMutableBufferPointer<Float>
  private let lookups: [Lookup]
  private let lookupLogits: UnsafeMutableBufferPointer<Float>
  private let merged: Guarded<Merged>
  private struct Merged: Sendable {
    var pairs: [LogitPair]
    var favourites: LogitSelection?
    var sample: LogitSelection?
  }
  /// A token asked for, and where its logit goes; sorted by token.
  private struct Lookup {
    var token: Int32
    var position: Int
    var slot: Int
  }

  /// Bytes that a run takes besides those of the forward passes.
  static func byteCount(
    positionCount: Int, modelCount: Int, threadCount: Int, keptCounts: SavedReference.KeptCounts?,
    lookupCount: Int
  ) -> Int {
    let tile = positionCount * ForwardPass.outputTileRowCount * 4 * modelCount
    let sums = positionCount * MemoryLayout<LogitPair>.stride
    let favourites =
      keptCounts.map {
        LogitSelection.byteCount(
          positionCount: positionCount, limit: 2 * $0.favourites + $0.samples + 1)
      } ?? 0
    // Readings, targets and positions; of what is kept or looked up, records and their bytes too.
    let perPosition = 160 + (keptCounts?.total ?? 0) * 40 + lookupCount * 40
    return threadCount * (tile + sums + favourites) + sums + favourites
      + positionCount * perPosition
      + positionCount * lookupCount * (MemoryLayout<Lookup>.stride + 4)
  }

  /// - Parameters:
  ///   - reference: has begun its output for the positions.
  ///   - candidate: the same, or `nil`.
  ///   - kernels: sum up logits.
  ///   - vocabularySize: of both.
  ///   - targets: the token that follows each position.
  ///   - extra: what is measured besides.
  ///   - cancellation: looked at between tiles.
  init(
    reference: ForwardPass, candidate: ForwardPass?, kernels: KernelTable, vocabularySize: Int,
    targets: [Int32], extra: Extra, cancellation: CancellationFlag
  ) {
    self.reference = reference
    self.candidate = candidate
    self.kernels = kernels
    self.vocabularySize = vocabularySize
    self.targets = targets
    self.extra = extra
    self.cancellation = cancellation
    targetLogits = .allocate(capacity: max(1, targets.count * 2))
    targetLogits.initialize(repeating: .nan)
    var lookups: [Lookup] = []
    switch extra {
    case .none, .keeping: break
    case .lookups(let tokens):
      lookups.reserveCapacity(tokens.reduce(0) { $0 + $1.count })
      for (position, tokens) in tokens.enumerated() {
        for token in tokens {
          lookups.append(Lookup(token: token, position: position, slot: lookups.count))
        }
      }
      lookups.sort { $0.token < $1.token }
    }
    self.lookups = lookups
    lookupLogits = .allocate(capacity: max(1, lookups.count))
    lookupLogits.initialize(repeating: .nan)
    let selections = Self.selections(extra, positionCount: targets.count)
    merged = Guarded(
      Merged(
        pairs: Array(repeating: .empty, count: targets.count), favourites: selections?.favourites,
        sample: selections?.sample))
  }

  /// The sample may hold every favourite, and its last entry only says where it ends.
  private static func selections(_ extra: Extra, positionCount: Int) -> (
    favourites: LogitSelection, sample: LogitSelection
  )? {
    guard case .keeping(let favourites, let samples, let firstPosition) = extra else { return nil }
    return (
      LogitSelection(positionCount: positionCount, limit: favourites),
      LogitSelection(
        positionCount: positionCount, limit: favourites + samples + 1,
        noise: GumbelNoise(firstPosition: firstPosition))
    )
  }

  deinit {
    targetLogits.deallocate()
    lookupLogits.deallocate()
  }

  /// Computes all logits once.
  func run(threadCount: Int) throws {
    WorkerThreads.run(count: MatrixLibrary.ownsThreads ? 1 : threadCount) { [self] worker in
      do {
        try work(worker)
      } catch {
        failure.withLock { if $0 == nil { $0 = error } }
      }
    }
    if let failure = failure.withLock({ $0 }) { throw failure }
  }

  private func work(_ worker: Int) throws {
    let tileRows = ForwardPass.outputTileRowCount
    let capacity = max(1, targets.count * tileRows)
    let p = UnsafeMutablePointer<Float>.allocate(capacity: capacity)
    defer { p.deallocate() }
    let q = candidate.map { _ in UnsafeMutablePointer<Float>.allocate(capacity: capacity) }
    defer { q?.deallocate() }
    var pairs = [LogitPair](repeating: .empty, count: targets.count)
    var selections = Self.selections(extra, positionCount: targets.count)

    while failure.withLock({ $0 == nil }) {
      if cancellation.isCancelled { throw ForwardCancelled() }
      let tile = nextTile.wrappingAdd(1, ordering: .relaxed).oldValue
      let start = tile * tileRows
      guard start < vocabularySize else { break }
      let rows = start..<min(start + tileRows, vocabularySize)
      try reference.logits(ofVocabulary: rows, worker: worker, into: p)
      if let q { try candidate?.logits(ofVocabulary: rows, worker: worker, into: q) }
      for position in targets.indices {
        let row = p + position * rows.count
        let other = q.map { $0 + position * rows.count }
        kernels.addLogits(
          row, other, count: rows.count, firstToken: start, to: &pairs[position])
        let logits = UnsafeBufferPointer(start: row, count: rows.count)
        selections?.favourites.add(logits, firstToken: start, position: position)
        selections?.sample.add(logits, firstToken: start, position: position)
        let target = Int(targets[position])
        if rows.contains(target) {
          targetLogits[position * 2] = row[target - start]
          if let other { targetLogits[position * 2 + 1] = other[target - start] }
        }
      }
      answerLookups(rows, p)
    }
    merged.withLock { merged in
      for position in pairs.indices { merged.pairs[position].merge(pairs[position]) }
      if let selections {
        merged.favourites?.merge(selections.favourites)
        merged.sample?.merge(selections.sample)
      }
    }
  }

  private func answerLookups(_ rows: Range<Int>, _ logits: UnsafeMutablePointer<Float>) {
    guard !lookups.isEmpty else { return }
    var low = 0
    var high = lookups.count
    while low < high {
      let middle = (low + high) / 2
      if Int(lookups[middle].token) < rows.lowerBound { low = middle + 1 } else { high = middle }
    }
    while low < lookups.count, Int(lookups[low].token) < rows.upperBound {
      let lookup = lookups[low]
      lookupLogits[lookup.slot] =
        logits[lookup.position * rows.count + Int(lookup.token) - rows.lowerBound]
      low += 1
    }
  }

  // MARK: Results

  var readings: [Reading] {
    merged.withLock { merged in
      merged.pairs.enumerated().map { position, pair in
        Reading(
          pair: pair, referenceTarget: targetLogits[position * 2],
          candidateTarget: targetLogits[position * 2 + 1])
      }
    }
  }

  /// What a saved reference keeps of each position; empty where nothing was kept.
  var kept: [KeptLogits] {
    guard case .keeping(_, let samples, _) = extra else { return [] }
    return merged.withLock { merged in
      guard let favourites = merged.favourites, let sample = merged.sample else { return [] }
      return targets.indices.map { position in
        KeptLogits(
          favourites: favourites.sorted(position: position),
          candidates: sample.sorted(position: position), sampleCount: samples)
      }
    }
  }

  /// Logits of the tokens asked for, in the order in which they were given.
  func lookedUp(_ range: Range<Int>) -> [Float] { Array(lookupLogits[range]) }
}
