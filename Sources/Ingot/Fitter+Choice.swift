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
        base.plan, candidates: candidates, given: given, measurements: measurements, alignment: 1)
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
      let chosen: Fit
      do {
        chosen = try fit(units, limit: limit, fixedByteCount: fixedFileByteCount, for: target)
      } catch var error as FitTooSmall {
        // What the limit was lowered by comes on top of the smallest choice, too.
        error.smallest += UInt64(fileByteCount - limit)
        error.byteLimit += UInt64(fileByteCount - limit)
        throw error
      }
      let result = fitted(chosen)
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
      base.plan, candidates: candidates, given: given, measurements: measurements,
      alignment: fileAlignment)
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
    for (index, types) in weighed {
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
        weightCount: base.plan.weightCount,
        advice: (smallerTypes() + ["allow more bytes"]).joined(separator: ", or "))
    }
  }

  func fitted(_ fit: Fit, memory: MemoryReport? = nil) -> FittedRecipe {
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
}
