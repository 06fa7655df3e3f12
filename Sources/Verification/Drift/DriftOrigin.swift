import ByteIO
import Planning

/// Where the hidden states begin to be apart by more than the tensors explain.
///
/// Source: section "Layers" of formats/verification/README.md
enum DriftOrigin {
  /// How much more a layer may add than the largest error of its tensors.
  private static let factor = 2.0
  /// Differences below this are rounding.
  private static let floor = 1e-3

  /// The layers, the one marked in which the drift begins, if there is one.
  ///
  /// A layer adds the square root of what the square of the relative error grows by. The drift
  /// begins in the first layer that has a tensor with a finding, or that adds more than its tensors
  /// explain.
  static func marked(_ layers: [LayerDrift], tensors: [TensorError]) -> [LayerDrift] {
    guard !tensors.isEmpty else { return layers }
    var errors: [Int: Double] = [:]
    var faults = Set<Int>()
    for tensor in tensors {
      let layer =
        layerNumber(of: ExactString(tensor.name))
        ?? (tensor.name == "token_embd.weight" ? -1 : Int.max)
      errors[layer] = max(errors[layer] ?? 0, tensor.relativeRMSError)
      if tensor.finding != nil { faults.insert(layer) }
    }
    var layers = layers
    var before = 0.0
    for index in layers.indices {
      let error = layers[index].relativeRMSError
      let added = max(0, error * error - before * before).squareRoot()
      let explained = max(factor * (errors[layers[index].layer] ?? 0), floor)
      if faults.contains(layers[index].layer) || added > explained {
        layers[index].isWhereDriftBegins = true
        break
      }
      before = error
    }
    return layers
  }
}
