import Tensors

/// Memory when every device has a part of each matrix (`-sm tensor`).
///
/// Matrices and heads of the cache are divided; vectors, routers and shared experts are on every
/// device, and so is a whole compute buffer.
enum TensorSplit {
  /// What one of `count` equal devices holds of a tensor.
  static func part(_ tensor: MemoryTensor, of count: Int) -> MemoryTensor {
    guard isDivided(tensor) else { return tensor }
    var part = tensor
    part.byteCount = padded((tensor.byteCount + count - 1) / count, to: tensor.type.bytesPerBlock)
    return part
  }

  private static func isDivided(_ tensor: MemoryTensor) -> Bool {
    guard tensor.shape.rank > 1 else { return false }
    if tensor.name == "output.weight" { return true }
    return tensor.layer != nil && !tensor.name.hasSuffix(".ffn_gate_inp.weight")
      && !tensor.name.hasSuffix("_shexp.weight")
  }

  /// The model with the heads of keys and values that one of `count` devices holds.
  static func part(_ model: MemoryDimensions, of count: Int) -> MemoryDimensions {
    var part = model
    for index in part.layers.indices {
      part.layers[index].keyHeadCount = (model.layers[index].keyHeadCount + count - 1) / count
    }
    return part
  }
}
