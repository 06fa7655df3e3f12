import Architectures
import ByteIO
import Tensors

/// The input of a conversion with the archive's names, shapes and metadata, whatever it was.
struct InputModel: Sendable {
  /// A tensor that the archive will have.
  struct Tensor: Sendable {
    var name: ExactString
    var shape: Shape
    var source: ConversionPlan.Source
    /// Name in the input; `nil` for generated tensors.
    var sourceName: ExactString?
    /// As the input stores it.
    var storedType: TensorType
    /// What the tensor keeps where it is not quantized: of an archive its own type, of a checkpoint
    /// F32, and with `--type copy` the checkpoint's.
    var keptType: TensorType
    /// The type whose blocks a quantized release stores; `nil` where it has to be decoded.
    var blockType: TensorType?
    var transform: RowTransform
    /// The stack that the tensor is one expert of, and which one.
    var expert: (stack: ExactString, index: Int)?
    /// Row of the input's tensor at which it begins.
    var firstSourceRow = 0
    /// Whether weights have lost something to quantization before, although they come in F32.
    var wasQuantized = false
    /// Which file of a split archive holds it.
    var part = 0
  }

  var source: any TensorSource
  var tensors: [Tensor]
  /// Values of generated tensors.
  var generated: [[Float]]
  /// As the reference converter's F32 archive has it, or the archive's own.
  var metadata: Metadata
  var facts: ModelFacts
  var isArchive: Bool
  /// The checkpoint's directory; `nil` for an archive.
  var folder: String?
  /// Files of a split archive; 1 for everything else.
  var partCount: Int
  /// Tensors of a vision tower, which are not among `tensors`.
  var visionTensorCount = 0
  /// The vision tower, where it is wanted, too.
  var projector: InputProjector?
  var notes: [String]
}

/// What a conversion reads besides its plan.
package struct PlannedInputs: Sendable {
  package var source: any TensorSource
  /// By tensor name: `experts × columns` values each.
  package var importance: [ExactString: [Float]]
  /// How many tokens reached each expert of a stack, where that is known.
  package var expertCounts: [ExactString: [Float]]
  package var allowsNonFinite: Bool
  package var files: InputFiles
  /// The archive's metadata, for a Modelfile.
  package var metadata: Metadata
  /// What was asked for.
  package var recipe: Recipe
  package var projector: ProjectorOutput?

  /// What to say of this conversion where another one is told from it; reads small files.
  package var details: [String] {
    RunDetails.lines(recipe: recipe, projector: projector, files: files, weights: source.files)
  }
}
