import ByteIO
import Tensors

/// A tensor of the checkpoint and what it becomes in the archive.
package struct MappedTensor: Hashable, Sendable {
  package var source: TensorDescriptor
  /// Name in the archive.
  package var name: ExactString
  /// Row-major shape in the archive.
  package var shape: Shape
  package var transform: RowTransform
}

/// A tensor that the archive needs and no checkpoint holds.
package struct GeneratedTensor: Hashable, Sendable {
  package var name: ExactString
  package var shape: Shape
  package var values: [Float]
}

/// What a checkpoint becomes: its metadata and the place of every tensor, from headers alone.
package struct ModelMapping: Sendable {
  /// As the archive names it, for example `llama`.
  package var architecture: String
  /// The keys of the architecture: order, types and values of the reference converter.
  ///
  /// `general.file_type` stands among them, as 0 (all F32): set it to the real one.
  package var metadata: Metadata
  /// In the order of the source.
  package var tensors: [MappedTensor]
  /// These come before `tensors`.
  package var generated: [GeneratedTensor]
  package var layerCount: Int
  package var headCount: Int
  package var headCountKV: Int
  /// 0 for a dense model.
  package var expertCount: Int
  package var vocabularySize: Int
  /// What the user should know.
  package var notes: [String]
  /// Tensors of a vision tower and its projector, which the archive does not hold.
  package var visionTensorCount: Int

  /// Elements of all tensors of the archive, for the size label.
  package var elementCount: Int {
    tensors.reduce(generated.reduce(0) { $0 + $1.values.count }) { $0 + $1.source.elementCount }
  }

  /// Source types that can be converted.
  static let sourceTypes: [TensorType] = [.f64, .f32, .f16, .bf16]

  /// Maps every tensor of a checkpoint, or says which one does not fit.
  ///
  /// - Parameters:
  ///   - configuration: the checked `config.json`.
  ///   - tensors: the checkpoint's tensors, names unique.
  ///   - files: paths that the tensors' regions refer to, for errors.
  ///   - allowsNonstock: takes a Llama 4 that llama.cpp would compute differently, and says so in
  ///     keys of our own.
  /// - Throws: `FormatError` for a name that the architecture does not know, a tensor that is
  ///   missing, a shape that the configuration contradicts, and a type that is not read yet.
  package init(
    _ configuration: ModelConfiguration, tensors: [TensorDescriptor], files: [String] = [],
    allowsNonstock: Bool = false
  ) throws(FormatError) {
    let matcher = TensorMatcher(configuration, files: files)
    let matches = try matcher.match(tensors)
    self.tensors = try matcher.map(matches)
    try matcher.checkComplete(matches)
    architecture = configuration.modelClass.architecture
    metadata = configuration.metadata()
    metadata.merge(try configuration.nonstockMetadata(isAllowed: allowsNonstock))
    generated = configuration.generatedTensors()
    layerCount = configuration.layerCount
    headCount = configuration.headCount
    headCountKV = configuration.headCountKV
    expertCount = configuration.experts?.count ?? 0
    vocabularySize = configuration.vocabularySize
    notes = configuration.notes
    if let note = configuration.crossAttentionNote { notes.append(note) }
    let skipped = matches.filter { $0.rule.presence == .skip }
    visionTensorCount = skipped.count { $0.rule.isPrefix }
    if skipped.count > visionTensorCount {
      notes.append(
        "left out: \(skipped.count - visionTensorCount) tensors that the archive recomputes")
    }
  }
}
