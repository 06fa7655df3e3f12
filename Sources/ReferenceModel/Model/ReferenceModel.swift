import Architectures
import ByteIO
import Tensors

/// A Llama whose forward pass can be run: tensors by their role, sizes, and rotation.
///
/// Checkpoint and archive come here by two roads that share no naming and no permutation: a wrong
/// rename or permutation of a converter shows as different logits instead of confirming itself.
package struct ReferenceModel: Sendable {
  package let source: any TensorSource
  /// With checked shapes and types; `.output` is absent where the embedding serves for it.
  package let weights: [WeightRole: TensorDescriptor]
  /// Matrices of experts, which may lie in any way; none in a dense model.
  package let experts: [WeightRole: ExpertMatrices]
  package let dimensions: ForwardDimensions
  package let rotary: RotaryFrequencies
  /// What multiplies every weight of a tensor, beside its own scales; 1 where nothing is stated.
  package let scales: [ExactString: Float]
  /// Of Llama 4; `nil` where all layers rotate and see everything before a position.
  package let attention: ChunkedAttention?

  /// Takes what a road found, when every tensor is there and has the shape that the sizes give.
  ///
  /// - Parameters:
  ///   - source: holds the tensors.
  ///   - path: what errors call the model.
  ///   - dimensions: give every role its shape.
  ///   - rotary: for `headDimension`.
  ///   - attention: for all layers.
  ///   - names: what the road calls the tensors.
  ///   - scales: what multiplies some tensors, by their names.
  ///   - required: roles that have to be there; all others may be absent.
  /// - Throws: `FormatError` that names the tensor.
  init(
    source: any TensorSource, path: String, dimensions: ForwardDimensions,
    rotary: RotaryFrequencies, attention: ChunkedAttention? = nil, names: TensorNames,
    scales: [ExactString: Float] = [:], required: (WeightRole) -> Bool
  ) throws(FormatError) {
    let table = try WeightTable(
      source, path: path, dimensions: dimensions, names: names, required: required)
    precondition(attention.map { $0.rotates.count == dimensions.layerCount } ?? true)
    self.source = source
    weights = table.weights
    experts = table.experts
    self.dimensions = dimensions
    self.rotary = rotary
    self.scales = scales
    self.attention = attention
  }

  /// The matrix of logits: the output's own, or the embedding where the two are tied.
  package var outputWeight: TensorDescriptor {
    guard let weight = weights[.output] ?? weights[.tokenEmbedding] else {
      preconditionFailure("a checked model has an embedding")
    }
    return weight
  }

  /// A tensor that `init` has found to be there.
  func weight(_ role: WeightRole) -> TensorDescriptor {
    guard let weight = weights[role] else { preconditionFailure("a checked model has \(role)") }
    return weight
  }

  /// The same for a matrix of experts.
  func expertMatrices(_ role: WeightRole) -> ExpertMatrices {
    guard let matrices = experts[role] else { preconditionFailure("a checked model has \(role)") }
    return matrices
  }

  /// Entries of every matrix's input; of experts, those of all, one after the other.
  package var inputLengths: [WeightRole: Int] {
    weights.filter { $0.value.shape.rank > 1 }.mapValues(\.columnCount)
      .merging(experts.mapValues { $0.count * $0.columnCount }) { $1 }
  }

  /// Where errors about a tensor point.
  func file(of tensor: TensorDescriptor) -> String {
    tensor.regions.first.map { source.files[$0.file] } ?? ""
  }

  /// Most bytes that a pass over a group of tokens reads.
  ///
  /// Of experts as many as the tokens can reach; which ones, only the router knows.
  package func byteCountRead(tokenCount: Int) -> UInt64 {
    guard let configuration = dimensions.experts else {
      return source.fileByteCounts.reduce(0, +)
    }
    let reached = min(configuration.count, tokenCount * configuration.usedCount)
    let others = weights.values.reduce(0) { $0 + UInt64($1.byteCount) }
    return experts.values.reduce(others) { sum, matrices in
      sum + (0..<reached).reduce(0) { $0 + UInt64(matrices[$1].byteCount) }
    }
  }
}
