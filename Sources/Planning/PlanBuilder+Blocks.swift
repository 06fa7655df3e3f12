import ByteIO
import Checkpoints
import Tensors

extension PlanBuilder {
  /// Has a quantized release's own blocks written where a tensor's type is theirs.
  ///
  /// What multiplies a tensor of blocks becomes a tensor beside it: `X.scale`, `X.input_scale`.
  /// The rules have been asked before, so these do not count.
  mutating func carryBlocks(
    _ assignments: inout [TypeAssignment], _ notes: inout [String]
  ) throws(FormatError) {
    guard let source = model.source as? QuantizedSource else { return }
    var carried: [(tensor: Int, position: Int)] = []
    for (index, tensor) in model.tensors.enumerated()
    where tensor.blockType == assignments[index].type {
      if case .input(let position) = tensor.source { carried.append((index, position)) }
    }
    guard !carried.isEmpty else { return }
    let scales = try source.blockScales(at: carried.map(\.position))
    model.source = source.carryingBlocks(at: carried.map(\.position))
    var counts: [TensorType: Int] = [:]
    for ((index, _), scales) in zip(carried, scales) {
      let type = assignments[index].type
      counts[type, default: 0] += 1
      model.tensors[index].storedType = type
      let base = model.tensors[index].name.string.dropLast("weight".count)
      for scale in scales {
        model.tensors.append(
          InputModel.Tensor(
            name: ExactString(base + scale.name), shape: Shape([1]),
            source: .generated(model.generated.count), sourceName: nil, storedType: .f32,
            keptType: .f32, transform: .identity))
        model.generated.append([scale.value])
        assignments.append(TypeAssignment(type: .f32, isQuantizable: false))
      }
    }
    for (type, count) in counts.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      notes.append("not dequantized after all: \(count) tensors keep their blocks, as \(type)")
    }
  }
}
