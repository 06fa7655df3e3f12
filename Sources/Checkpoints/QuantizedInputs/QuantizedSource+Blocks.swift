import ByteIO
import Tensors

/// A number that multiplies a whole tensor of blocks and stands beside it in the archive.
package struct BlockScale: Hashable, Sendable {
  /// Name in place of `weight`: `scale`, or `input_scale` for the tensor's activations.
  package var name: String
  package var value: Float
}

extension QuantizedSource {
  /// The GGML type whose blocks the tensor at a position is stored in; `nil` where it has to be
  /// decoded.
  package func blockType(at position: Int) -> TensorType? { blocks(at: position)?.type }

  private func blocks(at position: Int) -> CarriedBlocks? {
    switch contents[tensors[position].name] {
    case .rows(let weight as GridWeight): CarriedBlocks(weight)
    case .blocks(let blocks): blocks
    default: nil
    }
  }

  /// The same source with the blocks of some tensors in place of their weights.
  ///
  /// - Precondition: `blockType` knows all positions.
  package func carryingBlocks(at positions: [Int]) -> QuantizedSource {
    var result = self
    for position in positions {
      guard let blocks = blocks(at: position) else {
        preconditionFailure("no blocks in \(tensors[position].name)")
      }
      result.tensors[position] = blocks.logical
      result.contents[blocks.logical.name] = .blocks(blocks)
    }
    return result
  }

  /// What multiplies the blocks of some tensors: one entry per position, empty where it is 1.
  ///
  /// - Throws: `FormatError` for a scale that is no finite number.
  package func blockScales(at positions: [Int]) throws(FormatError) -> [[BlockScale]] {
    let byName = Dictionary(
      source.tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    var all: [[BlockScale]] = []
    for position in positions {
      guard let blocks = blocks(at: position), let global = blocks.global else {
        all.append([])
        continue
      }
      var scales = [BlockScale(name: "scale", value: global.factor)]
      let base = blocks.logical.name.string.dropLast("weight".count)
      if let tensor = byName[ExactString(base + "input_scale")] {
        scales.append(BlockScale(name: "input_scale", value: try source.readScalar(tensor)))
      } else if let tensor = byName[ExactString(base + "input_global_scale")] {
        scales.append(BlockScale(name: "input_scale", value: 1 / (try source.readScalar(tensor))))
      }
      if let bad = scales.first(where: { !$0.value.isFinite }) {
        throw source.error(
          blocks.codes,
          .outOfRange(found: "\(bad.name) \(bad.value)", allowed: "finite scales"))
      }
      all.append(scales.filter { $0.value != 1 })
    }
    return all
  }
}

extension ScaleGrid.Global {
  /// As a factor.
  fileprivate var factor: Float {
    switch self {
    case .multiply(let factor): factor
    case .divide(let divisor): 1 / divisor
    }
  }
}
