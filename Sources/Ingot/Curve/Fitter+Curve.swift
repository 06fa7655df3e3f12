import Fitting
import ForwardRuns
import Quantizers
import ReferenceModel
import Verification

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

extension Fitter {
  /// Sizes that a curve has, unless choices of types coincide.
  package static let curvePointCount = 25

  /// Chooses types for sizes from the smallest to the one with which nothing more is gained.
  ///
  /// - Parameters:
  ///   - measuredCount: of the sizes, how many are measured on the text, too: the model goes through
  ///     it with all of the types chosen for one, which nothing is written for.
  ///   - cancellation: stops it.
  ///   - progress: gets what is done.
  /// - Returns: the curve.
  /// - Throws: as `run`; `UsageError` for a count without a text.
  public func curve(
    measuring measuredCount: Int = 0, cancellation: CancellationFlag = CancellationFlag(),
    progress: (@Sendable (RunProgress) -> Void)? = nil
  ) throws -> FitCurve {
    guard (0...Self.curvePointCount).contains(measuredCount) else {
      throw UsageError(
        "--measure-points \(measuredCount): takes 1 to \(Self.curvePointCount)")
    }
    if measuredCount > 0, opened == nil {
      throw UsageError("--measure-points needs a --text to measure on")
    }
    let mixes = try mixPlans()
    var others: [ExactString: [TensorType]] = [:]
    for tensor in mixes.flatMap(\.plan.tensors) where tensor.canLose {
      let stack = SplitExperts.place(of: tensor.name).stack
      if tensor.hasWhatItNeeds(for: tensor.type), others[stack]?.contains(tensor.type) != true {
        others[stack, default: []].append(tensor.type)
      }
    }
    let measurements = try measure(others, cancellation: cancellation, progress: progress)
    let units = fileUnits(measurements)
    let fits = sizes(units).compactMap {
      try? units.fit(limit: $0, fixedByteCount: fixedFileByteCount)
    }
    var distinct: [Fit] = []
    for fit in fits where fit.byteCount != distinct.last?.byteCount { distinct.append(fit) }
    var curve = FitCurve(
      model: OutputFile.name(of: checkpoint), points: distinct.map(point),
      mixes: mixes.compactMap { mix($0.name, $0.plan, measurements, units) }
        .sorted { ($0.byteCount, $0.name) < ($1.byteCount, $1.name) },
      isMeasured: opened != nil)
    if let target = options.target {
      let fitted = try choose(measurements, for: target)
      let byteCount = fileByteCount(fitted.recipe.types)
      // What is left of a memory, or of bits per weight, the file could have, too.
      let spare = fitted.fit.byteLimit - min(fitted.fit.byteLimit, fitted.fit.byteCount)
      let limit = if case .byteCount(let count) = target { count } else { byteCount + spare }
      curve.budget = FitCurve.Budget(
        name: target.name, byteCount: byteCount, byteLimit: limit,
        expectedDivergence: fitted.fit.expectedDivergence)
    }
    do {
      try measure(
        &curve, distinct, count: measuredCount, cancellation: cancellation, progress: progress)
    } catch is ForwardCancelled {
      throw interrupted(measurements, isMeasuringPoints: true)
    }
    return curve
  }

  // MARK: Sizes

  /// Evenly spaced in the logarithm: there are as many between 2 and 4 bits as between 4 and 8.
  private func sizes(_ units: FitUnits) -> [Int] {
    let smallest = fixedFileByteCount + units.smallestByteCount
    let largest = fixedFileByteCount + units.harmlessByteCount
    guard largest > smallest else { return [smallest] }
    let ratio = log(Double(largest) / Double(smallest))
    let last = Self.curvePointCount - 1
    return (0...last).map {
      switch $0 {
      case 0: smallest
      case last: largest
      default: Int(Double(smallest) * exp(ratio * Double($0) / Double(last)))
      }
    }
  }

  private func fileByteCount(_ types: [ExactString: TensorType]) -> UInt64 {
    let changes = candidates.keys.reduce(0) { sum, index in
      let tensor = base.plan.tensors[index]
      let byteCount = types[tensor.name]?.byteCount(weightCount: tensor.elementCount)
      return sum + Fit.padded(byteCount ?? tensor.byteCount, to: fileAlignment)
    }
    return UInt64(fixedFileByteCount + changes)
  }

  private func point(_ fit: Fit) -> FitCurve.Point {
    let totals = TypeTotal.list(
      base.plan.modelTensors.map { tensor in
        let type = fit.types[tensor.name] ?? tensor.type
        return (
          type, UInt64(tensor.elementCount),
          UInt64(type.byteCount(weightCount: tensor.elementCount) ?? tensor.byteCount)
        )
      })
    return FitCurve.Point(
      byteCount: fit.byteCount,
      bitsPerWeight: Double(totals.reduce(0) { $0 + $1.byteCount }) * 8
        / Double(max(1, base.plan.weightCount)),
      expectedDivergence: fit.expectedDivergence, types: totals)
  }

  // MARK: Stock mixes

  /// All but those for models that were trained for a type, and those that quantize nothing.
  private static let mixNames = StockMix.all.filter {
    $0.defaultType.isBlockType && !$0.isForTrainedTypes
  }.map(\.name)

  private func mixPlans() throws -> [(name: String, plan: ConversionPlan)] {
    var recipe = recipe
    recipe.expertStorage = .stacked
    // Nobody says of a stock mix what it costs.
    recipe.expectedDivergence = nil
    let plans = try Converter.statingUsage {
      try makePlans(
        checkpoint: checkpoint, output: output, recipe: recipe, mixes: Self.mixNames,
        memoryLimit: memoryLimit, version: ingotVersion)
    }
    return zip(Self.mixNames, plans).compactMap { name, plan in plan.map { (name, $0) } }
  }

  /// - Returns: `nil` for a mix with a type that was not measured for its tensor.
  private func mix(
    _ name: String, _ plan: ConversionPlan, _ measurements: FitMeasurements, _ units: FitUnits
  ) -> FitCurve.Mix? {
    let prior = HarmPrior(layerCount: plan.layerCount)
    var sum = 0.0
    for tensor in plan.tensors where tensor.canLose {
      guard let harm = measurements.harm(of: tensor, in: tensor.type, prior: prior) else {
        return nil
      }
      sum += harm
    }
    // Headers differ by names and titles, which types should not pay for.
    let limit =
      Int(base.plan.totalByteCount) - matrixByteCount(base.plan) + matrixByteCount(plan)
    let chosen = try? units.fit(limit: limit, fixedByteCount: fixedFileByteCount)
    return FitCurve.Mix(
      name: name, byteCount: plan.totalByteCount, bitsPerWeight: plan.bitsPerWeight,
      expectedDivergence: sum, chosenDivergence: chosen?.expectedDivergence)
  }

  /// Bytes in the file of all matrices, whoever decides over their types.
  private func matrixByteCount(_ plan: ConversionPlan) -> Int {
    plan.tensors.lazy.filter { $0.isFree || $0.isForced }.reduce(0) {
      $0 + Fit.padded($1.byteCount, to: fileAlignment)
    }
  }

  // MARK: Measuring

  /// Measures points that are spread evenly over those that lose anything.
  private func measure(
    _ curve: inout FitCurve, _ fits: [Fit], count: Int, cancellation: CancellationFlag,
    progress: (@Sendable (RunProgress) -> Void)?
  ) throws {
    guard count > 0, let (opened, text) = opened else { return }
    let losing = fits.indices.filter { fits[$0].expectedDivergence > 0 }
    var wanted: [Int] = []
    for number in 0..<min(count, losing.count) {
      wanted.append(losing[(2 * number + 1) * losing.count / (2 * min(count, losing.count))])
    }
    let run = VariantRun(
      model: opened.model, text: text, kernels: try KernelTable.choice.get(),
      threadCount: threadCount, memoryLimit: memoryLimit, cancellation: cancellation)
    let variants = wanted.map {
      ModelVariant(
        firstLayer: -1, substitution: substitution(fits[$0].types, of: opened.model))
    }
    try Converter.statingUsage {
      try run.run(variants, progress: progress) { round, divergences in
        for (index, values) in zip(wanted[round], divergences) {
          curve.points[index].measuredDivergence = Statistics.mean(
            values, chunkCount: text.chunkCount)
        }
      }
    }
  }

  /// The weights of an archive with these types, without writing it.
  private func substitution(
    _ types: [ExactString: TensorType], of model: ReferenceModel
  ) -> WeightSubstitution {
    // By stack, and in a stack by expert.
    var stored: [ExactString: [(expert: Int, type: TensorType)]] = [:]
    let losing = Set(
      base.plan.tensors.lazy.filter(\.canLose).map { SplitExperts.place(of: $0.name).stack })
    for tensor in base.plan.tensors where tensor.isFree || tensor.isForced {
      let place = SplitExperts.place(of: tensor.name)
      stored[place.stack, default: []].append(
        // What loses nothing by its type stays as it is.
        (place.expert, types[tensor.name] ?? (tensor.losesByOption ? tensor.type : .f32)))
    }
    let choices = model.inputLengths.keys.compactMap { role -> WeightSubstitution.Choice? in
      let name = ExactString(role.archiveName)
      guard losing.contains(name), let list = stored[name]?.sorted(by: { $0.expert < $1.expert })
      else { return nil }
      return WeightSubstitution.Choice(
        role: role, types: list.map(\.type), importance: usedImportance[name])
    }
    return WeightSubstitution(choices, of: model)
  }
}

extension ConversionPlan.Tensor {
  /// Whether the tensor may lose something by its type, chosen or given.
  fileprivate var canLose: Bool { isFree || losesByOption }
}
