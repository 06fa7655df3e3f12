import Fitting
import StrictJSON

/// What a recipe says, a file or that of an archive's own tensors: which types, and what they cost.
public struct RecipeInspection: Sendable {
  private let recipe: RecipeFile

  /// Reads the recipe of any file that `convert --recipe` takes.
  ///
  /// - Throws: `FormatError`.
  public init(of path: String) throws(FormatError) {
    recipe = try RecipeFile(path)
  }

  /// Reads a file if it is a recipe; an archive is none here.
  ///
  /// - Returns: `nil` for every other kind of file or folder.
  /// - Throws: `FormatError` when it is one and damaged.
  public init?(file path: String) throws(FormatError) {
    guard RecipeFile.document.isLikely(file: path) else { return nil }
    try self.init(of: path)
  }

  /// What `convert --recipe` reads.
  public var file: String { recipe.json }

  private var counts: [(type: TensorType, tensorCount: Int)] {
    var counts: [TensorType: Int] = [:]
    for type in recipe.types.values { counts[type, default: 0] += 1 }
    return counts.map { ($0.key, $0.value) }
      .sorted { ($0.tensorCount, $1.type.name) > ($1.tensorCount, $0.type.name) }
  }

  private var weightCount: UInt64 { recipe.totals.reduce(0) { $0 + $1.weightCount } }
  private var byteCount: UInt64 { recipe.totals.reduce(0) { $0 + $1.byteCount } }
  private var bitsPerWeight: Double? {
    weightCount > 0 ? Double(byteCount) * 8 / Double(weightCount) : nil
  }

  /// Text for people.
  ///
  /// - Parameter showsTensors: lists every tensor's type.
  /// - Returns: without a line's end behind the last.
  public func table(showsTensors: Bool) -> String {
    var lines = [
      "recipe: \(printable(recipe.title)), types of \(recipe.types.count) tensors, "
        + "experts \(recipe.experts.rawValue)"
    ]
    if let expected = recipe.expectedDivergence {
      lines.append("expected mean KL divergence: \(significant(expected, 3)) nats")
    }
    if let hasImportance = recipe.hasImportance {
      lines.append("importance matrix: \(hasImportance ? "yes" : "no")")
    }
    if let bitsPerWeight {
      lines.append("\(byteCount) bytes of tensors, \(fixed(bitsPerWeight, 2)) bits per weight:")
      lines += TypeTotal.table(recipe.totals)
    } else {
      lines +=
        TextTable(
          ["type", "tensors"], counts.map { [$0.type.name, "\($0.tensorCount)"] },
          rightAligned: [1]
        ).lines
    }
    if showsTensors {
      let names = recipe.types.keys.sorted()
      lines += [""]
      lines +=
        TextTable(
          ["tensor", "type"],
          names.map { [printable($0.string), recipe.types[$0]?.name ?? ""] }
        ).lines
    }
    return lines.joined(separator: "\n")
  }

  /// Stable JSON.
  ///
  /// - Parameter showsTensors: lists every tensor's type.
  /// - Returns: without a line's end behind the last.
  public func json(showsTensors: Bool) -> String {
    var writer = JSONWriter()
    writer.object { json in
      RecipeFile.document.writeHead(to: &json)
      json.key("title")
      json.value(recipe.title)
      json.key("experts")
      json.value(recipe.experts.rawValue)
      json.key("expectedDivergence")
      if let expected = recipe.expectedDivergence { json.value(expected) } else { json.null() }
      json.key("importance")
      if let hasImportance = recipe.hasImportance {
        json.value(hasImportance)
      } else {
        json.null()
      }
      json.key("tensorCount")
      json.value(recipe.types.count)
      json.key("bitsPerWeight")
      if let bitsPerWeight { json.value(bitsPerWeight) } else { json.null() }
      json.key("types")
      if recipe.totals.isEmpty {
        json.array { json in
          for (type, count) in counts {
            json.object { json in
              json.key("type")
              json.value(type.name)
              json.key("tensors")
              json.value(count)
            }
          }
        }
      } else {
        TypeTotal.write(recipe.totals, to: &json)
      }
      guard showsTensors else { return }
      json.key("tensors")
      json.object { json in
        for name in recipe.types.keys.sorted() {
          json.key(name.string)
          json.value(recipe.types[name]?.name)
        }
      }
    }
    return writer.text
  }
}
