import Formats
import Quantizers
import Tensors

/// How large an error a type explains.
///
/// Source: formats/verification/error-bands.tsv, section "Tensors" of formats/verification/README.md
package enum ErrorBand {
  /// Relative RMS error of normally distributed weights, without importance.
  package static func normal(_ type: TensorType) -> Double? { table[type] }

  /// Real weights have heavier tails, and importance spends precision elsewhere: an error below
  /// this needs no second look.
  static func unsuspicious(_ type: TensorType) -> Double? {
    normal(type).map { limit($0, factor: 1.5) }
  }

  /// What a tensor may have whose source, quantized again without importance, has `error`.
  static func allowed(quantizedAgain error: Double) -> Double { limit(error, factor: 2) }

  /// A multiple of an error, but never more than half-way to that of unrelated weights, √2.
  private static func limit(_ error: Double, factor: Double) -> Double {
    min(error * factor, (error + 2.squareRoot()) / 2)
  }

  /// How much worse than the source quantized again a single block may be, of which importance may
  /// neglect a larger part.
  static let blockFactor = 4.0

  private static let table: [TensorType: Double] = {
    var table: [TensorType: Double] = [:]
    for row in FormatTable(
      Formats.errorBands, name: "verification/error-bands.tsv",
      columns: ["type", "relative RMS error"]
    ).rows {
      guard let type = TensorType(name: row["type"]),
        let error = Double(row["relative RMS error"])
      else { preconditionFailure("formats/verification/error-bands.tsv: line \(row.line)") }
      table[type] = error
    }
    return table
  }()
}
