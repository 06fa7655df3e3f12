import Architectures
import ByteIO
import Checkpoints
import Tensors

extension ReferenceModel {
  /// Opens a directory with Meta's own files.
  ///
  /// Meta rotates neighbours: the rows of its queries and keys are in another order than those of
  /// the same model's Hugging Face files.
  ///
  /// - Throws: `FormatError` for everything that is missing, contradictory or not known.
  init(meta folder: String) throws {
    let directory = try MetaDirectory(folder)
    let configuration = try ModelConfiguration(
      metaParameters: directory.parametersFile, companion: directory.path(of: "config.json"),
      tensors: directory.tensors)
    let dimensions = ForwardDimensions(configuration)
    var names = TensorNames()
    names.roles = [.tokenEmbedding: "tok_embeddings.weight", .outputNorm: "norm.weight"]
    if !configuration.tiesEmbeddings { names.roles[.output] = "output.weight" }
    names.ignored = ["rope.freqs"]
    for layer in 0..<configuration.layerCount {
      for weight in LayerWeight.ofLayer(layer, dimensions) {
        guard let name = weight.metaName else { continue }
        names.roles[.layer(layer, weight)] = "layers.\(layer).\(name)"
      }
      names.ignored.insert(ExactString("layers.\(layer).attention.inner_attention.rope.freqs"))
    }
    if configuration.experts != nil {
      let experts: [(String, LayerWeight)] = [
        ("w1", .expertGate), ("w3", .expertUp), ("w2", .expertDown),
      ]
      names.experts = experts.map { name, weight in
        ExpertPattern("layers.{L}.feed_forward.experts.\(name)", .transposed(weight))
      }
    }
    try self.init(
      source: directory, path: folder, dimensions: dimensions,
      rotary: RotaryFrequencies(
        frequencies: try Self.frequencies(configuration), layout: .neighbours),
      attention: configuration.chunkedAttention, names: names, required: { _ in true })
  }
}

extension LayerWeight {
  /// Behind `layers.N.` in Meta's files; `nil` for biases, which those do not have, and for
  /// experts, whose names have a pattern.
  fileprivate var metaName: String? {
    switch self {
    case .attentionNorm: "attention_norm.weight"
    case .query: "attention.wq.weight"
    case .key: "attention.wk.weight"
    case .value: "attention.wv.weight"
    case .attentionOutput: "attention.wo.weight"
    case .feedForwardNorm: "ffn_norm.weight"
    case .gate: "feed_forward.w1.weight"
    case .up: "feed_forward.w3.weight"
    case .down: "feed_forward.w2.weight"
    case .queryBias, .keyBias, .valueBias, .attentionOutputBias: nil
    case .gateBias, .upBias, .downBias: nil
    case .router: "feed_forward.router.weight"
    case .sharedGate: "feed_forward.shared_expert.w1.weight"
    case .sharedUp: "feed_forward.shared_expert.w3.weight"
    case .sharedDown: "feed_forward.shared_expert.w2.weight"
    case .expertGate, .expertUp, .expertDown: nil
    }
  }
}
