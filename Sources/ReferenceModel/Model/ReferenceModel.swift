import ByteIO
import Quantizers
import Tensors

/// A dense Llama whose forward pass can be run: tensors by their role, sizes, and rotation.
///
/// Checkpoint and archive come here by two roads that share no naming and no permutation: a wrong
/// rename or permutation of a converter shows as different logits instead of confirming itself.
package struct ReferenceModel: Sendable {
  package let source: any TensorSource
  /// With checked shapes and types; `.output` is absent where the embedding serves for it.
  package let weights: [WeightRole: TensorDescriptor]
  package let dimensions: ForwardDimensions
  package let rotary: RotaryFrequencies
  /// What multiplies every weight of a tensor, beside its own scales; 1 where nothing is stated.
  package let scales: [ExactString: Float]

  /// Takes what a road found, when every tensor is there and has the shape that the sizes give.
  ///
  /// - Parameters:
  ///   - source: holds the tensors.
  ///   - path: what errors call the model.
  ///   - dimensions: give every role its shape.
  ///   - rotary: for `headDimension`.
  ///   - names: name of each role; a role without a name does not exist on this road.
  ///   - ignored: names that may be there and mean nothing to the forward pass.
  ///   - scales: what multiplies some tensors, by their names.
  ///   - required: roles that have to be there; all others may be absent.
  /// - Throws: `FormatError` that names the tensor.
  init(
    source: any TensorSource, path: String, dimensions: ForwardDimensions,
    rotary: RotaryFrequencies, names: [WeightRole: String], ignored: Set<ExactString>,
    scales: [ExactString: Float] = [:], required: (WeightRole) -> Bool
  ) throws(FormatError) {
    var roles: [ExactString: WeightRole] = [:]
    for (role, name) in names { roles[ExactString(name)] = role }
    var weights: [WeightRole: TensorDescriptor] = [:]
    for tensor in source.tensors where !ignored.contains(tensor.name) {
      let file = tensor.regions.first.map { source.files[$0.file] } ?? path
      let field = "tensor \(printable(tensor.name.string, limit: 120))"
      guard let role = roles[tensor.name] else {
        throw FormatError(
          file: file, field: field,
          reason: .unsupported(
            found: "a tensor that a Llama of \(dimensions.layerCount) layers does not have",
            allowed: "dense Llama models"))
      }
      let shape = dimensions.shape(of: role)
      guard tensor.shape == shape else {
        throw FormatError(
          file: file, field: field,
          reason: .outOfRange(found: "shape \(tensor.shape)", allowed: "\(shape)"))
      }
      guard KernelTable.scalar.canDequantize(tensor.type) else {
        throw FormatError(
          file: file, field: field,
          reason: .unsupported(found: "type \(tensor.type)", allowed: "float and GGML block types"))
      }
      guard tensor.shape.rank > 1 || !tensor.type.isBlockType else {
        throw FormatError(
          file: file, field: field,
          reason: .unsupported(found: "type \(tensor.type)", allowed: "float types for a vector"))
      }
      weights[role] = tensor
    }
    let missing = names.filter { required($0.key) && weights[$0.key] == nil }.map(\.value).sorted()
    if let first = missing.first {
      let rest = missing.count > 1 ? " and \(missing.count - 1) more" : ""
      throw FormatError(
        file: path, field: "tensors", reason: .missing("tensor \(first)\(rest)"),
        advice: "the model is incomplete: download or convert it again")
    }
    // A bias that only some layers have is a damaged model, not a kind of model.
    for bias in LayerWeight.allCases where bias.isBias {
      let layers = (0..<dimensions.layerCount).filter { weights[.layer($0, bias)] != nil }
      guard let present = layers.first, layers.count < dimensions.layerCount else { continue }
      throw FormatError(
        file: path, field: "tensor \(names[.layer(present, bias)] ?? bias.rawValue)",
        reason: .inconsistent("only \(layers.count) of \(dimensions.layerCount) layers have it"))
    }
    self.source = source
    self.weights = weights
    self.dimensions = dimensions
    self.rotary = rotary
    self.scales = scales
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

  /// Where errors about a tensor point.
  func file(of tensor: TensorDescriptor) -> String {
    tensor.regions.first.map { source.files[$0.file] } ?? ""
  }
}
