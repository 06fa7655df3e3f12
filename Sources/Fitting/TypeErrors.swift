import Tensors

/// What storing a tensor in a type does to its outputs, before anything else is computed with them.
///
/// The squared error of an output, summed over all outputs, per token of the text that the
/// importance was measured on; its terms are `importance[column] · (restored − weight)²`. Without
/// importance every column counts as 1. Of experts each one's error is weighted by how often the
/// router picks it.
package struct TypeErrors: Hashable, Sendable {
  /// The same sum over the weights themselves, per expert: what an error is to be compared with.
  package var signals: [Double]
  /// Per expert; one where a tensor is no stack.
  package var errors: [TensorType: [Double]]

  package init(signals: [Double], errors: [TensorType: [Double]]) {
    self.signals = signals
    self.errors = errors
  }

  package var signal: Double { signals.reduce(0, +) }

  /// Of all experts; `nil` for a type that was not measured.
  package func error(_ type: TensorType) -> Double? { errors[type]?.reduce(0, +) }
}
