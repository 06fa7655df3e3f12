import Formats
import Planning
import Tensors

/// Kinds of hardware on which some types are slow.
///
/// Source: formats/fitting/slow-types.tsv, formats/recipe.md
package enum SlowTypes {
  /// Every name of the table, and `gpu` for any accelerator.
  package static let places: [String] = {
    let named = Set(rows.flatMap(\.places))
    return ["cpu", "gpu"] + named.filter { $0 != "cpu" }.sorted()
  }()

  private static let rows: [(type: TensorType, places: [String])] = FormatTable(
    Formats.slowTypes, name: "fitting/slow-types.tsv", columns: ["type", "slow-on", "source"]
  ).rows.map { row in
    guard let type = TensorType(name: row["type"]) else {
      preconditionFailure("formats/fitting/slow-types.tsv: line \(row.line)")
    }
    return (type, row.list("slow-on"))
  }

  /// Types that are slow on a kind of hardware; on `gpu` those that are on any accelerator.
  ///
  /// - Throws: `OptionError` for a name that is none.
  package static func slow(on place: String) throws(OptionError) -> Set<TensorType> {
    let wanted = place.lowercased()
    guard places.contains(wanted) else {
      throw OptionError(
        option: "--fast-on", found: place,
        problem: "takes \(places.joined(separator: ", "))")
    }
    return Set(
      rows.filter { row in
        wanted == "gpu" ? row.places.contains { $0 != "cpu" } : row.places.contains(wanted)
      }.map(\.type))
  }

  /// The same for hardware that a model is planned for.
  package static func slow(on kind: Hardware.Kind) -> Set<TensorType> {
    (try? slow(on: kind == .host ? "cpu" : kind.rawValue)) ?? []
  }
}
