import Architectures
import ByteIO
import Tensors

/// What a conversion will do, made from headers alone: every output tensor's source, transform,
/// type, file and offset.
///
/// With the plan known, any thread may write any rows at their final place, in any order.
public struct ConversionPlan: Sendable {
  /// Where an output tensor's numbers come from.
  public enum Source: Hashable, Sendable {
    /// Index into the input's tensors.
    case input(Int)
    /// Index into `generated`: computed from the configuration.
    case generated(Int)
  }

  public struct Tensor: Sendable {
    public var name: ExactString
    public var shape: Shape
    public var source: Source
    /// Name in the input; `nil` for generated tensors.
    public var sourceName: ExactString?
    /// As the input stores it; F32 for generated tensors.
    public var sourceType: TensorType
    public var type: TensorType
    package var transform: RowTransform
    /// Index into `outputs`.
    public var output: Int
    /// Absolute position in that file.
    public var fileOffset: UInt64
    public var byteCount: Int
    /// Name of the importance entry that guides the quantizer.
    public var importance: ExactString?
    /// The type that the recipe asked for, where the row length does not allow it.
    public var fallbackFrom: TensorType?
    /// Whether the tensor is one that is quantized, and no option decided its type.
    package var isFree = false
    /// Whether an option decided its type.
    package var isForced = false
    /// Which of that entry's experts this is, for a tensor that holds one expert alone.
    package var importanceExpert = 0
    /// Row of the input's tensor at which this one begins.
    package var firstSourceRow = 0
    /// Neighbouring rows that the input reads together at the least cost.
    package var rowsReadTogether = 1

    package init(
      name: ExactString, shape: Shape, source: Source, sourceName: ExactString?,
      sourceType: TensorType, type: TensorType, transform: RowTransform, byteCount: Int,
      output: Int = 0, fileOffset: UInt64 = 0, importance: ExactString? = nil,
      fallbackFrom: TensorType? = nil
    ) {
      self.name = name
      self.shape = shape
      self.source = source
      self.sourceName = sourceName
      self.sourceType = sourceType
      self.type = type
      self.transform = transform
      self.byteCount = byteCount
      self.output = output
      self.fileOffset = fileOffset
      self.importance = importance
      self.fallbackFrom = fallbackFrom
    }

    public var elementCount: Int { shape.checkedElementCount ?? 0 }
    /// Entries of a row; a permuted vector counts as rows of one entry.
    public var columnCount: Int {
      shape.rank == 1 && transform != .identity ? 1 : shape.columnCount
    }
    public var rowCount: Int { columnCount == 0 ? 0 : elementCount / columnCount }
    /// Rows that share one importance row: those of one expert.
    public var rowsPerExpert: Int {
      shape.rank < 3 ? rowCount : shape.dimensions[shape.rank - 2]
    }
    /// Where a row lies in the input's tensor.
    package func sourceRow(forOutputRow row: Int) -> Int {
      firstSourceRow + transform.sourceRow(forOutputRow: row, rowCount: rowCount)
    }
    /// Bytes already have their final form: no arithmetic, only a copy.
    public var isPlainCopy: Bool { sourceType == type }
  }

  /// One file to be written.
  public struct Output: Sendable {
    public enum Kind: String, Hashable, Sendable {
      /// The language model, or one part of it.
      case model
      /// Its vision tower and projector.
      case mmproj
    }

    public var path: String
    public var kind = Kind.model
    /// The file's bytes from its start to its first tensor.
    public var header: [UInt8]
    public var byteCount: UInt64

    package init(path: String, kind: Kind = .model, header: [UInt8], byteCount: UInt64) {
      self.path = path
      self.kind = kind
      self.header = header
      self.byteCount = byteCount
    }
  }

  public var outputs: [Output]
  public var tensors: [Tensor]
  /// Values of generated tensors, by `Source.generated`.
  public var generated: [[Float]]
  /// Name of the recipe, for example `Q4_K_M`.
  public var recipe: String
  /// Paths of all files that will be read for tensors.
  public var inputs: [String]
  /// One-line remarks for the user.
  public var notes: [String]

  package init(
    outputs: [Output] = [], tensors: [Tensor], generated: [[Float]] = [], recipe: String,
    inputs: [String] = [], notes: [String] = []
  ) {
    self.outputs = outputs
    self.tensors = tensors
    self.generated = generated
    self.recipe = recipe
    self.inputs = inputs
    self.notes = notes
  }
}

extension ConversionPlan {
  /// Bytes of all files together.
  public var totalByteCount: UInt64 { outputs.reduce(0) { $0 + $1.byteCount } }
  /// Bytes of tensor data without headers and padding.
  public var tensorByteCount: UInt64 { tensors.reduce(0) { $0 + UInt64($1.byteCount) } }
  /// Tensors of the language model; of a vision tower that is written alone, all.
  public var modelTensors: [Tensor] {
    guard let tower = outputs.firstIndex(where: { $0.kind == .mmproj }), tower > 0 else {
      return tensors
    }
    return tensors.filter { $0.output != tower }
  }
  /// Of `modelTensors`.
  public var weightCount: UInt64 { modelTensors.reduce(0) { $0 + UInt64($1.elementCount) } }
  /// 8 × tensor bytes / weights, over `modelTensors`.
  public var bitsPerWeight: Double {
    let byteCount = modelTensors.reduce(0) { $0 + UInt64($1.byteCount) }
    return weightCount == 0 ? 0 : Double(byteCount) * 8 / Double(weightCount)
  }
}
