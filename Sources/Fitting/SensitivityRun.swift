import ByteIO
import ForwardRuns
import ReferenceModel
import Tensors

/// Measures how much a model's output moves when one tensor alone is quantized.
package struct SensitivityRun: Sendable {
  /// A tensor in a type.
  package struct Probe: Hashable, Sendable {
    package var role: WeightRole
    package var type: TensorType
    package init(role: WeightRole, type: TensorType) {
      self.role = role
      self.type = type
    }
  }

  let run: VariantRun
  /// By archive name: `experts × columns` values each.
  let importance: [ExactString: [Float]]

  package init(_ run: VariantRun, importance: [ExactString: [Float]]) {
    self.run = run
    self.importance = importance
  }

  /// Measures probes, from the first layers' to the last ones'.
  ///
  /// - Parameters:
  ///   - probes: of roles that the model has.
  ///   - progress: gets what is done.
  ///   - finished: gets the mean KL divergence of each probe, in nats, round by round.
  /// - Throws: `FormatError`, `ForwardBudget.TooSmall`, `MatrixLibraryError`, `ForwardCancelled`.
  package func run(
    _ probes: [Probe], progress: (@Sendable (RunProgress) -> Void)?,
    finished: ([(probe: Probe, divergence: Double)]) throws -> Void
  ) throws {
    let sorted = probes.enumerated().sorted {
      ($0.element.role.firstLayer, $0.offset) < ($1.element.role.firstLayer, $1.offset)
    }.map(\.element)
    let variants = sorted.map { probe in
      ModelVariant(
        firstLayer: probe.role.firstLayer,
        substitution: WeightSubstitution(
          probe.role, of: run.model, type: probe.type,
          importance: importance[ExactString(probe.role.archiveName)]))
    }
    try run.run(variants, progress: progress) { range, divergences in
      try finished(
        zip(sorted[range], divergences).map {
          ($0, $1.reduce(0, +) / Double(max(1, $1.count)))
        })
    }
  }
}

extension WeightRole {
  /// Where a variant of the model leaves it: −1 before the layers, `Int.max` behind them.
  fileprivate var firstLayer: Int {
    switch self {
    case .tokenEmbedding: -1
    case .layer(let layer, _): layer
    case .outputNorm, .output: .max
    }
  }
}
