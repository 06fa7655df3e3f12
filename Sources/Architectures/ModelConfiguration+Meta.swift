import ByteIO
import StrictJSON
import Tensors

extension ModelConfiguration {
  /// Reads and checks Meta's `params.json` beside the tensors that it belongs to.
  ///
  /// What the file leaves open comes from the tensors (feed-forward length, vocabulary, whether the
  /// output is tied) and from the generation (context length, scaling of the rotation); a
  /// `config.json` in the same folder, if there is one, has to agree and states those two instead.
  ///
  /// - Parameters:
  ///   - file: path of `params.json`.
  ///   - companion: path of `config.json`, which need not be there.
  ///   - tensors: under Meta's names, joined.
  /// - Throws: `FormatError` that names the member, what it is and what it may be.
  ///
  /// Source: formats/meta-native.md
  package init(
    metaParameters file: String, companion: String, tensors: [TensorDescriptor]
  ) throws(FormatError) {
    let document = try JSONValue(file: file, limit: Self.byteCountLimit)
    let other = DirectoryListing.exists(companion) ? try ModelConfiguration(file: companion) : nil
    try self.init(metaParameters: document, file: file, companion: other, tensors: tensors)
  }

  /// - Throws: `FormatError` that names the member, what it is and what it may be.
  package init(
    metaParameters document: JSONValue, file: String, companion: ModelConfiguration? = nil,
    tensors: [TensorDescriptor]
  ) throws(FormatError) {
    guard let object = document.object else {
      throw FormatError(
        file: file, field: "params", reason: .outOfRange(found: "no object", allowed: "an object"))
    }
    let root = ConfigurationReader(file: file, object: object)
    let isLlama4 = root["moe_args"] != nil
    notes += try MetaParameters.check(root, isLlama4: isLlama4)
    self.file = file
    modelClass = isLlama4 ? .metaLlama4 : .meta
    layerCount = try root.requiredCount("n_layers", in: Self.layerCounts)
    embeddingLength = try root.requiredCount("dim", in: Self.lengths)
    headCount = try root.requiredCount("n_heads", in: Self.lengths)
    let statedKV = try root.count("n_kv_heads", in: Self.lengths)
    headCountKV = (statedKV ?? headCount) / MetaParameters.repeatedHeadCount(statedKV, tensors)
    guard embeddingLength % headCount == 0, embeddingLength / headCount % 2 == 0 else {
      throw root.error(
        "n_heads",
        .inconsistent("\(headCount) does not divide dim \(embeddingLength) into even heads"))
    }
    guard headCount % headCountKV == 0 else {
      throw root.error(
        "n_kv_heads", .inconsistent("\(headCountKV) does not divide n_heads \(headCount)"))
    }
    headDimension = embeddingLength / headCount
    if let stated = try root.count("head_dim", in: Self.lengths), stated != headDimension {
      throw root.error(
        "head_dim",
        .unsupported(found: "\(stated)", allowed: "dim / n_heads, which is \(headDimension)"))
    }
    let epsilon = try root.requiredPositive("norm_eps")
    rmsEpsilon = epsilon
    // Written as for a published configuration of the same model.
    statesHeadDimension = true
    statesHeadCountKV = true
    hasAttentionBias = false
    hasMLPBias = false
    isCausal = true

    let theta = try root.positive("rope_theta")
    let generation = MetaGeneration(
      isLlama4: isLlama4, usesScaledRotation: try root.flag("use_scaled_rope") ?? false,
      theta: theta,
      embeddingLength: embeddingLength, layerCount: layerCount,
      statesHeadCountKV: statedKV != nil, epsilon: epsilon)
    rotary = try MetaParameters.scaling(root, of: generation.rotary(theta: theta))
    contextLength = generation.contextLength

    vocabularySize = try Self.vocabularySize(root, tensors, embeddingLength: embeddingLength)
    tiesEmbeddings = !tensors.contains { $0.name == "output.weight" }
    feedForwardLength = try MetaFeedForward(root).denseLength(embeddingLength)
    if isLlama4 {
      experts = try ExpertConfiguration(
        meta: root, embeddingLength: embeddingLength, layerCount: layerCount)
      chunkedAttention = try ChunkedAttention(
        meta: root, layerCount: layerCount, companion: companion?.chunkedAttention, notes: &notes)
    }
    try checkFeedForward(root, tensors)

    if let companion {
      try agree(with: companion)
      rotary = companion.rotary
      contextLength = companion.contextLength
      notes.append("context length and scaling of the rotation are those of config.json")
    } else {
      var text =
        "params.json does not state the context length: \(contextLength) of "
        + "\(generation.rawValue) is taken"
      if case .llama3(let scaling) = rotary.scaling {
        let factor = scaling.factor
        text += ", with rotation scaled by \(MetaParameters.text(factor)) from 8192"
      }
      notes.append(text)
    }
  }

  /// Rows of the embedding, with which a stated size has to agree; −1 says nothing.
  private static func vocabularySize(
    _ root: ConfigurationReader, _ tensors: [TensorDescriptor], embeddingLength: Int
  ) throws(FormatError) -> Int {
    let name = "tok_embeddings.weight"
    guard let embedding = tensors.first(where: { $0.name == ExactString(name) }) else {
      throw root.error("tensors", .missing("tensor \(name)"))
    }
    guard embedding.shape.rank == 2, let rows = embedding.shape.dimensions.first,
      lengths.contains(rows)
    else {
      throw root.error(
        name, .outOfRange(found: "shape \(embedding.shape)", allowed: "[vocabulary, dim]"))
    }
    guard embedding.columnCount == embeddingLength else {
      throw root.error(
        "dim",
        .inconsistent("is \(embeddingLength), but rows of \(name) have \(embedding.columnCount)"),
        advice: MetaParameters.shardAdvice(
          found: embedding.columnCount, wanted: embeddingLength, tensors))
    }
    if root["vocab_size"]?.int == -1 { return rows }
    if let stated = try root.count("vocab_size", in: lengths), stated != rows {
      throw root.error(
        "vocab_size", .inconsistent("is \(stated), but \(name) has \(rows) rows"),
        advice: MetaParameters.shardAdvice(found: rows, wanted: stated, tensors))
    }
    return rows
  }

  /// The lengths that the rule gives have to be those of the first layers' tensors.
  private func checkFeedForward(
    _ root: ConfigurationReader, _ tensors: [TensorDescriptor]
  ) throws(FormatError) {
    let dense = (0..<layerCount).first { experts?.areIn(layer: $0) != true }
    let mixed = (0..<layerCount).first { experts?.areIn(layer: $0) == true }
    try checkFeedForward(
      root, tensors, "layers.\(dense ?? 0).feed_forward.w1.weight", feedForwardLength)
    if let experts {
      try checkFeedForward(
        root, tensors, "layers.\(mixed ?? 0).feed_forward.shared_expert.w1.weight",
        experts.feedForwardLength)
    }
  }

  private func checkFeedForward(
    _ root: ConfigurationReader, _ tensors: [TensorDescriptor], _ name: String, _ length: Int
  ) throws(FormatError) {
    guard let gate = tensors.first(where: { $0.name == ExactString(name) }),
      let rows = gate.shape.dimensions.first, rows != length
    else { return }
    throw root.error(
      "multiple_of",
      .inconsistent(
        "dim, multiple_of and ffn_dim_multiplier give a feed-forward length of "
          + "\(length), but \(name) has \(rows) rows"),
      advice: MetaParameters.shardAdvice(found: rows, wanted: length, tensors))
  }

  /// A `config.json` beside Meta's files has to be of the same model.
  private func agree(with other: ModelConfiguration) throws(FormatError) {
    let pairs: [(String, String, String)] = [
      ("num_hidden_layers", "\(other.layerCount)", "\(layerCount)"),
      ("hidden_size", "\(other.embeddingLength)", "\(embeddingLength)"),
      (
        experts == nil ? "intermediate_size" : "intermediate_size_mlp",
        "\(other.feedForwardLength)", "\(feedForwardLength)"
      ),
      ("num_attention_heads", "\(other.headCount)", "\(headCount)"),
      ("num_key_value_heads", "\(other.headCountKV)", "\(headCountKV)"),
      ("head_dim", "\(other.headDimension)", "\(headDimension)"),
      ("vocab_size", "\(other.vocabularySize)", "\(vocabularySize)"),
      ("rms_norm_eps", "\(other.rmsEpsilon ?? 0)", "\(rmsEpsilon ?? 0)"),
      ("rope_theta", "\(other.rotary.theta ?? 0)", "\(rotary.theta ?? 0)"),
      ("num_local_experts", "\(other.experts?.count ?? 0)", "\(experts?.count ?? 0)"),
      ("num_experts_per_tok", "\(other.experts?.usedCount ?? 0)", "\(experts?.usedCount ?? 0)"),
      (
        "intermediate_size", "\(other.experts?.feedForwardLength ?? 0)",
        "\(experts?.feedForwardLength ?? 0)"
      ),
      (
        "interleave_moe_layer_step", "\(other.experts?.layerStep ?? 0)",
        "\(experts?.layerStep ?? 0)"
      ),
    ]
    for (name, found, expected) in pairs where found != expected {
      throw FormatError(
        file: other.file, field: name,
        reason: .inconsistent("is \(found), but params.json beside it says \(expected)"),
        advice: "the two files describe different models")
    }
  }
}
