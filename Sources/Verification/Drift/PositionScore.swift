/// What both models say at one scored position.
package struct PositionScore: Hashable, Sendable {
  /// −ln of the probability that the reference gives the token that follows, in nats.
  package var referenceLoss: Double
  /// The same of the candidate; 0 when only the reference was measured.
  package var candidateLoss: Double
  /// KL(reference ‖ candidate) in nats.
  package var divergence: Double
  /// What each model prefers; −1 where there is no candidate.
  package var referenceTop: Int32
  package var candidateTop: Int32

  package init(
    referenceLoss: Double, candidateLoss: Double = 0, divergence: Double = 0, referenceTop: Int32,
    candidateTop: Int32 = -1
  ) {
    self.referenceLoss = referenceLoss
    self.candidateLoss = candidateLoss
    self.divergence = divergence
    self.referenceTop = referenceTop
    self.candidateTop = candidateTop
  }

  package var isFinite: Bool {
    referenceLoss.isFinite && candidateLoss.isFinite && divergence.isFinite
  }
}
