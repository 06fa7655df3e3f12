import StrictJSON
import Verification

extension FitCurve {
  /// What the figures are, for headings.
  var figureTitle: String {
    isMeasured ? "expected mean KL divergence" : "expected harm"
  }

  /// What they are worth, in a sentence or two.
  var remarks: [String] {
    var remarks = [
      isMeasured
        ? "expected: the sum of what every tensor's type alone does, in nats"
        : "no text was read: figures rest on errors of weights and a table of what usually matters, "
          + "and are no divergences"
    ]
    if points.contains(where: { $0.measuredDivergence != nil }) {
      remarks.append(
        "measured: with all types of a size together, on the text that the choice rests on; ± 95 %")
    }
    return remarks
  }

  static func figure(_ value: Double) -> String { significant(value, 3) }

  static func text(_ estimate: Estimate) -> String {
    "\(figure(estimate.value)) ± \(significant(estimate.halfWidth, 2))"
  }

  /// The types with most bytes.
  static func types(_ totals: [TypeTotal]) -> String {
    let blocks = totals.filter { $0.type.isBlockType }
    return (blocks.isEmpty ? totals : blocks).prefix(3).map(\.type.name).joined(separator: ", ")
  }

  /// What a size gains over a mix, as a factor.
  static func gain(_ mix: Mix) -> String {
    guard let chosen = mix.chosenDivergence else { return "too small" }
    guard mix.expectedDivergence > 0 else { return "" }
    return "\(fixed(100 * chosen / mix.expectedDivergence, 0)) %"
  }

  // MARK: Text

  /// Two tables for people: sizes, and the stock mixes beside what could be chosen in their place.
  public var table: String {
    let isAnyMeasured = points.contains { $0.measuredDivergence != nil }
    var lines = ["\(printable(model)): \(figureTitle) by size"]
    lines += remarks.map { "  " + $0 }
    lines +=
      TextTable(
        ["bytes", "bits/weight", "expected"] + (isAnyMeasured ? ["measured"] : []) + ["mostly"],
        points.map { point in
          [
            "\(point.byteCount)", fixed(point.bitsPerWeight, 2),
            Self.figure(point.expectedDivergence),
          ]
            + (isAnyMeasured ? [point.measuredDivergence.map(Self.text) ?? ""] : [])
            + [Self.types(point.types)]
        }, rightAligned: [0, 1, 2]
      ).lines
    if !mixes.isEmpty {
      lines += ["", "stock mixes, and types chosen for as many bytes:"]
      lines +=
        TextTable(
          ["mix", "bytes", "bits/weight", "expected", "chosen", "of it"],
          mixes.map { mix in
            [
              mix.name, "\(mix.byteCount)", fixed(mix.bitsPerWeight, 2),
              Self.figure(mix.expectedDivergence), mix.chosenDivergence.map(Self.figure) ?? "",
              Self.gain(mix),
            ]
          }, rightAligned: [1, 2, 3, 4, 5]
        ).lines
    }
    if let budget {
      lines += [
        "",
        "\(printable(budget.name)): \(budget.byteCount) bytes, expected "
          + Self.figure(budget.expectedDivergence),
      ]
    }
    return lines.joined(separator: "\n")
  }

  // MARK: JSON

  /// Stable JSON; formats/recipe.md lists its members.
  public var json: String {
    var writer = JSONWriter()
    writer.object { json in
      json.key("model")
      json.value(model)
      json.key("unit")
      if isMeasured { json.value("nats") } else { json.null() }
      json.key("points")
      json.array { json in for point in points { point.write(to: &json, isMeasured: isMeasured) } }
      json.key("mixes")
      json.array { json in for mix in mixes { mix.write(to: &json, isMeasured: isMeasured) } }
      json.key("budget")
      if let budget { budget.write(to: &json, isMeasured: isMeasured) } else { json.null() }
    }
    return writer.text
  }
}

extension Estimate {
  /// Half of the 95 % interval.
  var halfWidth: Double { 1.96 * cautiousError }
}

extension FitCurve.Point {
  fileprivate func write(to json: inout JSONWriter, isMeasured: Bool) {
    json.object { json in
      json.key("bytes")
      json.value(byteCount)
      json.key("bitsPerWeight")
      json.value(bitsPerWeight)
      json.key(isMeasured ? "expectedDivergence" : "expectedHarm")
      json.value(expectedDivergence)
      json.key("measuredDivergence")
      if let measured = measuredDivergence {
        json.object { json in
          json.key("value")
          json.value(measured.value)
          json.key("standardError")
          json.value(measured.standardError)
          json.key("chunkStandardError")
          json.value(measured.chunkStandardError)
        }
      } else {
        json.null()
      }
      json.key("types")
      TypeTotal.write(types, to: &json)
    }
  }
}

extension FitCurve.Mix {
  fileprivate func write(to json: inout JSONWriter, isMeasured: Bool) {
    json.object { json in
      json.key("mix")
      json.value(name)
      json.key("bytes")
      json.value(byteCount)
      json.key("bitsPerWeight")
      json.value(bitsPerWeight)
      json.key(isMeasured ? "expectedDivergence" : "expectedHarm")
      json.value(expectedDivergence)
      json.key(isMeasured ? "chosenDivergence" : "chosenHarm")
      if let chosenDivergence { json.value(chosenDivergence) } else { json.null() }
    }
  }
}

extension FitCurve.Budget {
  fileprivate func write(to json: inout JSONWriter, isMeasured: Bool) {
    json.object { json in
      json.key("name")
      json.value(name)
      json.key("bytes")
      json.value(byteCount)
      json.key("byteLimit")
      json.value(byteLimit)
      json.key(isMeasured ? "expectedDivergence" : "expectedHarm")
      json.value(expectedDivergence)
    }
  }
}
