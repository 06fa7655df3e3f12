import ByteIO
import ReferenceModel
import Tensors

/// A tensor of the candidate, or one expert's matrix, and the one of the reference that it was made
/// from.
///
/// They are paired by what they do in the forward pass, which both roads found by themselves: the
/// converter's names and permutations have no part in it.
struct TensorPair: Sendable {
  var role: WeightRole
  /// Where the role is that of several experts.
  var expert: Int?
  var candidate: WeightMatrix
  var reference: WeightMatrix
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

  /// Entries of a row; of a vector whose entries are rows of heads, 1.
  var columnCount: Int { rows != .same && candidate.rowCount == 1 ? 1 : candidate.columnCount }
  var rowCount: Int { candidate.elementCount / max(1, columnCount) }

  /// Rows that are cheapest to read together.
  var rowsReadTogether: Int {
    max(rows.period, candidate.rowsReadTogether, reference.rowsReadTogether)
  }

  /// All tensors of the candidate that the forward pass uses, in the order of its files.
  ///
  /// - Throws: `FormatError` when two that belong together differ in shape.
  static func all(reference: ReferenceModel, candidate: ReferenceModel) throws(FormatError)
    -> [TensorPair]
  {
    var order: [ExactString: Int] = [:]
    for (index, tensor) in candidate.source.tensors.enumerated() { order[tensor.name] = index }
    var pairs: [TensorPair] = []
    for (role, tensor) in candidate.weights {
      let source = role == .output ? reference.outputWeight : reference.weights[role]
      guard let source else { throw unpaired(role, WeightMatrix(tensor), candidate) }
      guard source.shape == tensor.shape else {
        throw differing(
          candidate, "\(tensor.name)", "shape \(tensor.shape)", "\(source.name) \(source.shape)")
      }
      pairs.append(
        TensorPair(
          role: role, candidate: WeightMatrix(tensor), reference: WeightMatrix(source),
          rows: rowOrder(role, reference: reference, candidate: candidate)))
    }
    for (role, matrices) in candidate.experts {
      guard let sources = reference.experts[role] else {
        throw unpaired(role, matrices[0], candidate)
      }
      guard sources.count == matrices.count else {
        throw differing(
          candidate, "\(matrices[0].tensor.name)", "\(matrices.count) experts",
          "\(sources.count)")
      }
      for expert in 0..<matrices.count {
        let (own, source) = (matrices[expert], sources[expert])
        guard (own.rowCount, own.columnCount) == (source.rowCount, source.columnCount) else {
          throw differing(
            candidate, "\(own.tensor.name)", "experts of \(own.rowCount) × \(own.columnCount)",
            "\(source.tensor.name) \(source.rowCount) × \(source.columnCount)")
        }
        pairs.append(
          TensorPair(
            role: role, expert: expert, candidate: own, reference: source, rows: .same))
      }
    }
    return pairs.sorted {
      (order[$0.candidate.tensor.name, default: 0], $0.expert ?? 0)
        < (order[$1.candidate.tensor.name, default: 0], $1.expert ?? 0)
    }
  }

  private static func unpaired(
    _ role: WeightRole, _ matrix: WeightMatrix, _ candidate: ReferenceModel
  ) -> FormatError {
    FormatError(
      file: candidate.source.files.first ?? "", field: "\(matrix.tensor.name)",
      reason: .inconsistent("the reference has no \(role)"))
  }

  private static func differing(
    _ candidate: ReferenceModel, _ name: String, _ found: String, _ expected: String
  ) -> FormatError {
    FormatError(
      file: candidate.source.files.first ?? "", field: name,
      reason: .inconsistent("has \(found), the reference's \(expected)"))
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

extension WeightMatrix {
  /// Bytes that are wanted of a column at least, so that calls and disks are used well.
  private static var preferredRunByteCount: Int { 512 }

  /// Rows that are cheapest to read together; 1 where rows lie together.
  var rowsReadTogether: Int {
    guard layout != .rows else { return 1 }
    return max(1, min(rowCount, Self.preferredRunByteCount / type.bytesPerBlock))
  }
}
