import ByteIO
import GGUF

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What the importance of a model's matrices looks like, matrix by matrix.
///
/// The figures of `llama-imatrix --show-statistics`, in double precision, and how the tokens spread
/// over the experts.
package struct ImportanceStatistics: Sendable {
  /// In the order of names, layers by number.
  package var matrices: [MatrixImportance]

  package init(_ sums: ImportanceSums) {
    matrices = sums.entries.map { MatrixImportance($0.key.string, $0.value) }
      .sorted { ($0.layer ?? .max, $0.name) < ($1.layer ?? .max, $1.name) }
    for index in matrices.indices {
      guard let layer = matrices[index].layer, layer > 0,
        let entry = sums.entries[ExactString(matrices[index].name)],
        let previous = sums.entries[ExactString("blk.\(layer - 1).\(matrices[index].kind).weight")]
      else { continue }
      matrices[index].previousLayerCosine = Self.cosine(entry.sums, previous.sums)
    }
  }

  /// How the experts of stacked matrices are used; matrices of a layer with the same counts, which
  /// the same routing gave, together.
  package var expertUses: [ExpertUse] {
    var uses: [ExpertUse] = []
    var layers: [Int?] = []
    for matrix in matrices where matrix.counts.count > 1 {
      if let last = uses.indices.last, layers[last] == matrix.layer,
        uses[last].counts == matrix.counts
      {
        uses[last].matrices.append(matrix.name)
      } else {
        uses.append(ExpertUse(matrices: [matrix.name], counts: matrix.counts))
        layers.append(matrix.layer)
      }
    }
    return uses
  }

  private static func cosine(_ a: [Float], _ b: [Float]) -> Double? {
    guard a.count == b.count else { return nil }
    var (product, first, second) = (0.0, 0.0, 0.0)
    for (x, y) in zip(a, b) {
      product += Double(x) * Double(y)
      first += Double(x) * Double(x)
      second += Double(y) * Double(y)
    }
    let norm = (first * second).squareRoot()
    return norm > 0 ? product / norm : nil
  }
}

/// Statistics of one matrix, or of those that are stacked under one name.
///
/// An importance is a mean squared input of one column; experts without data are left out.
package struct MatrixImportance: Sendable {
  package var name: String
  /// N of `blk.N.`; `nil` outside of layers.
  package var layer: Int?
  /// `attn_q` of `blk.0.attn_q.weight`.
  package var kind: String
  package var columnCount: Int
  /// Tokens per expert; one for a dense matrix.
  package var counts: [Double]
  /// Of the importances; `nil` when no expert has data.
  package var figures: Figures?
  /// Cosine between the sums and those of the same matrix one layer earlier.
  package var previousLayerCosine: Double?

  package struct Figures: Sendable {
    package var sum = 0.0
    package var mean = 0.0
    package var minimum = Double.infinity
    package var maximum = 0.0
    package var deviation = 0.0
    /// Share of the columns whose importance is above 0.00001.
    package var activeShare = 0.0
    /// Of the importances as shares of their sum, in bits.
    package var entropy = 0.0
    /// The entropy as a share of what equal importances would have.
    package var evenness = 0.0
    /// Share of the columns that are more than a standard deviation above the mean.
    package var outlierShare = 0.0

    package init() {}
  }

  init(_ name: String, _ entry: ImportanceSums.Entry) {
    self.name = name
    let parts = name.split(separator: ".")
    if parts.count == 4, parts[0] == "blk", let layer = Int(parts[1]) {
      self.layer = layer
      kind = String(parts[2])
    } else {
      kind = parts.last == "weight" ? parts.dropLast().joined(separator: ".") : name
    }
    columnCount = entry.columnCount
    counts = entry.counts.map { Double($0) }
    var values: [Double] = []
    for (expert, count) in counts.enumerated() where count > 0 {
      values += entry.sums[expert * columnCount..<(expert + 1) * columnCount].map {
        Double($0) / count
      }
    }
    figures = values.isEmpty ? nil : Figures(values)
  }
}

extension MatrixImportance.Figures {
  fileprivate init(_ values: [Double]) {
    let count = Double(values.count)
    for value in values {
      sum += value
      minimum = min(minimum, value)
      maximum = max(maximum, value)
    }
    mean = sum / count
    var squares = 0.0
    for value in values { squares += (value - mean) * (value - mean) }
    deviation = (squares / count).squareRoot()
    activeShare = Double(values.count { $0 > 1e-5 }) / count
    entropy = entropyInBits(values)
    evenness = values.count > 1 ? entropy / log2(count) : 1
    outlierShare =
      deviation > 0 ? Double(values.count { $0 - mean > deviation }) / count : 0
  }
}

/// How a text's tokens spread over the experts of matrices that are stacked under one name each.
public struct ExpertUse: Hashable, Sendable {
  /// Those that the same tokens reached.
  public var matrices: [String]
  /// Tokens per expert.
  public var counts: [Double]

  /// Experts that no token reached: quantizers take ones for their importance.
  public var unreached: [Int] { counts.indices.filter { counts[$0] == 0 } }

  /// Entropy of the experts' shares of the tokens, in bits: `log2(experts)` when all get the same, 0
  /// when one gets everything.
  public var entropy: Double { entropyInBits(counts) }

  /// The entropy as a share of what equal use would have.
  public var evenness: Double { counts.count > 1 ? entropy / log2(Double(counts.count)) : 1 }
}

/// Entropy of numbers as shares of their sum.
private func entropyInBits(_ values: [Double]) -> Double {
  let sum = values.reduce(0, +)
  guard sum > 0 else { return 0 }
  return -values.reduce(0) { $0 + ($1 > 0 ? $1 / sum * log2($1 / sum) : 0) }
}
