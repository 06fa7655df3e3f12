import Fitting
import ForwardRuns
import Quantizers
import ReferenceModel

extension Fitter {
  /// Measures what is not known yet.
  ///
  /// `others` are types, by tensor or stack, that are no candidates but to be known too, also of
  /// tensors that no type is chosen for.
  func measure(
    _ others: [ExactString: [TensorType]] = [:], cancellation: CancellationFlag,
    progress: (@Sendable (RunProgress) -> Void)?
  ) throws -> FitMeasurements {
    let kernels = try Converter.statingUsage { try KernelTable.choice.get() }
    var measurements = known
    var wanted: [ExactString: [TensorType]] = [:]
    do {
      try measureErrors(&measurements, others, kernels, cancellation, progress)
      try checkGiven(measurements)
      wanted = wantedProbes(measurements, others)
      try measureDivergences(&measurements, wanted, kernels, cancellation, progress)
    } catch is ForwardCancelled {
      throw interrupted(measurements)
    } catch is ConversionCancelled {
      throw interrupted(measurements)
    }
    try base.inputs.source.checkUnchanged()
    // Of what a file has besides, nothing may depend.
    for (name, known) in measurements.divergences {
      measurements.divergences[name] = known.filter { wanted[name]?.contains($0.key) == true }
    }
    return measurements
  }

  /// Refuses types that options gave and that cannot hold the weights.
  private func checkGiven(_ measurements: FitMeasurements) throws(UsageError) {
    for (index, type) in given.sorted(by: { $0.key < $1.key }) {
      let tensor = base.plan.tensors[index]
      let stack = SplitExperts.stack(of: tensor.name)
      let errors = measurements.errors[stack?.name ?? tensor.name]
      let error = stack.map { errors?.errors[type]?[$0.expert] } ?? errors?.error(type)
      if let error, error >= TypeErrorMeasurement.hopelessError {
        throw UsageError(
          "\(type.name) cannot hold the weights of tensor \(tensor.name), which are too large for it: "
            + "give it another type")
      }
    }
  }

  /// `isMeasuringPoints`: everything was measured that types are chosen by.
  func interrupted(_ measurements: FitMeasurements, isMeasuringPoints: Bool = false)
    -> FitInterrupted
  {
    let isKept = options.measurementsFile != nil && !measurements.errors.isEmpty
    return FitInterrupted(
      measurementsFile: isKept ? options.measurementsFile : nil,
      isWanted: options.measurementsFile != nil, isMeasuringPoints: isMeasuringPoints)
  }

  private func keep(_ measurements: FitMeasurements) throws(OutputError) {
    guard let path = options.measurementsFile else { return }
    try measurements.write(path, run: run)
  }

  private func measureErrors(
    _ result: inout FitMeasurements, _ others: [ExactString: [TensorType]],
    _ kernels: KernelTable, _ cancellation: CancellationFlag,
    _ progress: (@Sendable (RunProgress) -> Void)?
  ) throws {
    // All experts of a stack in the same types, also those whose type is not to be chosen.
    var types: [ExactString: [TensorType]] = [:]
    let weighed = weighed
    for (index, tensor) in base.plan.tensors.enumerated() {
      let stack = SplitExperts.place(of: tensor.name).stack
      let own = weighed[index].map { $0 + probes(of: index) } ?? []
      let other = others[stack].map { $0 + probes(of: index, others: $0) } ?? []
      for type in own + other where types[stack]?.contains(type) != true {
        types[stack, default: []].append(type)
      }
    }
    // Experts that lie singly in the order in which they would be stacked.
    var places = base.plan.tensors.indices.compactMap {
      index -> (index: Int, types: [TensorType], place: (stack: ExactString, expert: Int))? in
      let place = SplitExperts.place(of: base.plan.tensors[index].name)
      return types[place.stack].map { (index, $0, place) }
    }.sorted { ($0.place.stack, $0.place.expert) < ($1.place.stack, $1.place.expert) }
    let isComplete = places.allSatisfy { entry in
      guard let errors = result.errors[entry.place.stack] else { return false }
      return entry.place.expert < errors.signals.count
        && entry.types.allSatisfy { errors.errors[$0] != nil }
    }
    if isComplete { return }
    // What an earlier run found stays known, whatever the order of runs.
    for (index, _, place) in places where place.expert == 0 {
      for type in (result.errors[place.stack]?.errors ?? [:]).keys.sorted(by: {
        $0.rawValue < $1.rawValue
      }) where types[place.stack]?.contains(type) != true && canMeasure(index, type) {
        types[place.stack, default: []].append(type)
      }
    }
    places = places.map { ($0.index, types[$0.place.stack] ?? $0.types, $0.place) }
    let measured = try TypeErrorMeasurement(
      plan: base.plan, inputs: base.inputs, kernels: kernels, threadCount: threadCount,
      memoryLimit: memoryLimit, cancellation: cancellation
    ).run(places.map { ($0.index, $0.types) }) { progress?(RunProgress(tensors: $0)) }
    for entry in places { result.errors[entry.place.stack] = nil }
    for (entry, errors) in zip(places, measured) { result.add(errors, to: entry.place) }
    try keep(result)
  }

  /// Whether a type that a file names can be made of a tensor.
  private func canMeasure(_ index: Int, _ type: TensorType) -> Bool {
    let tensor = base.plan.tensors[index]
    return KernelTable.scalar.canQuantize(type) && KernelTable.scalar.canDequantize(type)
      && tensor.columnCount % type.weightsPerBlock == 0
      && tensor.hasWhatItNeeds(for: type)
  }

  /// What the plan takes of the importance file: entries of another length are none.
  var usedImportance: [ExactString: [Float]] {
    let names = Set(base.plan.tensors.compactMap(\.importance))
    return base.inputs.importance.filter { names.contains($0.key) }
  }

  /// A type that was given is tried itself: what it costs is then measured, not inferred.
  private func probes(of index: Int) -> [TensorType] {
    if let type = given[index] { return [type] }
    return probeTypes.probes(of: base.plan.tensors[index], candidates: candidates[index] ?? [])
  }

  /// The same of a tensor that no type is chosen for, but that other types are to be known of.
  private func probes(of index: Int, others: [TensorType]) -> [TensorType] {
    probeTypes.probes(of: base.plan.tensors[index], candidates: others)
  }

  /// Types to try on the text, by tensor or stack.
  private func wantedProbes(
    _ measurements: FitMeasurements, _ others: [ExactString: [TensorType]]
  ) -> [ExactString: [TensorType]] {
    func stack(_ index: Int) -> ExactString {
      SplitExperts.place(of: base.plan.tensors[index].name).stack
    }
    var wanted: [ExactString: [TensorType]] = [:]
    for index in candidates.keys.sorted() where wanted[stack(index)] == nil {
      wanted[stack(index)] = probes(of: index)
    }
    // Experts whose type was given follow from what is tried of the others in their stack.
    let free = Set(wanted.keys)
    for (index, type) in given.sorted(by: { $0.key < $1.key }) {
      let name = stack(index)
      // Nothing needs to be tried where the weights stay what they are.
      guard !free.contains(name), wanted[name]?.contains(type) != true,
        measurements.errors[name]?.error(type) != 0
      else { continue }
      wanted[name, default: []].append(type)
    }
    for index in base.plan.tensors.indices where wanted[stack(index)] == nil {
      if let others = others[stack(index)] {
        wanted[stack(index)] = probes(of: index, others: others)
      }
    }
    return wanted
  }

  private func measureDivergences(
    _ result: inout FitMeasurements, _ wanted: [ExactString: [TensorType]],
    _ kernels: KernelTable, _ cancellation: CancellationFlag,
    _ progress: (@Sendable (RunProgress) -> Void)?
  ) throws {
    guard let (opened, text) = opened else { return }
    var probes: [SensitivityRun.Probe] = []
    for role in opened.model.inputLengths.keys.sorted(by: { $0.archiveName < $1.archiveName }) {
      let name = ExactString(role.archiveName)
      for type in wanted[name] ?? [] where result.divergences[name]?[type] == nil {
        probes.append(SensitivityRun.Probe(role: role, type: type))
      }
    }
    let run = SensitivityRun(
      VariantRun(
        model: opened.model, text: text, kernels: kernels, threadCount: threadCount,
        memoryLimit: memoryLimit, cancellation: cancellation),
      importance: usedImportance)
    try Converter.statingUsage {
      try run.run(probes, progress: progress) { found in
        for (probe, divergence) in found {
          // Rounding may leave less than nothing of next to nothing.
          result.divergences[ExactString(probe.role.archiveName), default: [:]][probe.type] =
            max(0, divergence)
        }
        try keep(result)
      }
    }
  }
}

/// A choice of types that was stopped by a signal.
public struct FitInterrupted: Error, Sendable, CustomStringConvertible {
  /// What was kept, if anything was.
  var measurementsFile: String?
  /// Whether it would have been.
  var isWanted: Bool
  /// Whether only sizes of a curve were still to be measured, which no file keeps.
  var isMeasuringPoints: Bool

  public var description: String {
    guard let measurementsFile else {
      if isWanted {
        return
          "interrupted before the first measurements were complete; the same command starts again"
      }
      return "interrupted; with --measurements FILE, what "
        + (isMeasuringPoints ? "types are chosen by" : "was measured") + " would have been kept"
    }
    let file = printable(measurementsFile)
    return isMeasuringPoints
      ? "interrupted; what types are chosen by is in \(file), measured sizes are not kept: "
        + "the same command measures those again"
      : "interrupted; \(file) has every round that was finished, the one that was running is lost: "
        + "the same command goes on"
  }
}
