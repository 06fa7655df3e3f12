import Tensors

extension MemoryTensor {
  /// Types from the largest to the smallest that an overview tries.
  package static let overviewTypes: [TensorType] = [
    .bf16, .q8_0, .q6_K, .q5_K, .q4_K, .iq4_XS, .q3_K, .iq3_XXS, .q2_K, .iq2_XXS, .iq1_S,
  ]

  /// The tensor with its matrix in `type`, as `--pure` makes it.
  ///
  /// Rows that are no whole blocks become F16; vectors and routers stay as they are.
  package func retyped(_ type: TensorType) -> MemoryTensor {
    guard shape.rank > 1, name.hasSuffix(".weight"), !name.hasSuffix(".ffn_gate_inp.weight"),
      let count = shape.checkedElementCount
    else { return self }
    var result = self
    result.type = shape.columnCount % type.weightsPerBlock == 0 ? type : .f16
    result.byteCount = boundedByteCount(result.type, weightCount: count)
    return result
  }
}
