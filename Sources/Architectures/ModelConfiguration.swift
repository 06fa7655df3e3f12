import ByteIO
import StrictJSON

/// The facts of a `config.json` that an archive needs, checked.
package struct ModelConfiguration: Sendable {
  package var file: String
  package var modelClass: ModelClass
  package var layerCount: Int
  package var embeddingLength: Int
  package var feedForwardLength: Int
  package var headCount: Int
  package var vocabularySize: Int
  /// Entries of one head of queries, keys and values.
  package var headDimension: Int
  /// Heads of keys and values; divides `headCount`.
  package var headCountKV: Int
  package var rotary: RotaryConfiguration
  package var rmsEpsilon: Double?
  package var tiesEmbeddings: Bool
  package var hasAttentionBias: Bool
  package var hasMLPBias: Bool
  package var isCausal: Bool
  package var contextLength: Int
  /// Whether `headDimension` is stated or a default of the model type, not merely computed.
  package var statesHeadDimension: Bool
  package var statesHeadCountKV: Bool
  /// `nil` for a dense model.
  package var experts: ExpertConfiguration?
  /// Of Llama 4; all others rotate in every layer and see everything.
  package var chunkedAttention: ChunkedAttention?
  /// Layers of the checkpoint that attend to a picture, in order; the archive has none of them.
  package var crossAttentionLayers: [Int] = []
  /// What the user should know about how the file was read.
  package var notes: [String] = []

  /// Largest number of layers that llama.cpp loads.
  static let layerCounts = 1...512
  /// Far above every published model, low enough that no product of sizes overflows.
  static let lengths = 1...(1 << 24)
  static let contextLengths = 1...Int(UInt32.max)
  static let byteCountLimit: UInt64 = 16 << 20

  /// Reads and checks a `config.json`.
  package init(file: String) throws(FormatError) {
    try self.init(JSONValue(file: file, limit: Self.byteCountLimit), file: file)
  }

  /// - Throws: `FormatError` that names the member, what it is and what it may be.
  package init(_ document: JSONValue, file: String) throws(FormatError) {
    guard let object = document.object else {
      throw FormatError(
        file: file, field: "config", reason: .outOfRange(found: "no object", allowed: "an object"))
    }
    let whole = ConfigurationReader(file: file, object: object)
    self.file = file
    modelClass = try Self.modelClass(whole)
    let root = try Self.languageModel(whole, modelClass)
    try Self.refuseUnsupported(root, modelClass)

    layerCount = try root.requiredCount("num_hidden_layers", in: Self.layerCounts)
    if modelClass.family == .crossAttention {
      crossAttentionLayers = try Self.crossAttentionLayers(root, of: layerCount)
      layerCount -= crossAttentionLayers.count
    }
    embeddingLength = try root.requiredCount("hidden_size", in: Self.lengths)
    let isLlama4 = modelClass.family == .llama4
    feedForwardLength = try root.requiredCount(
      isLlama4 ? "intermediate_size_mlp" : "intermediate_size", in: Self.lengths)
    headCount = try root.requiredCount("num_attention_heads", in: Self.lengths)
    vocabularySize = try root.requiredCount("vocab_size", in: Self.lengths)

    // A model type's own defaults hold where it is known and would itself accept these sizes.
    let statedHeadDimension = try root.count("head_dim", in: Self.lengths)
    let divides = embeddingLength % headCount == 0
    var defaults = ModelClass.ofType(try root.string("model_type") ?? modelClass.modelType)
    if defaults?.modelType == "llama", !divides { defaults = nil }
    let hasKV = root.has("num_key_value_heads")
    let statedKV = try root.count("num_key_value_heads", in: Self.lengths)
    if defaults?.defaultKeyValueHeadCount != nil, hasKV, statedKV == nil { defaults = nil }

    var defaultHeadDimension = divides ? embeddingLength / headCount : nil
    var writesDefault = defaults != nil
    switch defaults?.defaultHeadSize {
    case .fixed(let size): defaultHeadDimension = size
    case .unstated: writesDefault = false
    case .computed, nil: break
    }
    guard let headDimension = statedHeadDimension ?? defaultHeadDimension else {
      throw root.error(
        "num_attention_heads",
        .inconsistent("\(headCount) does not divide hidden_size \(embeddingLength)"))
    }
    self.headDimension = headDimension
    statesHeadDimension = statedHeadDimension != nil || writesDefault
    guard hasKV || defaults != nil else {
      throw root.error("num_key_value_heads", .missing("\"num_key_value_heads\""))
    }
    // Null means all heads; a member that is not there means the type's default.
    headCountKV =
      statedKV ?? (hasKV ? headCount : defaults?.defaultKeyValueHeadCount) ?? headCount
    statesHeadCountKV = statedKV != nil || defaults != nil
    let statedContext = try root.count("max_position_embeddings", in: Self.contextLengths)
    guard let context = statedContext ?? defaults?.defaultContextLength else {
      throw root.error("max_position_embeddings", .missing("\"max_position_embeddings\""))
    }
    contextLength = context
    rmsEpsilon = try root.positive("rms_norm_eps") ?? defaults?.defaultEpsilon
    tiesEmbeddings = try root.flag("tie_word_embeddings") ?? false
    hasAttentionBias = try root.flag("attention_bias") ?? false
    hasMLPBias = try root.flag("mlp_bias") ?? false
    isCausal = try root.flag("is_causal") ?? true
    rotary = try RotaryConfiguration(
      root, contextLength: contextLength, defaultTheta: defaults?.defaultTheta, notes: &notes)
    switch modelClass.family {
    case .dense, .crossAttention: break
    case .llama4:
      experts = try ExpertConfiguration(llama4: root, layerCount: layerCount)
      chunkedAttention = try ChunkedAttention(root, layerCount: layerCount)
    case .mixtral:
      experts = try ExpertConfiguration(mixtral: root, feedForwardLength: feedForwardLength)
    }
    try checkHeads(root)
  }

  private func checkHeads(_ root: ConfigurationReader) throws(FormatError) {
    guard headCount % headCountKV == 0 else {
      throw root.error(
        "num_key_value_heads",
        .inconsistent("\(headCountKV) does not divide num_attention_heads \(headCount)"))
    }
    guard headDimension % 2 == 0 else {
      throw root.error(
        root["head_dim"] != nil ? "head_dim" : "num_attention_heads",
        .outOfRange(found: "heads of \(headDimension)", allowed: "an even size"))
    }
    let (product, overflow) = headCount.multipliedReportingOverflow(by: headDimension)
    guard !overflow, Self.lengths.contains(product) else {
      throw root.error(
        "head_dim",
        .outOfRange(
          found: "\(headCount) heads of \(headDimension)",
          allowed: "at most \(Self.lengths.upperBound) in all"))
    }
    guard rmsEpsilon != nil else {
      throw root.error("rms_norm_eps", .missing("\"rms_norm_eps\""))
    }
  }

  private static func modelClass(_ root: ConfigurationReader) throws(FormatError) -> ModelClass {
    let known = ModelClass.all.map(\.name).joined(separator: ", ")
    guard let names = root["architectures"] else {
      throw root.error("architectures", .missing("\"architectures\" (known: \(known))"))
    }
    guard let name = names.array?.first?.string else {
      throw root.error(
        "architectures", .outOfRange(found: "no name", allowed: "a list of one name"))
    }
    guard let modelClass = ModelClass.named(name) else {
      throw root.error(
        "architectures",
        .unsupported(found: "\"\(printable(name, limit: 80))\"", allowed: known))
    }
    return modelClass
  }

  /// The members of the language model: those of `text_config`, and beside it what that leaves open.
  private static func languageModel(
    _ root: ConfigurationReader, _ modelClass: ModelClass
  ) throws(FormatError) -> ConfigurationReader {
    guard !modelClass.prefix.isEmpty, var text = try root.object("text_config") else {
      return root
    }
    let ofWhole: Set = ["architectures", "model_type", "text_config", "vision_config"]
    for (name, value) in root.object.members where !ofWhole.contains(name) && !text.has(name) {
      text.object.set(name, value)
    }
    return text
  }

  /// Members that change what the weights mean in ways that the archive could not say.
  private static func refuseUnsupported(
    _ root: ConfigurationReader, _ modelClass: ModelClass
  ) throws(FormatError) {
    var refused = ["text_config", "num_experts", "n_routed_experts", "draft_vocab_size"]
    switch modelClass.family {
    case .dense, .crossAttention: refused.append("num_local_experts")
    case .mixtral, .llama4: break
    }
    for name in refused where root[name] != nil {
      throw root.error(
        name,
        .unsupported(
          found: ConfigurationReader.text(root[name] ?? .null), allowed: "none for this class"))
    }
    if let activation = try root.string("hidden_act"), !["silu", "swish"].contains(activation) {
      throw root.error(
        "hidden_act",
        .unsupported(found: "\"\(printable(activation, limit: 40))\"", allowed: "\"silu\""))
    }
  }
}
