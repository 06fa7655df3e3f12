import Architectures
import ByteIO
import Checkpoints
import GGUF
import Tensors

/// A second archive that a conversion writes: the vision tower and its projector.
public struct ProjectorOutput: Hashable, Sendable {
  /// Of the archive to write.
  public var path: String
  /// A type of `typeNames`, in any case; `nil`: the 16-bit type that the checkpoint has.
  public var type: String?
  /// Names the norm before each feed-forward network as llama.cpp's own code looks for it, not as
  /// its converter writes it.
  public var correctsNorms = false

  public init(path: String, type: String? = nil, correctsNorms: Bool = false) {
    self.path = path
    self.type = type
    self.correctsNorms = correctsNorms
  }

  /// Types that the matrices may have, for help texts and completions.
  public static let typeNames = types.map(\.name)
  fileprivate static let types: [TensorType] = [.f32, .f16, .bf16, .q8_0]
}

/// The vision tower of an input with the archive's names, shapes, types and metadata.
///
/// Source: formats/architectures/README.md, section "Vision tower of Llama 4".
struct InputProjector: Sendable {
  let output: ProjectorOutput
  let type: TensorType
  let tensors: [ConversionPlan.Tensor]
  let metadata: Metadata
  let notes: [String]

  /// - Throws: `UsageError` where the checkpoint has no tower that can be written, or the type is
  ///   none of those; `FormatError` about the checkpoint.
  init(
    _ output: ProjectorOutput, _ checkpoint: OpenedCheckpoint, recipe: Recipe, version: String
  ) throws {
    self.output = output
    let configuration = checkpoint.configuration
    guard let table = configuration.modelClass.projectorTable else {
      throw UsageError(
        "--mmproj: \(configuration.modelClass.name) has no vision tower that llama.cpp knows")
    }
    guard checkpoint.source.tensors.contains(where: { $0.name.string.hasPrefix("vision_model.") })
    else {
      throw UsageError("--mmproj: \(printable(checkpoint.folder)) holds no vision tower")
    }
    func path(_ name: String) -> String { DirectoryListing.join(checkpoint.folder, name) }
    let vision = try VisionConfiguration(
      file: configuration.file,
      preprocessors: [path("preprocessor_config.json"), path("processor_config.json")])
    let mapping = try ProjectorMapping(
      configuration, vision: vision, table: table, tensors: checkpoint.source.tensors,
      files: checkpoint.source.files)
    type = try Self.type(output, mapping)

    let general = try generalMetadata(
      directory: checkpoint.cardFolder, architecture: ProjectorMapping.architecture,
      type: "mmproj", modelName: recipe.modelName,
      parameterCounts: ParameterCounts(dense: mapping.elementCount))
    var metadata = general.entries
    // How tokens are chosen is the language model's business.
    for key in metadata.keys where key.string.hasPrefix("general.sampling.") {
      metadata[key] = nil
    }
    metadata.merge(mapping.metadata)
    metadata["general.file_type"] = .uint32(OutputType(type)?.fileType ?? 0)
    metadata.setLast("general.quantization_version", .uint32(PlanBuilder.quantizationVersion))
    if recipe.hasProvenance {
      metadata.merge(
        try Provenance.metadata(
          of: checkpoint.source, recipe: recipe.ofProjector, title: type.name, version: version))
    }
    self.metadata = metadata

    let positions = Dictionary(
      uniqueKeysWithValues: checkpoint.source.tensors.enumerated().map { ($1.name, $0) })
    let type = type
    tensors = mapping.tensors.compactMap { tensor in
      positions[tensor.source.name].map { position in
        let (own, fallback) = Self.type(of: tensor, wanted: type)
        return ConversionPlan.Tensor(
          name: output.correctsNorms ? Self.correctedName(tensor.name) : tensor.name,
          shape: tensor.shape, source: .input(position), sourceName: tensor.source.name,
          sourceType: tensor.source.type, type: own, transform: tensor.transform,
          byteCount: own.byteCount(weightCount: tensor.source.elementCount) ?? 0,
          fallbackFrom: fallback)
      }
    }
    notes =
      general.notes
      + (output.correctsNorms
        ? []
        : [
          "the vision tower's norms before feed-forward networks have the names that llama.cpp's "
            + "converter gives them, under which llama.cpp applies them elsewhere: "
            + "--mmproj-correct-norms writes the names that it computes rightly with"
        ])
  }

  /// The type that was asked for, or the first 16-bit type of a matrix.
  private static func type(_ output: ProjectorOutput, _ mapping: ProjectorMapping) throws
    -> TensorType
  {
    guard let name = output.type else {
      return mapping.tensors.first {
        $0.shape.rank > 1 && [.f16, .bf16].contains($0.source.type)
      }?.source.type ?? .f16
    }
    guard let type = TensorType(name: name), ProjectorOutput.types.contains(type) else {
      throw UsageError(
        "--mmproj-type \(printable(name)): no such type here; types are "
          + ProjectorOutput.typeNames.joined(separator: ", "))
    }
    return type
  }

  /// Vectors, positions and the patches' matrix are kept in floats that programs expect.
  private static func type(
    of tensor: MappedTensor, wanted: TensorType
  ) -> (type: TensorType, fallback: TensorType?) {
    guard tensor.shape.rank > 1, tensor.name.string.hasSuffix(".weight") else { return (.f32, nil) }
    if TensorRole(of: tensor.name, architecture: ProjectorMapping.architecture) == .kept {
      let isPatches = tensor.name == "v.patch_embd.weight"
      return (isPatches && wanted == .f16 ? .f16 : .f32, nil)
    }
    guard tensor.shape.columnCount % wanted.weightsPerBlock == 0 else { return (.f16, wanted) }
    return (wanted, nil)
  }

  private static func correctedName(_ name: ExactString) -> ExactString {
    let parts = name.string.split(separator: ".", omittingEmptySubsequences: false)
    return ExactString(
      parts.map { $0 == "attn_post_norm" ? "ln2" : String($0) }.joined(separator: "."))
  }

  /// Adds the archive to a plan, as its last file.
  func add(to plan: inout ConversionPlan) throws(FormatError) {
    let infos = tensors.map { GGUFTensorInfo(name: $0.name, shape: $0.shape, type: $0.type) }
    let layout = try GGUFLayout(metadata: metadata, tensors: infos, file: output.path)
    for (var tensor, offset) in zip(tensors, layout.tensorOffsets) {
      tensor.output = plan.outputs.count
      tensor.fileOffset = offset
      plan.tensors.append(tensor)
    }
    plan.outputs.append(
      ConversionPlan.Output(
        path: output.path, kind: .mmproj, header: layout.headerBytes,
        byteCount: layout.fileByteCount))
    plan.notes += notes
  }
}
