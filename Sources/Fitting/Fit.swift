import ByteIO
import Planning
import Tensors

/// How large an archive may become.
public enum FitTarget: Hashable, Sendable {
  /// Bytes of the whole file, never exceeded.
  case byteCount(UInt64)
  /// 8 × tensor bytes / weights, over all tensors.
  case bitsPerWeight(Double)
  /// What runs on this hardware.
  case memory(MemoryTarget)

  /// For messages, and for an archive's metadata.
  public var title: String {
    switch self {
    case .byteCount(let count): "fit to \(count) bytes"
    case .bitsPerWeight(let bits): "fit to \(bits) bits per weight"
    case .memory(let memory): "fit to \(memory.title)"
    }
  }
}

/// Types chosen for the tensors of a plan, so that they do the least harm within a size.
public struct Fit: Sendable {
  /// By tensor name in the archive.
  package var types: [ExactString: TensorType]
  /// Bytes of the file, of the tensors where bits per weight were asked for, or of those tensors that
  /// lie in the memory that is to be fitted.
  package var byteCount: UInt64
  package var byteLimit: UInt64
  /// Sum of the expected divergences of all chosen types, in nats.
  package var expectedDivergence: Double
  /// How much of it a better choice could save at most, 0 to 1.
  package var gap: Double
  package var unitCount: Int

  /// No choice is within the limit.
  package struct TooSmall: Error, Hashable, Sendable {
    /// Bytes of the smallest choice that is possible with the types allowed.
    package var smallest: UInt64
    package var byteLimit: UInt64
  }

  /// Tensors that a choice is made for: matrices whose type no option decided.
  package static func freeTensors(_ plan: ConversionPlan) -> [Int] {
    plan.tensors.indices.filter { plan.tensors[$0].isFree }
  }

  /// Chooses.
  ///
  /// - Parameters:
  ///   - plan: of the whole archive, with any types.
  ///   - candidates: types of the tensors to choose for, by their indices.
  ///   - measurements: of all of them.
  ///   - limit: most bytes of these tensors, and of what is not to be chosen.
  ///   - fixedByteCount: of what is not to be chosen.
  ///   - alignment: multiple of bytes that each tensor takes.
  /// - Throws: `TooSmall`.
  package init(
    _ plan: ConversionPlan, candidates: [Int: [TensorType]], measurements: FitMeasurements,
    limit: Int, fixedByteCount: Int, alignment: Int
  ) throws(TooSmall) {
    var units: [[AllocationChoice]] = []
    var types: [[TensorType]] = []
    let free = candidates.keys.sorted()
    let prior = HarmPrior(layerCount: plan.layerCount)
    for index in free {
      let tensor = plan.tensors[index]
      let stack = SplitExperts.stack(of: tensor.name)
      var choices: [AllocationChoice] = []
      var list: [TensorType] = []
      for type in candidates[index] ?? [] {
        guard let byteCount = type.byteCount(weightCount: tensor.elementCount),
          let harm = measurements.harm(
            stack?.name ?? tensor.name, expert: stack?.expert, type: type, prior: prior)
        else { continue }
        choices.append(
          AllocationChoice(byteCount: Self.padded(byteCount, to: alignment), harm: harm))
        list.append(type)
      }
      precondition(!choices.isEmpty, "no type for \(tensor.name)")
      units.append(choices)
      types.append(list)
    }
    let allocation: Allocation
    do throws(Allocation.TooSmall) {
      allocation = try Allocation(units, byteCount: limit - fixedByteCount)
    } catch {
      throw TooSmall(
        smallest: UInt64(error.smallest + fixedByteCount), byteLimit: UInt64(max(0, limit)))
    }
    self.types = [:]
    for ((index, list), choice) in zip(zip(free, types), allocation.choices) {
      self.types[plan.tensors[index].name] = list[choice]
    }
    byteCount = UInt64(fixedByteCount + allocation.byteCount)
    byteLimit = UInt64(limit)
    expectedDivergence = allocation.harm
    gap = allocation.gap
    unitCount = units.count
  }

  /// Bytes of a tensor in the file.
  package static func padded(_ byteCount: Int, to alignment: Int) -> Int {
    (byteCount + alignment - 1) / alignment * alignment
  }
}

extension ConversionPlan {
  /// One more than the largest number of a layer in a name.
  fileprivate var layerCount: Int {
    let numbers = tensors.lazy.compactMap { tensor -> Int? in
      let parts = tensor.name.string.split(separator: ".", maxSplits: 2)
      return parts.count == 3 && parts[0] == "blk" ? Int(parts[1]) : nil
    }
    return (numbers.max() ?? 0) + 1
  }
}
