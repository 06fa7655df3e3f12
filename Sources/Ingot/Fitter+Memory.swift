import Fitting
import Planning

extension Fitter {
  /// Chooses types for a run on some hardware.
  func choose(
    _ measurements: FitMeasurements, for target: MemoryTarget, _ asked: FitTarget
  ) throws -> FittedRecipe {
    let plan = base.plan
    var tensors = plan.modelTensors.map { MemoryTensor($0) }
    let model = try base.memoryDimensions()
    let memory = MemoryFit(model, hardware: target.hardware)
    let counted = Set(memory.limited(tensors).map(\.name))
    var limited: [Int: [TensorType]] = [:]
    var hosted: [Int: [TensorType]] = [:]
    for (index, types) in candidates {
      if counted.contains(plan.tensors[index].name.string) {
        limited[index] = types
      } else {
        hosted[index] = types
      }
    }
    let fixed = plan.modelTensors.enumerated().reduce(0) { sum, entry in
      let isFixed = limited[entry.offset] == nil && counted.contains(entry.element.name.string)
      return isFixed ? sum + entry.element.byteCount : sum
    }
    let units = FitUnits(
      plan, candidates: limited, given: given, measurements: measurements, alignment: 1)
    var limit = memory.weightLimit(tensors, target.run)
    // On several devices the types that are chosen shift the shares.
    for _ in 0..<16 {
      var fit: Fit
      do throws(Fit.TooSmall) {
        fit = try units.fit(limit: limit, fixedByteCount: fixed)
      } catch {
        throw tooSmall(memory, target, asked, tensors, limited, error)
      }
      addHosted(hosted, measurements, to: &fit)
      tensors = plan.modelTensors.map { tensor in
        var planned = MemoryTensor(tensor)
        if let type = fit.types[tensor.name] {
          planned.type = type
          planned.byteCount = type.byteCount(weightCount: tensor.elementCount) ?? 0
        }
        return planned
      }
      let estimate = memory.estimate(tensors, target.run)
      if estimate.fits(target.hardware) {
        return fitted(fit, memory: MemoryReport(memory, tensors: tensors, run: target.run))
      }
      let over = estimate.limited.map { $0.total - target.hardware.deviceByteCount }.max() ?? 0
      limit -= max(1 << 10, over * target.hardware.deviceCount)
    }
    throw FitTooSmall(
      target: asked, smallest: UInt64(max(0, limit)), byteLimit: UInt64(max(0, limit)),
      weightCount: plan.weightCount, advice: "take more devices or a smaller context")
  }

  /// What tensors that stay with the processor may add to what all others cost, together.
  private static let hostedShare = 0.01

  /// Gives tensors that stay with the processor, the embedding in practice, their types.
  ///
  /// Its memory is plenty, but not free: the smallest type that hardly adds to what all others cost,
  /// and where those cost nothing the one that costs least.
  private func addHosted(
    _ hosted: [Int: [TensorType]], _ measurements: FitMeasurements, to fit: inout Fit
  ) {
    let prior = HarmPrior(layerCount: base.plan.layerCount)
    let limit = fit.expectedDivergence * Self.hostedShare / Double(max(1, hosted.count))
    for (index, types) in hosted.sorted(by: { $0.key < $1.key }) {
      let tensor = base.plan.tensors[index]
      let costs = types.compactMap { type in
        measurements.harm(of: tensor, in: type, prior: prior).map { harm in
          (type: type, harm: harm, bits: type.bitsPerWeight)
        }
      }
      let small = costs.filter { $0.harm <= limit }.min { ($0.bits, $0.harm) < ($1.bits, $1.harm) }
      guard let best = small ?? costs.min(by: { ($0.harm, $0.bits) < ($1.harm, $1.bits) }) else {
        continue
      }
      fit.types[tensor.name] = best.type
      fit.addHarm(best.harm)
      fit.unitCount += 1
    }
  }

  /// What would fit: the smallest types with less context, or on more devices.
  private func tooSmall(
    _ memory: MemoryFit, _ target: MemoryTarget, _ asked: FitTarget, _ tensors: [MemoryTensor],
    _ candidates: [Int: [TensorType]], _ error: Fit.TooSmall
  ) -> FitTooSmall {
    var smallest: [String: TensorType] = [:]
    for (index, types) in candidates {
      smallest[base.plan.tensors[index].name.string] = types.min {
        $0.bitsPerWeight < $1.bitsPerWeight
      }
    }
    let least = tensors.map { tensor in
      var result = tensor
      if let type = smallest[tensor.name], let count = tensor.shape.checkedElementCount {
        result.type = type
        result.byteCount = type.byteCount(weightCount: count) ?? result.byteCount
      }
      return result
    }
    var ways: [String] = []
    if let context = memory.largestContext(least, target.run) {
      ways.append("a context of \(context)")
    }
    if let count = memory.deviceCount(least, target.run), count > target.hardware.deviceCount {
      ways.append("\(target.hardware.name)x\(count)")
    }
    // What a device needs with nothing on it.
    let empty = memory.estimate([], target.run).limited.max { $0.total < $1.total }
    let isFull = empty.map { $0.total >= target.hardware.deviceByteCount } ?? false
    let smaller = isFull ? [] : smallerTypes(of: Set(memory.limited(tensors).map(\.name)))
    var advice: [String] = []
    if !ways.isEmpty {
      advice.append("with the smallest types this would do: " + ways.joined(separator: ", or "))
    } else if isFull {
      advice.append("take more memory")
    } else if smaller.isEmpty {
      advice.append("neither a smaller context nor more devices would do")
    }
    if !smaller.isEmpty { advice.append(smaller.joined(separator: ", or ")) }
    var result = FitTooSmall(
      target: asked, smallest: error.smallest, byteLimit: error.byteLimit,
      weightCount: base.plan.weightCount, advice: advice.joined(separator: "; "))
    if isFull, let empty {
      result.besides =
        "of a device's memory \(mebibyteText(empty.reserve)) MiB are in reserve, the cache takes "
        + "\(mebibyteText(empty.cache)) MiB and buffers \(mebibyteText(empty.compute)) MiB"
    }
    return result
  }
}
