import ByteIO
import Tensors

/// What a checkpoint's vision tower and projector become: the metadata and the place of every
/// tensor, from headers alone.
///
/// Source: formats/architectures/README.md, section "Vision tower of Llama 4".
package struct ProjectorMapping: Sendable {
  /// As the archive names it.
  package static let architecture = "clip"

  /// The keys of the architecture, behind the general ones: order, types and values of the
  /// reference converter.
  ///
  /// `general.file_type` stands among them, as 0 (all F32): set it to the real one.
  package var metadata: Metadata
  /// In the order of the source.
  package var tensors: [MappedTensor]

  package var elementCount: Int { tensors.reduce(0) { $0 + $1.source.elementCount } }

  /// Maps every tensor of the tower, or says which one does not fit.
  ///
  /// - Parameters:
  ///   - configuration: of the language model.
  ///   - vision: of the tower.
  ///   - table: of its names.
  ///   - tensors: the checkpoint's, names unique; those of the language model are passed by.
  ///   - files: paths that the tensors' regions refer to, for errors.
  /// - Throws: `FormatError` as `ModelMapping` does.
  package init(
    _ configuration: ModelConfiguration, vision: VisionConfiguration, table: String,
    tensors: [TensorDescriptor], files: [String] = []
  ) throws(FormatError) {
    let matcher = TensorMatcher(configuration, vision: vision, table: table, files: files)
    let matches = try matcher.match(tensors)
    self.tensors = try matcher.map(matches)
    try matcher.checkComplete(matches)
    metadata = vision.metadata(projectedLength: configuration.embeddingLength)
  }
}

extension VisionConfiguration {
  /// The keys of the architecture; `projectedLength` is the language model's embedding length.
  fileprivate func metadata(projectedLength: Int) -> Metadata {
    var metadata = Metadata()
    func set(_ key: String, _ count: Int) {
      // Every count was checked against limits far below 2^32.
      metadata["clip.\(key)"] = .uint32(UInt32(count))
    }
    metadata["general.file_type"] = .uint32(0)
    metadata["clip.has_vision_encoder"] = .bool(true)
    set("vision.projection_dim", projectedLength)
    set("vision.image_size", imageSize)
    set("vision.patch_size", patchSize)
    set("vision.embedding_length", embeddingLength)
    set("vision.feed_forward_length", feedForwardLength)
    set("vision.block_count", layerCount)
    set("vision.attention.head_count", headCount)
    metadata["clip.vision.image_mean"] = .array(.float32(imageMean.map { Float($0) }))
    metadata["clip.vision.image_std"] = .array(.float32(imageDeviation.map { Float($0) }))
    metadata["clip.projector_type"] = .string("llama4")
    metadata["clip.vision.attention.layer_norm_epsilon"] = .float32(Float(epsilon))
    set("vision.projector.scale_factor", mergedSide)
    metadata["clip.use_gelu"] = .bool(true)
    return metadata
  }
}
