import ByteIO
import Tensors

/// The user's options that act on the types of tensors.
package struct TypeOptions: Sendable {
  /// `--pure`: no rules of the mix.
  package var pure: Bool
  /// `--output-tensor-type`.
  package var outputType: TensorType?
  /// `--embedding-type`.
  package var embeddingType: TensorType?
  /// `--leave-output-tensor`: `output.weight` keeps its type.
  package var leaveOutput: Bool
  /// `--type copy`: every tensor keeps its type.
  package var copyOnly: Bool
  /// `--tensor-type` and `--tensor-type-file`, in the order given.
  package var overrides: [TensorTypeOverride]
  /// Types of tensors by their exact names: before everything else.
  package var exact: [ExactString: TensorType]
  /// Whether there is an importance matrix with at least one entry.
  package var hasImportance: Bool

  package init(
    pure: Bool = false, outputType: TensorType? = nil, embeddingType: TensorType? = nil,
    leaveOutput: Bool = false, copyOnly: Bool = false, overrides: [TensorTypeOverride] = [],
    exact: [ExactString: TensorType] = [:], hasImportance: Bool = false
  ) {
    self.pure = pure
    self.outputType = outputType
    self.embeddingType = embeddingType
    self.leaveOutput = leaveOutput
    self.copyOnly = copyOnly
    self.overrides = overrides
    self.exact = exact
    self.hasImportance = hasImportance
  }
}

/// The type that a tensor will be written in, and why.
package struct TypeAssignment: Hashable, Sendable {
  package var type: TensorType
  /// Whether the tensor is one that is quantized at all; if not, `type` is its source type.
  package var isQuantizable: Bool
  /// What the tensor would have had if its rows were whole blocks of it.
  package var fallbackFrom: TensorType?
  /// Whether the type must not be made without importance weights of this tensor.
  ///
  /// llama-quantize refuses all such tensors when there is no matrix at all; when there is one that
  /// lacks the tensor, only if it is not already of this type.
  package var requiresImportance: Bool
  /// Whether an option gave the tensor its type, so that nothing else may choose another.
  package var isForced = false

  package init(
    type: TensorType, isQuantizable: Bool, fallbackFrom: TensorType? = nil,
    requiresImportance: Bool = false
  ) {
    self.type = type
    self.isQuantizable = isQuantizable
    self.fallbackFrom = fallbackFrom
    self.requiresImportance = requiresImportance
  }
}
