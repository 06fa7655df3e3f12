import Tensors

extension TensorType {
  /// With importance, these types weigh by a mean over the whole row, so a row cannot be cut.
  package var needsWholeRows: Bool {
    switch self {
    case .q4_0, .q4_1, .q5_0, .q5_1: true
    default: false
    }
  }
}
