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
    var names = TensorNames()
    names.roles = [.tokenEmbedding: "tok_embeddings.weight", .outputNorm: "norm.weight"]
    if !configuration.tiesEmbeddings { names.roles[.output] = "output.weight" }
    names.ignored = ["rope.freqs"]
    for layer in 0..<configuration.layerCount {
      for weight in LayerWeight.allCases {
        guard let name = weight.metaName else { continue }
        names.roles[.layer(layer, weight)] = "layers.\(layer).\(name)"
      }
      names.ignored.insert(ExactString("layers.\(layer).attention.inner_attention.rope.freqs"))
    }
    try self.init(
      source: directory, path: folder, dimensions: ForwardDimensions(configuration),
      rotary: RotaryFrequencies(
        frequencies: try Self.frequencies(configuration), layout: .neighbours),
      names: names, required: { _ in true })
  }
}

extension LayerWeight {
  /// Behind `layers.N.` in Meta's files; `nil` for biases and experts, which those do not have.
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
    case .router, .expertGate, .expertUp, .expertDown, .sharedGate, .sharedUp, .sharedDown: nil
    }
  }
}
