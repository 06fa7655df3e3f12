#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What a saved reference keeps of one scored position.
///
///     offset  bytes  field
///          0      4  ln of the probability of the token that follows, F32
///          4      4  tail mass: probability of all tokens that are not kept, F32
///          8    4 K  kept tokens, i32, most probable first
///      8 + 4 K  4 K  ln of their probabilities, F32
///
/// Source: formats/verification/saved-reference.md
package struct ReferenceRecord: Hashable, Sendable {
  package var targetLogProbability: Float
  package var tailMass: Float
  package var tokens: [Int32]
  package var logProbabilities: [Float]

  package static func byteCount(favouriteCount: Int) -> Int { 8 + 8 * favouriteCount }

  /// Keeps the favourites of a row of logits.
  package init(
    targetLogProbability: Double, favourites: [(token: Int32, logit: Float)],
    logNormaliser: Double
  ) {
    self.targetLogProbability = Float(targetLogProbability)
    tokens = favourites.map(\.token)
    let exact = favourites.map { Double($0.logit) - logNormaliser }
    logProbabilities = exact.map(Float.init)
    tailMass = Float(max(0, 1 - exact.reduce(0) { $0 + exp($1) }))
  }

  /// Reads a record whose length has been checked.
  package init(_ bytes: UnsafeRawBufferPointer, favouriteCount: Int) {
    func word(_ index: Int) -> UInt32 {
      UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self))
    }
    targetLogProbability = Float(bitPattern: word(0))
    tailMass = Float(bitPattern: word(1))
    tokens = (0..<favouriteCount).map { Int32(bitPattern: word(2 + $0)) }
    logProbabilities = (0..<favouriteCount).map {
      Float(bitPattern: word(2 + favouriteCount + $0))
    }
  }

  package func append(to bytes: inout [UInt8]) {
    let words =
      [targetLogProbability.bitPattern, tailMass.bitPattern]
      + tokens.map { UInt32(bitPattern: $0) } + logProbabilities.map(\.bitPattern)
    for word in words { withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) } }
  }

  /// What is wrong with a record from a file; `nil` when it can be used.
  package func fault(vocabularySize: Int) -> String? {
    var seen = Set<Int32>()
    for token in tokens where !(0..<Int32(vocabularySize)).contains(token) {
      return "token \(token) of a vocabulary of \(vocabularySize)"
    }
    for token in tokens where !seen.insert(token).inserted { return "token \(token) twice" }
    // A rounded probability may pass 1 by a hair.
    let logs = [targetLogProbability] + logProbabilities
    for value in logs where !(value <= 1e-3 && value > -.infinity) {
      return "a log-probability of \(value)"
    }
    if !(0...1.001).contains(tailMass) { return "a tail mass of \(tailMass)" }
    return nil
  }

  /// A lower bound of KL(reference ‖ candidate), the tail taken as one token.
  ///
  /// - Parameter candidate: ln of the candidate's probabilities of `tokens`.
  /// - Returns: nats, not negative.
  package func divergence(candidate: [Double]) -> Double {
    var sum = 0.0
    var candidateMass = 0.0
    for (own, other) in zip(logProbabilities, candidate) {
      sum += exp(Double(own)) * (Double(own) - other)
      candidateMass += exp(other)
    }
    let tail = Double(tailMass)
    if tail > 0 {
      // Both tails are differences from 1, known to about 1e-7.
      sum += tail * log(tail / max(1 - candidateMass, 1e-9))
    }
    return sum < 0 ? 0 : sum
  }
}
