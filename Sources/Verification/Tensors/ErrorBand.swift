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
  static func unsuspicious(_ type: TensorType) -> Double? { normal(type).map { $0 * 1.5 } }

  /// How much worse than a plain quantization of the same weights a tensor may be. Measured with
  /// importance on trained models: at most 1.6; the least that a fault in all rows gives is 8.
  static let tensorFactor = 2.0
  /// The same for a single block, of which importance may neglect a larger part.
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
