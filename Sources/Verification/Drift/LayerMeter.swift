import Quantizers

/// Sums up how far the hidden states of two models are apart, layer by layer.
package struct LayerMeter: Sendable {
  private struct Sums: Sendable {
    var cosines = 0.0
    var positionCount = 0
    var products = VectorPair()
  }
  /// The embedding's first, then those of each layer.
  private var sums: [Sums]
  private let kernels: KernelTable

  package init(layerCount: Int, kernels: KernelTable) {
    sums = Array(repeating: Sums(), count: layerCount + 1)
    self.kernels = kernels
  }

  /// Adds the states of some positions after a layer.
  ///
  /// - Parameters:
  ///   - layer: −1 for the embedding.
  ///   - reference: `[positions, width]`.
  ///   - candidate: the same.
  ///   - width: entries of a hidden state.
  package mutating func add(
    layer: Int, reference: UnsafeBufferPointer<Float>, candidate: UnsafeBufferPointer<Float>,
    width: Int
  ) {
    precondition(reference.count == candidate.count && reference.count % width == 0)
    guard let a = candidate.baseAddress, let b = reference.baseAddress else { return }
    for start in stride(from: 0, to: reference.count, by: width) {
      var products = VectorPair()
      kernels.compare(a + start, b + start, count: width, into: &products)
      sums[layer + 1].cosines += products.cosine
      sums[layer + 1].positionCount += 1
      sums[layer + 1].products += products
    }
  }

  /// One entry for the embedding and each layer, without a mark where the drift begins.
  package var layers: [LayerDrift] {
    sums.enumerated().compactMap { index, sums in
      guard sums.positionCount > 0 else { return nil }
      return LayerDrift(
        layer: index - 1, cosine: sums.cosines / Double(sums.positionCount),
        relativeRMSError: sums.products.relativeError)
    }
  }
}
