import ByteIO
import GGUF
import Quantizers
import Tensors

extension ReferenceModel {
  /// Opens a GGUF file of the architecture `llama` or `llama4`, or the set that it is the first part
  /// of.
  ///
  /// - Throws: `FormatError` for everything that is missing, contradictory or not known.
  package init(archive path: String) throws {
    let archive = try GGUFFile(path)
    let keys = try ArchiveKeys(archive.metadata, file: path)
    let dimensions = try keys.dimensions(archive)
    let factors = archive.tensors.first { $0.name == Self.factorsName }
    let rotary = RotaryFrequencies(
      frequencies: try keys.frequencies(
        dimension: dimensions.headDimension,
        divisors: try factors.map { try Self.read($0, of: archive, dimensions) }),
      layout: .neighbours, attentionFactor: try keys.attentionFactor())

    var roles: [WeightRole] = [.tokenEmbedding, .outputNorm, .output]
    for layer in 0..<dimensions.layerCount {
      roles += LayerWeight.ofLayer(layer, dimensions).map { .layer(layer, $0) }
    }
    var names = TensorNames()
    names.roles = Dictionary(uniqueKeysWithValues: roles.map { ($0, $0.archiveName) })
    let beside = try ArchiveScales(archive, names.roles)
    names.ignored = beside.names.union([Self.factorsName])
    names.experts = LayerWeight.experts.flatMap(\.archivePatterns)
    try self.init(
      source: archive, path: path, dimensions: dimensions, rotary: rotary,
      attention: try keys.chunkedAttention(dimensions), names: names, scales: beside.values
    ) { role in
      switch role {
      case .output: false
      case .layer(_, let weight): !weight.isBias
      case .tokenEmbedding, .outputNorm: true
      }
    }
  }

  static let embeddingName = "token_embd.weight"
  private static let factorsName: ExactString = "rope_freqs.weight"

  /// Divisors of the frequencies, one per pair.
  private static func read(
    _ tensor: TensorDescriptor, of archive: GGUFFile, _ dimensions: ForwardDimensions
  ) throws(FormatError) -> [Float] {
    let file = archive.files[tensor.regions[0].file]
    let count = dimensions.headDimension / 2
    guard tensor.shape == Shape([count]), tensor.type == .f32 else {
      throw FormatError(
        file: file, field: "tensor \(tensor.name)",
        reason: .outOfRange(
          found: "\(tensor.type) \(tensor.shape)", allowed: "F32 [\(count)]"))
    }
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: tensor.byteCount, alignment: 4)
    defer { bytes.deallocate() }
    try archive.read(tensor, at: 0, into: bytes)
    let factors = [Float](bytes.bindMemory(to: Float.self))
    if let bad = factors.first(where: { !($0 > 0 && $0.isFinite) }) {
      throw FormatError(
        file: file, field: "tensor \(tensor.name)",
        reason: .outOfRange(found: "\(bad)", allowed: "finite factors above 0"))
    }
    return factors
  }
}

extension WeightRole {
  /// What an archive calls the tensor.
  package var archiveName: String {
    switch self {
    case .tokenEmbedding: ReferenceModel.embeddingName
    case .outputNorm: "output_norm.weight"
    case .output: "output.weight"
    case .layer(let layer, let weight): "blk.\(layer).\(weight.archiveName)"
    }
  }
}

extension LayerWeight {
  /// Behind `blk.N.` in an archive.
  fileprivate var archiveName: String {
    switch self {
    case .attentionNorm: "attn_norm.weight"
    case .query: "attn_q.weight"
    case .key: "attn_k.weight"
    case .value: "attn_v.weight"
    case .attentionOutput: "attn_output.weight"
    case .queryBias: "attn_q.bias"
    case .keyBias: "attn_k.bias"
    case .valueBias: "attn_v.bias"
    case .attentionOutputBias: "attn_output.bias"
    case .feedForwardNorm: "ffn_norm.weight"
    case .gate: "ffn_gate.weight"
    case .up: "ffn_up.weight"
    case .down: "ffn_down.weight"
    case .gateBias: "ffn_gate.bias"
    case .upBias: "ffn_up.bias"
    case .downBias: "ffn_down.bias"
    case .router: "ffn_gate_inp.weight"
    case .expertGate: "ffn_gate_exps.weight"
    case .expertUp: "ffn_up_exps.weight"
    case .expertDown: "ffn_down_exps.weight"
    case .sharedGate: "ffn_gate_shexp.weight"
    case .sharedUp: "ffn_up_shexp.weight"
    case .sharedDown: "ffn_down_shexp.weight"
    }
  }

  /// Experts in one tensor, or each in its own.
  fileprivate var archivePatterns: [ExpertPattern] {
    let single =
      switch self {
      case .expertGate: "ffn_gate"
      case .expertUp: "ffn_up"
      default: "ffn_down"
      }
    return [
      ExpertPattern("blk.{L}.\(archiveName)", .plain(self)),
      ExpertPattern("blk.{L}.\(single).{E}.weight", .plain(self)),
    ]
  }
}
