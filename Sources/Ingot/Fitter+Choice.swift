import Fitting
import GGUF

extension Fitter {
  /// Chooses types for a target from what was measured.
  func choose(_ measurements: FitMeasurements, for target: FitTarget) throws -> FittedRecipe {
    switch target {
    case .byteCount(let count):
      return try choose(measurements, fileByteCount: Int(clamping: count), for: target)
    case .bitsPerWeight(let bits):
      let chosen = candidates.keys.reduce(0) { $0 + base.plan.tensors[$1].byteCount }
      let units = FitUnits(
        base.plan, candidates: candidates, measurements: measurements, alignment: 1)
      return fitted(
        try fit(
          units, limit: Int(bits * Double(base.plan.weightCount) / 8),
          fixedByteCount: Int(base.plan.tensorByteCount) - chosen, for: target))
    case .memory(let memory): return try choose(measurements, for: memory, target)
    }
  }

  /// The number of files, or scales beside carried blocks, may follow from the types: what was chosen
  /// is laid out, and the limit lowered until that is small enough.
  private func choose(
    _ measurements: FitMeasurements, fileByteCount: Int, for target: FitTarget
  ) throws -> FittedRecipe {
    let units = fileUnits(measurements)
    var limit = fileByteCount
    while true {
      let result = fitted(
        try fit(units, limit: limit, fixedByteCount: fixedFileByteCount, for: target))
      let laidOut = try Converter(
        checkpoint: checkpoint, output: output, recipe: result.recipe, memoryLimit: memoryLimit)
      let over = Int(laidOut.plan.totalByteCount) - fileByteCount
      if over <= 0 { return result }
      limit -= over
    }
  }

  /// Choices with the bytes that they take in the file.
  func fileUnits(_ measurements: FitMeasurements) -> FitUnits {
    FitUnits(
      base.plan, candidates: candidates, measurements: measurements, alignment: fileAlignment)
  }

  var fileAlignment: Int {
    base.inputs.metadata["general.alignment"]?.int ?? GGUFFormat.defaultAlignment
  }

  /// Bytes of the file beside the tensors that types are chosen for.
  var fixedFileByteCount: Int {
    let chosen = candidates.keys.reduce(0) {
      $0 + Fit.padded(base.plan.tensors[$1].byteCount, to: fileAlignment)
    }
    return Int(base.plan.totalByteCount) - chosen
  }

  /// Refuses a target that no types fit before anything is measured.
  func checkTarget() throws {
    guard let target = options.target else { return }
    var measurements = FitMeasurements()
    for (index, types) in candidates {
      let place = SplitExperts.place(of: base.plan.tensors[index].name)
      var errors = measurements.errors[place.stack] ?? TypeErrors(signals: [], errors: [:])
      let count = max(errors.signals.count, place.expert + 1)
      errors.signals = Array(repeating: 1, count: count)
      for type in types + Array(errors.errors.keys) {
        errors.errors[type] = Array(repeating: 1 / type.bitsPerWeight, count: count)
      }
      measurements.errors[place.stack] = errors
    }
    if case .byteCount(let count) = target {
      // Laying out opens the input again, which one refusal is not worth.
      _ = try fit(
        fileUnits(measurements), limit: Int(clamping: count), fixedByteCount: fixedFileByteCount,
        for: target)
    } else {
      _ = try choose(measurements, for: target)
    }
  }

  private func fit(
    _ units: FitUnits, limit: Int, fixedByteCount: Int, for target: FitTarget
  ) throws -> Fit {
    do throws(Fit.TooSmall) {
      return try units.fit(limit: limit, fixedByteCount: fixedByteCount)
    } catch {
      throw FitTooSmall(
        target: target, smallest: error.smallest, byteLimit: error.byteLimit,
        weightCount: base.plan.weightCount)
    }
  }

  private func fitted(_ fit: Fit, memory: MemoryReport? = nil) -> FittedRecipe {
    var recipe = recipe
    recipe.types = fit.types
    // The last digits of a forward pass differ from run to run; those of a file must not.
    recipe.expectedDivergence =
      opened == nil ? nil : Double(significant(fit.expectedDivergence, 3))
    recipe.typesHaveImportance = recipe.importanceFile != nil
    // What options decided belongs to the recipe, too.
    for tensor in base.plan.tensors where tensor.isForced {
      recipe.types[tensor.name] = tensor.type
    }
    return FittedRecipe(
      recipe: recipe, fit: fit, plan: base.plan, isMeasured: opened != nil, memory: memory)
  }

  // MARK: Memory

  /// Tensors that stay with the processor do not count: they get the largest type up to Q8_0.
  private static let hostType = TensorType.q8_0

  private func choose(
    _ measurements: FitMeasurements, for target: MemoryTarget, _ asked: FitTarget
  ) throws -> FittedRecipe {
    let plan = base.plan
    var tensors = plan.modelTensors.map { MemoryTensor($0) }
    let model = try base.memoryDimensions()
    let memory = MemoryFit(model, hardware: target.hardware)
    let counted = Set(memory.limited(tensors).map(\.name))
    var limited: [Int: [TensorType]] = [:]
    var hosted: [ExactString: TensorType] = [:]
    for (index, types) in candidates {
      let tensor = plan.tensors[index]
      if counted.contains(tensor.name.string) {
        limited[index] = types
      } else {
        let small = types.filter { $0.bitsPerWeight <= Self.hostType.bitsPerWeight }
        hosted[tensor.name] =
          small.max { $0.bitsPerWeight < $1.bitsPerWeight }
          ?? types.min { $0.bitsPerWeight < $1.bitsPerWeight }
      }
    }
    let fixed = plan.modelTensors.enumerated().reduce(0) { sum, entry in
      let isFixed = limited[entry.offset] == nil && counted.contains(entry.element.name.string)
      return isFixed ? sum + entry.element.byteCount : sum
    }
    let units = FitUnits(
      plan, candidates: limited, measurements: measurements, alignment: 1)
    var limit = memory.weightLimit(tensors, target.run)
    // On several devices the types that are chosen shift the shares.
    for _ in 0..<16 {
      var fit: Fit
      do throws(Fit.TooSmall) {
        fit = try units.fit(limit: limit, fixedByteCount: fixed)
      } catch {
        throw tooSmall(memory, target, asked, tensors, limited, error)
      }
      fit.types.merge(hosted) { $1 }
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
    return FitTooSmall(
      target: asked, smallest: error.smallest, byteLimit: error.byteLimit,
      weightCount: base.plan.weightCount,
      advice: ways.isEmpty
        ? "neither a smaller context nor more devices would do"
        : "with the smallest types this would do: " + ways.joined(separator: ", or "))
  }
}

/// No choice of types is within the target.
public struct FitTooSmall: Error, Hashable, Sendable, CustomStringConvertible {
  public var target: FitTarget
  /// Bytes of the smallest choice that is possible with the types allowed.
  public var smallest: UInt64
  /// Bytes that the target leaves for the same tensors.
  public var byteLimit: UInt64
  public var weightCount: UInt64
  public var advice = "allow smaller types (--min-type, --imatrix FILE), or more bytes"

  public var description: String {
    let bits = Double(smallest) * 8 / Double(max(1, weightCount))
    return """
      nothing would \(target.title): with the types allowed the smallest weights have \(smallest) \
      bytes, \(fixed(bits, 2)) bits per weight, and \(byteLimit) bytes are left for them; \(advice)
      """
  }
}
