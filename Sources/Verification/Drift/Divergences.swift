import ByteIO
import Quantizers
import ReferenceModel
import Threads

/// KL(reference ‖ candidate) in nats at positions for which both passes have begun their output.
///
/// - Parameters:
///   - reference: of the model.
///   - candidate: of another one with the same vocabulary.
///   - targets: the token that follows each position.
///   - kernels: sum up logits.
///   - threadCount: workers.
///   - cancellation: looked at between tiles.
/// - Returns: one number per position.
/// - Throws: `FormatError` when reading fails, or when a logit is not finite; `ForwardCancelled`.
package func divergences(
  _ reference: ForwardPass, _ candidate: ForwardPass, targets: [Int32], kernels: KernelTable,
  threadCount: Int, cancellation: CancellationFlag
) throws -> [Double] {
  let stage = OutputStage(
    reference: reference, candidate: candidate, kernels: kernels,
    vocabularySize: reference.model.dimensions.vocabularySize, targets: targets, extra: .none,
    cancellation: cancellation)
  try stage.run(threadCount: threadCount)
  let readings = stage.readings
  guard readings.allSatisfy(\.pair.isFinite) else {
    throw FormatError(
      file: reference.model.source.files.first ?? "", field: "logits",
      reason: .outOfRange(found: "a logit that is not finite", allowed: "finite logits"),
      advice: "its weights are damaged: 'ingot check' finds such numbers in an archive")
  }
  return readings.map(\.pair.divergence)
}

/// Bytes that `divergences` allocates.
package func divergencesByteCount(positionCount: Int, threadCount: Int) -> Int {
  OutputStage.byteCount(
    positionCount: positionCount, modelCount: 2, threadCount: threadCount, keptCounts: nil,
    lookupCount: 0)
}
