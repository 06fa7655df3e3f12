import ByteIO
import Quantizers
import Tensors

/// The tensors of a model by their role, with checked shapes and types.
struct WeightTable {
  private(set) var weights: [WeightRole: TensorDescriptor] = [:]
  private(set) var experts: [WeightRole: ExpertMatrices] = [:]
  /// Experts that have a tensor each, until all are known.
  private var separate: [WeightRole: [Int: TensorDescriptor]] = [:]

  private let source: any TensorSource
  private let path: String
  private let dimensions: ForwardDimensions
  private let names: TensorNames

  /// Takes every tensor of a source.
  ///
  /// - Parameters:
  ///   - source: holds the tensors.
  ///   - path: what errors call the model.
  ///   - dimensions: give every role its shape.
  ///   - names: what the road calls them.
  ///   - required: roles that have to be there; all others may be absent.
  /// - Throws: `FormatError` that names the tensor.
  init(
    _ source: any TensorSource, path: String, dimensions: ForwardDimensions, names: TensorNames,
    required: (WeightRole) -> Bool
  ) throws(FormatError) {
    self.source = source
    self.path = path
    self.dimensions = dimensions
    self.names = names
    var roles: [ExactString: WeightRole] = [:]
    for (role, name) in names.roles { roles[ExactString(name)] = role }
    for tensor in source.tensors {
      guard let name = names.meaningful(tensor.name) else { continue }
      if let role = roles[name] {
        try take(tensor, role)
      } else if let found = names.expertTensor(name), isExpert(found) {
        try take(tensor, found)
      } else {
        throw error(
          tensor,
          .unsupported(
            found: "a tensor that a Llama of \(dimensions.layerCount) layers does not have",
            allowed: dimensions.experts == nil ? "dense Llama models" : "Llama models with experts")
        )
      }
    }
    let missing = names.roles.filter { required($0.key) && weights[$0.key] == nil }.map(\.value)
      .sorted()
    if let first = missing.first {
      let rest = missing.count > 1 ? " and \(missing.count - 1) more" : ""
      throw FormatError(
        file: path, field: "tensors", reason: .missing("tensor \(first)\(rest)"),
        advice: Self.incomplete)
    }
    try joinExperts()
    try checkBiases()
  }

  private static let incomplete = "the model is incomplete: download or convert it again"

  // MARK: Taking

  private mutating func take(_ tensor: TensorDescriptor, _ role: WeightRole) throws(FormatError) {
    try check(tensor, shape: dimensions.shape(of: role))
    guard weights.updateValue(tensor, forKey: role) == nil else {
      throw error(tensor, .duplicate("of another tensor that is the \(role)"))
    }
  }

  /// Whether the model has experts in that layer at all.
  private func isExpert(_ found: ExpertTensor) -> Bool {
    guard let experts = dimensions.experts else { return false }
    return found.layer < dimensions.layerCount && experts.areIn(layer: found.layer)
  }

  private mutating func take(_ tensor: TensorDescriptor, _ found: ExpertTensor) throws(FormatError)
  {
    let weights = found.form.weights
    let shape = dimensions.shape(of: .layer(found.layer, weights[0]))
    let (count, rows, columns) = (shape.dimensions[0], shape.dimensions[1], shape.dimensions[2])
    if let expert = found.expert {
      let role = WeightRole.layer(found.layer, weights[0])
      guard expert < count else {
        throw error(tensor, .inconsistent("belongs to expert \(expert), the model has \(count)"))
      }
      try check(tensor, shape: Shape([rows, columns]))
      guard separate[role, default: [:]].updateValue(tensor, forKey: expert) == nil else {
        throw error(tensor, .duplicate("of another tensor of expert \(expert)"))
      }
      return
    }
    for (index, weight) in weights.enumerated() {
      let role = WeightRole.layer(found.layer, weight)
      let storage: ExpertMatrices.Storage
      switch found.form {
      case .plain:
        try check(tensor, shape: shape)
        storage = .stacked(tensor)
      case .transposed, .transposedPair:
        try check(tensor, shape: Shape([count, columns, weights.count * rows]))
        guard !tensor.type.isBlockType else {
          throw error(
            tensor,
            .unsupported(found: "type \(tensor.type)", allowed: "float types for this layout"))
        }
        storage = .transposed(tensor, first: index * rows)
      }
      let matrices = ExpertMatrices(storage, shape: shape)
      guard experts.updateValue(matrices, forKey: role) == nil else {
        throw error(tensor, .duplicate("of another tensor with the \(role)"))
      }
    }
  }

  private func check(_ tensor: TensorDescriptor, shape: Shape) throws(FormatError) {
    guard tensor.shape == shape else {
      throw error(tensor, .outOfRange(found: "shape \(tensor.shape)", allowed: "\(shape)"))
    }
    guard KernelTable.scalar.canDequantize(tensor.type) else {
      throw error(
        tensor,
        .unsupported(found: "type \(tensor.type)", allowed: "float and GGML block types"))
    }
    guard tensor.shape.rank > 1 || !tensor.type.isBlockType else {
      throw error(
        tensor, .unsupported(found: "type \(tensor.type)", allowed: "float types for a vector"))
    }
  }

  // MARK: Completeness

  private mutating func joinExperts() throws(FormatError) {
    guard let configuration = dimensions.experts else { return }
    for layer in 0..<dimensions.layerCount where configuration.areIn(layer: layer) {
      for weight in LayerWeight.experts {
        let role = WeightRole.layer(layer, weight)
        guard let parts = separate.removeValue(forKey: role) else {
          guard experts[role] != nil else {
            throw FormatError(
              file: path, field: "tensors",
              reason: .missing("the experts of layer \(layer) (\(weight.rawValue))"),
              advice: Self.incomplete)
          }
          continue
        }
        let first = parts.first?.value
        if let first, experts[role] != nil {
          throw error(first, .duplicate("of experts that are there stacked, too"))
        }
        if let gap = (0..<configuration.count).first(where: { parts[$0] == nil }) {
          throw FormatError(
            file: first.map(file) ?? path, field: "tensors",
            reason: .missing("expert \(gap) of layer \(layer) (\(weight.rawValue))"),
            advice: Self.incomplete)
        }
        let tensors = (0..<configuration.count).compactMap { parts[$0] }
        experts[role] = ExpertMatrices(.separate(tensors), shape: dimensions.shape(of: role))
      }
    }
  }

  /// A bias that only some layers have is a damaged model, not a kind of model.
  private func checkBiases() throws(FormatError) {
    for bias in LayerWeight.allCases where bias.isBias {
      let all = (0..<dimensions.layerCount).filter { names.roles[.layer($0, bias)] != nil }
      let layers = all.filter { weights[.layer($0, bias)] != nil }
      guard let present = layers.first, layers.count < all.count else { continue }
      throw FormatError(
        file: path, field: "tensor \(names.roles[.layer(present, bias)] ?? bias.rawValue)",
        reason: .inconsistent("only \(layers.count) of \(all.count) layers have it"))
    }
  }

  private func file(_ tensor: TensorDescriptor) -> String {
    tensor.regions.first.map { source.files[$0.file] } ?? path
  }

  private func error(_ tensor: TensorDescriptor, _ reason: FormatError.Reason) -> FormatError {
    FormatError(
      file: file(tensor), field: "tensor \(printable(tensor.name.string, limit: 120))",
      reason: reason)
  }
}
