import ByteIO
import Formats
import Planning

/// How much a model minds a tensor's error, as far as its name tells.
///
/// What takes the place of a measurement where no text was read.
///
/// Source: formats/recipe.md, formats/fitting/priors.tsv
package struct HarmPrior: Sendable {
  /// Layers of the model.
  let layerCount: Int

  /// Layers of the models that the table was measured on: of more layers each matters less.
  private static let measuredLayerCount = 6.0
  /// Errors of the first layer go through all others.
  private static let firstLayerFactor = 3.0

  private static let weights: [String: Double] = {
    let table = FormatTable(
      Formats.fittingPriors, name: "fitting/priors.tsv", columns: ["tensor", "weight"])
    return Dictionary(
      uniqueKeysWithValues: table.rows.map { row in
        guard let weight = Double(row["weight"]), weight > 0 else {
          preconditionFailure("formats/fitting/priors.tsv: line \(row.line)")
        }
        return (row["tensor"], weight)
      })
  }()

  package init(layerCount: Int) { self.layerCount = max(1, layerCount) }

  /// The harm of an error that is as large as the tensor itself; 1 for a tensor that the table lacks.
  package func weight(of name: ExactString) -> Double {
    let parts = name.string.split(separator: ".")
    guard parts.count == 4, parts[0] == "blk" else {
      return parts.first.flatMap { Self.weights[String($0)] } ?? 1
    }
    let weight = Self.weights[String(parts[2])] ?? 1
    return weight * (parts[1] == "0" ? Self.firstLayerFactor : 1) * Self.measuredLayerCount
      / Double(layerCount)
  }
}
