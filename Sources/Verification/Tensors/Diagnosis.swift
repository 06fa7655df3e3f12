import ByteIO
import Quantizers
import ReferenceModel
import Tensors

/// Finds out what is wrong with a tensor that its type does not explain.
///
/// Reads some of its rows again; only bad tensors come here.
struct Diagnosis {
  private let pair: TensorPair
  private let rows: Range<Int>
  private let allowed: Double
  private let reference: ReferenceModel
  private let worker: ComparisonWorker

  init(
    _ pair: TensorPair, rows: Range<Int>, allowed: Double, reference: ReferenceModel,
    worker: ComparisonWorker
  ) {
    self.pair = pair
    self.rows = rows
    self.allowed = allowed
    self.reference = reference
    self.worker = worker
  }

  /// One phrase, for a user who wants to know where to look.
  func run(_ products: VectorPair) throws -> String {
    let place = try badRows()
    if let phrase = try wrongPermutation(place.range) ?? otherTensor(place.range)
      ?? wrongScale(products)
    {
      return "\(phrase) (\(place.text)\(figures(products)))"
    }
    return "is not its source \(pair.reference.tensor.name) (\(place.text)\(figures(products)))"
  }

  /// The phrase without a cause, which reads nothing.
  func plain(_ products: VectorPair) -> String {
    "is not its source \(pair.reference.tensor.name) (\(figures(products)))"
  }

  private func figures(_ products: VectorPair) -> String {
    "error \(significant(products.relativeError, 3)), \(pair.candidate.type) explains "
      + significant(allowed, 3)
  }

  /// Most rows that are looked at for a cause.
  private static let rowLimit = 64

  /// The rows whose error is too large, as one range from the first to the last.
  private func badRows() throws -> (range: Range<Int>, text: String) {
    let period = pair.rows.period
    let step = max(1, ComparisonChunk.preferredWeightCount / max(1, pair.columnCount * period))
    var bad: [Int] = []
    for start in stride(from: rows.lowerBound, to: rows.upperBound, by: step * period) {
      let chunk = start..<min(start + step * period, rows.upperBound)
      try worker.read(pair, rows: chunk)
      for row in chunk {
        let products = compare(row - chunk.lowerBound)
        if !(products.relativeError <= allowed * 1.5) { bad.append(row) }
      }
    }
    guard let first = bad.first, let last = bad.last, bad.count < rows.count else {
      return (rows.prefix(max(period, Self.rowLimit / period * period)), "")
    }
    let text =
      bad.count == 1
      ? "row \(first); " : "\(bad.count) of \(rows.count) rows, from \(first) to \(last); "
    let start = first / period * period
    let end = min(max(start + period, min(last + 1, start + Self.rowLimit)), rows.upperBound)
    return (start..<(end + period - 1) / period * period, text)
  }

  /// Products of a row of what was read.
  private func compare(_ row: Int) -> VectorPair {
    var products = VectorPair()
    worker.compareRow(row, columns: pair.columnCount, into: &products)
    return products
  }

  private func error(_ count: Int) -> Double {
    var products = VectorPair()
    for row in 0..<count { products += compare(row) }
    return products.relativeError
  }

  /// Whether the rows fit in another rotary order.
  private func wrongPermutation(_ rows: Range<Int>) throws -> String? {
    guard pair.rows != .same else { return nil }
    let dimension = pair.rows.period
    let orders: [(TensorPair.RowOrder, String)] = [
      (.same, "rows are in the reference's rotary order: the permutation is missing"),
      (
        pair.rows == .neighboursFromHalves(headDimension: dimension)
          ? .halvesFromNeighbours(headDimension: dimension)
          : .neighboursFromHalves(headDimension: dimension),
        "rows are permuted the wrong way round"
      ),
    ]
    for (order, phrase) in orders {
      try worker.read(pair, rows: rows, order: order)
      if error(rows.count) <= allowed * 1.5 { return phrase }
    }
    return nil
  }

  /// Whether the rows are those of the same tensor of another layer, or of another expert.
  private func otherTensor(_ rows: Range<Int>) throws -> String? {
    if case .layer(let own, let weight) = pair.role {
      for layer in 0..<reference.dimensions.layerCount where layer != own {
        guard let source = matrix(.layer(layer, weight), pair.expert),
          (source.rowCount, source.columnCount)
            == (pair.reference.rowCount, pair.reference.columnCount)
        else { continue }
        var other = pair
        other.reference = source
        try worker.read(other, rows: rows)
        if error(rows.count) <= allowed * 1.5 {
          return "holds the weights of layer \(layer), \(source.tensor.name)"
        }
      }
    }
    guard let own = pair.expert, let experts = reference.experts[pair.role] else { return nil }
    try worker.read(pair, rows: rows)
    for expert in 0..<experts.count where expert != own {
      try worker.readReference(experts[expert], rows: rows, columns: pair.columnCount)
      if error(rows.count) <= allowed * 1.5 { return "holds the weights of expert \(expert)" }
    }
    return nil
  }

  private func matrix(_ role: WeightRole, _ expert: Int?) -> WeightMatrix? {
    if let expert { return reference.experts[role]?[expert] }
    return reference.weights[role].map { WeightMatrix($0) }
  }

  /// Whether everything is a multiple of what it should be.
  private func wrongScale(_ products: VectorPair) -> String? {
    let factor = products.ab / products.bb
    guard products.cosine > 0.95, abs(factor - 1) > 0.05 else { return nil }
    return "is about \(fixed(factor, 2)) times its source \(pair.reference.tensor.name)"
  }
}
