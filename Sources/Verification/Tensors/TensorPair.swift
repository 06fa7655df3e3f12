import ByteIO
import ReferenceModel
import Tensors

/// A tensor of the candidate and the one of the reference that it was made from.
///
/// They are paired by what they do in the forward pass, which both roads found by themselves: the
/// converter's names and permutations have no part in it.
struct TensorPair: Sendable {
  var role: WeightRole
  var candidate: TensorDescriptor
  var reference: TensorDescriptor
  var rows: RowOrder

  /// Which row of the reference a row of the candidate corresponds to.
  enum RowOrder: Hashable, Sendable {
    case same
    /// The candidate's heads hold rotary pairs as neighbours, the reference's as halves.
    case neighboursFromHalves(headDimension: Int)
    /// The reverse.
    case halvesFromNeighbours(headDimension: Int)

    func referenceRow(_ row: Int) -> Int {
      switch self {
      case .same: return row
      case .neighboursFromHalves(let dimension):
        let (head, inHead) = row.quotientAndRemainder(dividingBy: dimension)
        return head * dimension + inHead % 2 * (dimension / 2) + inHead / 2
      case .halvesFromNeighbours(let dimension):
        let (head, inHead) = row.quotientAndRemainder(dividingBy: dimension)
        let half = dimension / 2
        return head * dimension + inHead % half * 2 + inHead / half
      }
    }

    /// Rows that are permuted among themselves.
    var period: Int {
      switch self {
      case .same: 1
      case .neighboursFromHalves(let dimension), .halvesFromNeighbours(let dimension): dimension
      }
    }
  }

  /// Experts that the tensor stacks; 1 for all others.
  var expertCount: Int { candidate.shape.rank == 3 ? candidate.shape.dimensions[0] : 1 }
  /// Entries of a row; of a vector whose entries are rows of heads, 1.
  var columnCount: Int {
    candidate.shape.rank == 1 && rows != .same ? 1 : candidate.shape.columnCount
  }
  var rowCount: Int { candidate.elementCount / max(1, columnCount) }
  var rowsPerExpert: Int { rowCount / expertCount }

  /// All tensors of the candidate that the forward pass uses, in the order of its files.
  ///
  /// - Throws: `FormatError` when two that belong together differ in shape.
  static func all(reference: ReferenceModel, candidate: ReferenceModel) throws(FormatError)
    -> [TensorPair]
  {
    var order: [ExactString: Int] = [:]
    for (index, tensor) in candidate.source.tensors.enumerated() { order[tensor.name] = index }
    let weights = candidate.weights.sorted {
      order[$0.value.name, default: 0] < order[$1.value.name, default: 0]
    }
    var pairs: [TensorPair] = []
    for (role, tensor) in weights {
      let source = role == .output ? reference.outputWeight : reference.weights[role]
      guard let source else {
        throw FormatError(
          file: candidate.source.files.first ?? "", field: "\(tensor.name)",
          reason: .inconsistent("the reference has no \(role)"))
      }
      guard source.shape == tensor.shape else {
        throw FormatError(
          file: candidate.source.files.first ?? "", field: "\(tensor.name)",
          reason: .inconsistent(
            "has shape \(tensor.shape), the reference's \(source.name) \(source.shape)"))
      }
      pairs.append(
        TensorPair(
          role: role, candidate: tensor, reference: source,
          rows: rowOrder(role, reference: reference, candidate: candidate)))
    }
    return pairs
  }

  private static func rowOrder(
    _ role: WeightRole, reference: ReferenceModel, candidate: ReferenceModel
  ) -> RowOrder {
    guard case .layer(_, let weight) = role,
      [.query, .key, .queryBias, .keyBias].contains(weight)
    else { return .same }
    let dimension = candidate.dimensions.headDimension
    switch (candidate.rotary.layout, reference.rotary.layout) {
    case (.neighbours, .halves): return .neighboursFromHalves(headDimension: dimension)
    case (.halves, .neighbours): return .halvesFromNeighbours(headDimension: dimension)
    default: return .same
    }
  }
}
