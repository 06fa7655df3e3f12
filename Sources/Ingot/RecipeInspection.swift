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

/// What a file of `plan --measurements` holds.
public struct MeasurementsInspection: Sendable {
  private let measurements: FitMeasurements
  private let run: [String]

  /// Reads a file if it is one.
  ///
  /// - Returns: `nil` for every other kind of file or folder.
  /// - Throws: `FormatError` when it is one and damaged.
  public init?(_ path: String) throws(FormatError) {
    guard FitMeasurements.document.isLikely(file: path) else { return nil }
    (measurements, run) = try FitMeasurements.read(path)
  }

  private struct TypeRow {
    var type: TensorType
    var tensorCount = 0
    /// Mean of errors over signals, of tensors that have any weights.
    var relativeError = 0.0
    var probeCount = 0
    /// Sum over the tensors that were probed.
    var divergence = 0.0
  }

  /// From few bits to many.
  private var rows: [TypeRow] {
    var rows: [TensorType: TypeRow] = [:]
    for errors in measurements.errors.values {
      for type in errors.errors.keys {
        var row = rows[type] ?? TypeRow(type: type)
        row.tensorCount += 1
        if errors.signal > 0 { row.relativeError += (errors.error(type) ?? 0) / errors.signal }
        rows[type] = row
      }
    }
    for probes in measurements.divergences.values {
      for (type, divergence) in probes {
        var row = rows[type] ?? TypeRow(type: type)
        row.probeCount += 1
        row.divergence += divergence
        rows[type] = row
      }
    }
    return rows.values.sorted {
      ($0.type.bitsPerWeight, $0.type.name) < ($1.type.bitsPerWeight, $1.type.name)
    }.map { row in
      var row = row
      row.relativeError /= Double(max(1, row.tensorCount))
      return row
    }
  }

  private var probedTypes: [TensorType] { rows.filter { $0.probeCount > 0 }.map(\.type) }

  /// Text for people.
  ///
  /// - Parameter showsTensors: lists what every tensor's probes gave.
  /// - Returns: without a line's end behind the last.
  public func table(showsTensors: Bool) -> String {
    var lines = ["measurements of \(measurements.errors.count) tensors; of this run:"]
    lines += run.map { "  " + printable($0) }
    lines.append(
      probedTypes.isEmpty
        ? "no text was read" : "divergences: sum over tensors, each quantized alone, in nats")
    lines +=
      TextTable(
        ["type", "tensors", "relative error²", "probed", "divergences"],
        rows.map { row in
          [
            row.type.name, "\(row.tensorCount)", significant(row.relativeError, 3),
            row.probeCount == 0 ? "" : "\(row.probeCount)",
            row.probeCount == 0 ? "" : significant(row.divergence, 3),
          ]
        }, rightAligned: [1, 2, 3, 4]
      ).lines
    if showsTensors {
      lines += [""]
      lines +=
        TextTable(
          ["tensor", "experts"] + probedTypes.map(\.name),
          measurements.errors.sorted { $0.key < $1.key }.map { name, errors in
            [printable(name.string), "\(errors.signals.count)"]
              + probedTypes.map { type in
                measurements.divergences[name]?[type].map { significant($0, 3) } ?? ""
              }
          }, rightAligned: Set(1...probedTypes.count + 1)
        ).lines
    }
    return lines.joined(separator: "\n")
  }

  /// Stable JSON; the file itself has the figures of every tensor.
  public var json: String {
    var writer = JSONWriter()
    writer.object { json in
      FitMeasurements.document.writeHead(to: &json)
      json.key("run")
      json.array { json in for line in run { json.value(line) } }
      json.key("tensorCount")
      json.value(measurements.errors.count)
      json.key("types")
      json.array { json in
        for row in rows {
          json.object { json in
            json.key("type")
            json.value(row.type.name)
            json.key("tensors")
            json.value(row.tensorCount)
            json.key("relativeSquaredError")
            json.value(row.relativeError)
            json.key("probed")
            json.value(row.probeCount)
            json.key("divergences")
            json.value(row.divergence)
          }
        }
      }
    }
    return writer.text
  }
}
