import Quantizers
import Threads

extension ReferenceModel {
  /// All logits of one sequence of tokens, for short ones.
  ///
  /// - Parameters:
  ///   - tokens: at least one.
  ///   - kernels: dequantize.
  ///   - threadCount: workers.
  ///   - tiling: for tests.
  /// - Returns: `[tokens.count, vocabularySize]`, row-major.
  /// - Throws: as `ForwardPass`.
  package func logits(
    of tokens: [Int32], kernels: KernelTable, threadCount: Int, tiling: ForwardTiling = .standard
  ) throws -> [Float] {
    let scratch = ForwardScratch(
      [self], tokenCount: tokens.count, contextLength: tokens.count, threadCount: threadCount,
      tiling: tiling)
    let pass = ForwardPass(
      self, scratch: scratch, kernels: kernels, cancellation: CancellationFlag())
    try pass.embed(tokens)
    for layer in 0..<dimensions.layerCount { try pass.runLayer(layer) }
    try pass.beginOutput(positions: Array(tokens.indices))
    var failure: (any Error)?
    let count = tokens.count * dimensions.vocabularySize
    let logits = [Float](unsafeUninitializedCapacity: count) { buffer, initializedCount in
      guard let start = buffer.baseAddress else { return }
      do {
        try pass.logits(ofVocabulary: 0..<dimensions.vocabularySize, worker: 0, into: start)
        initializedCount = count
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return logits
  }
}
