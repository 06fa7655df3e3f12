import ByteIO
import Planning
import Tensors

/// What types the tensors of a plan could get: what each one costs in bytes, and in harm.
///
/// Made once; `fit` then answers for any number of bytes.
package struct FitUnits: Sendable {
  private let names: [ExactString]
  private let types: [[TensorType]]
  private let choices: [[AllocationChoice]]
  /// Of the tensors whose type is given.
  private let givenHarm: Double

  /// - Parameters:
  ///   - plan: of the whole archive, with any types.
  ///   - candidates: types of the tensors to choose for, by their indices.
  ///   - given: types of tensors that are no choice, but whose harm counts; their bytes do not.
  ///   - measurements: of all of them.
  ///   - alignment: multiple of bytes that each tensor takes.
  package init(
    _ plan: ConversionPlan, candidates: [Int: [TensorType]], given: [Int: TensorType] = [:],
    measurements: FitMeasurements, alignment: Int
  ) {
    let free = candidates.keys.sorted()
    let prior = HarmPrior(layerCount: plan.layerCount)
    var types: [[TensorType]] = []
    var choices: [[AllocationChoice]] = []
    for index in free {
      let tensor = plan.tensors[index]
      var list: [TensorType] = []
      var costs: [AllocationChoice] = []
      for type in candidates[index] ?? [] {
        guard let byteCount = type.byteCount(weightCount: tensor.elementCount),
          let harm = measurements.harm(of: tensor, in: type, prior: prior)
        else { continue }
        costs.append(
          AllocationChoice(byteCount: Fit.padded(byteCount, to: alignment), harm: harm))
        list.append(type)
      }
      precondition(!costs.isEmpty, "no type for \(tensor.name)")
      types.append(list)
      choices.append(costs)
    }
    names = free.map { plan.tensors[$0].name }
    self.types = types
    self.choices = choices
    givenHarm = given.sorted { $0.key < $1.key }.reduce(0) { sum, entry in
      let tensor = plan.tensors[entry.key]
      guard let harm = measurements.harm(of: tensor, in: entry.value, prior: prior) else {
        preconditionFailure("\(tensor.name) was not measured in \(entry.value)")
      }
      return sum + harm
    }
  }

  /// Bytes of the smallest choice.
  package var smallestByteCount: Int {
    choices.reduce(0) { $0 + ($1.map(\.byteCount).min() ?? 0) }
  }

  /// Bytes of the smallest choice that does the least harm of all: with more nothing is gained.
  package var harmlessByteCount: Int {
    choices.reduce(0) { sum, costs in
      let best = costs.min { ($0.harm, $0.byteCount) < ($1.harm, $1.byteCount) }
      return sum + (best?.byteCount ?? 0)
    }
  }

  /// Chooses.
  ///
  /// - Parameters:
  ///   - limit: most bytes of these tensors, and of what is not to be chosen.
  ///   - fixedByteCount: of what is not to be chosen.
  /// - Returns: the types, and what they cost.
  /// - Throws: `TooSmall`.
  package func fit(limit: Int, fixedByteCount: Int) throws(Fit.TooSmall) -> Fit {
    let allocation: Allocation
    do throws(Allocation.TooSmall) {
      allocation = try Allocation(choices, byteCount: limit - fixedByteCount)
    } catch {
      throw Fit.TooSmall(
        smallest: UInt64(error.smallest + fixedByteCount), byteLimit: UInt64(max(0, limit)))
    }
    var chosen: [ExactString: TensorType] = [:]
    for ((name, list), choice) in zip(zip(names, types), allocation.choices) {
      chosen[name] = list[choice]
    }
    var fit = Fit(
      types: chosen, byteCount: UInt64(fixedByteCount + allocation.byteCount),
      byteLimit: UInt64(limit), expectedDivergence: allocation.harm, gap: allocation.gap,
      unitCount: choices.count)
    fit.addHarm(givenHarm)
    fit.givenDivergence = givenHarm
    return fit
  }
}

extension ConversionPlan {
  /// One more than the largest number of a layer in a name.
  package var layerCount: Int {
    let numbers = tensors.lazy.compactMap { tensor -> Int? in
      let parts = tensor.name.string.split(separator: ".", maxSplits: 2)
      return parts.count == 3 && parts[0] == "blk" ? Int(parts[1]) : nil
    }
    return (numbers.max() ?? 0) + 1
  }
}
