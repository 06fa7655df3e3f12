import Fitting
import ForwardRuns
import Quantizers
import ReferenceModel

extension Fitter {
  /// Measures what is not known yet.
  ///
  /// `others` are types, by tensor or stack, that are no candidates but to be known too.
  func measure(
    _ others: [ExactString: [TensorType]] = [:], cancellation: CancellationFlag,
    progress: (@Sendable (RunProgress) -> Void)?
  ) throws -> FitMeasurements {
    let kernels = try Converter.statingUsage { try KernelTable.choice.get() }
    var measurements = known
    do {
      try measureErrors(&measurements, others, kernels, cancellation, progress)
      try measureDivergences(&measurements, kernels, cancellation, progress)
    } catch is ForwardCancelled {
      throw interrupted(measurements)
    } catch is ConversionCancelled {
      throw interrupted(measurements)
    }
    try base.inputs.source.checkUnchanged()
    return measurements
  }

  func interrupted(_ measurements: FitMeasurements) -> FitInterrupted {
    let isKept = options.measurementsFile != nil && !measurements.errors.isEmpty
    return FitInterrupted(
      measurementsFile: isKept ? options.measurementsFile : nil,
      isWanted: options.measurementsFile != nil)
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
    for (index, candidates) in candidates.sorted(by: { $0.key < $1.key }) {
      let stack = SplitExperts.place(of: base.plan.tensors[index].name).stack
      for type in candidates + probes(of: index) + (others[stack] ?? [])
      where types[stack]?.contains(type) != true {
        types[stack, default: []].append(type)
      }
    }
    // Experts that lie singly in the order in which they would be stacked.
    let places = base.plan.tensors.indices.compactMap {
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
    let measured = try TypeErrorMeasurement(
      plan: base.plan, inputs: base.inputs, kernels: kernels, threadCount: threadCount,
      memoryLimit: memoryLimit, cancellation: cancellation
    ).run(places.map { ($0.index, $0.types) }) { progress?(RunProgress(tensors: $0)) }
    result.errors = [:]
    for (entry, errors) in zip(places, measured) { result.add(errors, to: entry.place) }
    try keep(result)
  }

  /// What the plan takes of the importance file: entries of another length are none.
  var usedImportance: [ExactString: [Float]] {
    let names = Set(base.plan.tensors.compactMap(\.importance))
    return base.inputs.importance.filter { names.contains($0.key) }
  }

  private func probes(of index: Int) -> [TensorType] {
    probeTypes.probes(of: base.plan.tensors[index], candidates: candidates[index] ?? [])
  }

  private func measureDivergences(
    _ result: inout FitMeasurements, _ kernels: KernelTable, _ cancellation: CancellationFlag,
    _ progress: (@Sendable (RunProgress) -> Void)?
  ) throws {
    guard let (opened, text) = opened else { return }
    var wanted: [ExactString: [TensorType]] = [:]
    for index in candidates.keys.sorted() {
      let stack = SplitExperts.place(of: base.plan.tensors[index].name).stack
      if wanted[stack] == nil { wanted[stack] = probes(of: index) }
    }
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
          result.divergences[ExactString(probe.role.archiveName), default: [:]][probe.type] =
            divergence
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
  public var description: String {
    guard let measurementsFile else {
      return isWanted
        ? "interrupted before the first measurements were complete; the same command starts again"
        : "interrupted; with --measurements FILE, what was measured would have been kept"
    }
    return "interrupted; what was measured is in \(printable(measurementsFile)): "
      + "the same command goes on"
  }
}
