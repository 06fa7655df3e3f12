import Fitting
import StrictJSON

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
