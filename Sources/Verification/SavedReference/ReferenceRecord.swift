#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What a saved reference keeps of one scored position.
///
///       offset  bytes  field
///            0      4  ln of the probability of the token that follows, F32
///            4      4  tail mass: probability of all tokens that are no favourites, F32
///            8      4  sample threshold: ln probability plus noise of the first token that was not
///                      sampled; −∞ when all were, F32
///           12    4 K  favourites, i32, most probable first
///     12 + 4 K    4 K  ln of their probabilities, F32
///     12 + 8 K    4 S  sampled others, i32
///            …    4 S  ln of their probabilities, F32
///
/// Source: formats/verification/saved-reference.md
package struct ReferenceRecord: Hashable, Sendable {
  package struct Entry: Hashable, Sendable {
    package var token: Int32
    package var logProbability: Float

    package init(token: Int32, logProbability: Float) {
      self.token = token
      self.logProbability = logProbability
    }
  }
  package var targetLogProbability: Float
  package var tailMass: Float
  package var sampleThreshold: Float
  package var favourites: [Entry]
  package var samples: [Entry]

  var tokenCount: Int { favourites.count + samples.count }

  /// Tokens of favourites and samples.
  package var allTokens: [Int32] { (favourites + samples).map(\.token) }

  package static func byteCount(_ counts: SavedReference.KeptCounts) -> Int {
    12 + 8 * counts.total
  }

  /// From the logits that a forward pass kept.
  package init(target: Float, kept: KeptLogits, logNormaliser: Double) {
    func entry(_ kept: LogitSelection.Entry) -> Entry {
      Entry(token: kept.token, logProbability: Float(Double(kept.logit) - logNormaliser))
    }
    targetLogProbability = Float(Double(target) - logNormaliser)
    favourites = kept.favourites.map(entry)
    samples = kept.samples.map(entry)
    sampleThreshold = Float(Double(kept.threshold) - logNormaliser)
    let mass = kept.favourites.reduce(0) { $0 + exp(Double($1.logit) - logNormaliser) }
    tailMass = Float(max(0, 1 - mass))
  }

  /// Reads a record whose length has been checked.
  init(_ bytes: UnsafeRawBufferPointer, _ counts: SavedReference.KeptCounts) {
    func word(_ index: Int) -> UInt32 {
      UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self))
    }
    func entries(_ start: Int, _ count: Int) -> [Entry] {
      (start..<start + count).map {
        Entry(
          token: Int32(bitPattern: word($0)),
          logProbability: Float(bitPattern: word($0 + count)))
      }
    }
    targetLogProbability = Float(bitPattern: word(0))
    tailMass = Float(bitPattern: word(1))
    sampleThreshold = Float(bitPattern: word(2))
    favourites = entries(3, counts.favourites)
    samples = entries(3 + 2 * counts.favourites, counts.samples)
  }

  func append(to bytes: inout [UInt8]) {
    func add(_ word: UInt32) {
      withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) }
    }
    for value in [targetLogProbability, tailMass, sampleThreshold] { add(value.bitPattern) }
    for entries in [favourites, samples] {
      for entry in entries { add(UInt32(bitPattern: entry.token)) }
      for entry in entries { add(entry.logProbability.bitPattern) }
    }
  }

  /// What is wrong with a record from a file; `nil` when it can be used.
  package func fault(vocabularySize: Int) -> String? {
    var seen = Set<Int32>()
    for token in allTokens where !(0..<Int32(vocabularySize)).contains(token) {
      return "token \(token) of a vocabulary of \(vocabularySize)"
    }
    for token in allTokens where !seen.insert(token).inserted { return "token \(token) twice" }
    // A rounded probability may pass 1 by a hair.
    let logs = [targetLogProbability] + (favourites + samples).map(\.logProbability)
    for value in logs where !(value <= 1e-3 && value > -.infinity) {
      return "a log-probability of \(value)"
    }
    if !(0...1.001).contains(tailMass) { return "a tail mass of \(tailMass)" }
    if !(sampleThreshold < 100) { return "a sample threshold of \(sampleThreshold)" }
    for (entry, next) in zip(favourites, favourites.dropFirst())
    where entry.logProbability < next.logProbability {
      return "favourites in no order"
    }
    func mass(_ entries: [Entry]) -> Double {
      entries.reduce(0) { $0 + exp(Double($1.logProbability)) }
    }
    let total = mass(favourites) + Double(tailMass)
    if !(abs(total - 1) <= 1e-3) { return "probabilities that add up to \(total)" }
    if mass(samples) > Double(tailMass) + 1e-3 { return "samples that outweigh the tail" }
    return nil
  }

  /// KL(reference ‖ candidate): exact over the favourites, estimated without bias over the others.
  ///
  /// Over the others, of mass T by the reference and U by the candidate, it is T ln(T/U) plus
  /// Σ p (ln(p/q) − ln(T/U)). The sum is estimated from the sample: a token is in it with
  /// probability 1 − exp(−exp(ln p − threshold)), and its term is divided by that.
  ///
  /// - Parameter candidate: ln of the candidate's probabilities of `allTokens`.
  /// - Returns: nats. An estimate may be negative: cut off at 0, the mean would be too large.
  package func divergence(candidate: [Double]) -> Double {
    var sum = 0.0
    var candidateMass = 0.0
    for (entry, other) in zip(favourites, candidate) {
      let own = Double(entry.logProbability)
      sum += exp(own) * (own - other)
      candidateMass += exp(other)
    }
    let tail = Double(tailMass)
    if tail > 0 {
      // Both tails are differences from 1, known to about 1e-7.
      let ratio = log(tail / max(1 - candidateMass, 1e-9))
      sum += tail * ratio
      for (entry, other) in zip(samples, candidate.dropFirst(favourites.count)) {
        let own = Double(entry.logProbability)
        let inclusion = -expm1(-exp(own - Double(sampleThreshold)))
        if inclusion > 0 { sum += exp(own) / inclusion * (own - other - ratio) }
      }
    }
    return sum
  }
}

/// Logits of one position that a saved reference keeps.
package struct KeptLogits {
  var favourites: [LogitSelection.Entry]
  /// Others, a sample without replacement in proportion to their probabilities.
  var samples: [LogitSelection.Entry]
  /// Key of the first one that was not sampled; minus infinity when all others were.
  var threshold: Float

  /// - Parameters:
  ///   - favourites: the largest logits.
  ///   - candidates: the largest keys, one more than favourites and samples together if there are
  ///     as many tokens, largest first.
  ///   - sampleCount: how many to keep.
  package init(
    favourites: [LogitSelection.Entry], candidates: [LogitSelection.Entry], sampleCount: Int
  ) {
    self.favourites = favourites
    let known = Set(favourites.map(\.token))
    let others = candidates.filter { !known.contains($0.token) }
    samples = Array(others.prefix(sampleCount))
    threshold = others.count > sampleCount ? others[sampleCount].key : -.infinity
  }
}
