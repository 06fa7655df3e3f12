import Calibration
import GGUF
import StrictJSON

/// What an importance file says: how much was read, how it spreads over columns and experts.
public struct ImportanceInspection: Sendable {
  private let sums: ImportanceSums
  private let statistics: ImportanceStatistics

  /// Reads a file if it is one.
  ///
  /// - Returns: `nil` for every other kind of file or folder.
  /// - Throws: `FormatError` when it is one and damaged.
  public init?(_ path: String) throws(FormatError) {
    guard try Self.isOne(path) else { return nil }
    sums = try ImportanceSums(path)
    statistics = ImportanceStatistics(sums)
  }

  /// By its metadata; the older form has none, and goes by its name.
  private static func isOne(_ path: String) throws(FormatError) -> Bool {
    let kind: InputKind
    do throws(FormatError) {
      kind = try InputKind(path)
    } catch {
      if path.hasSuffix(".dat"), case .unsupported = error.reason { return true }
      throw error
    }
    guard case .archive = kind else { return false }
    return ImportanceSums.isOne(try GGUFFile(path).metadata)
  }

  // MARK: Text

  /// Text for people.
  ///
  /// - Parameter showsTensors: every matrix, not only every kind of matrix.
  /// - Returns: lines without a line's end behind the last.
  public func table(showsTensors: Bool) -> String {
    let size = sums.chunkSize.map { " of \($0) tokens" } ?? ", older form"
    var lines = [
      "importance of \(statistics.matrices.count) matrices, \(sums.chunkCount) chunks\(size)"
    ]
    lines += sums.datasets.map { "text: \(printable($0))" }
    lines += ["", "inputs squared, mean over the tokens; by kind of matrix, over all layers:"]
    lines += kindTable
    let uses = statistics.expertUses
    if !uses.isEmpty {
      lines += ["", "tokens per expert:"] + Self.useTable(uses)
      lines += uses.compactMap { $0.unreachedLine(isEstimated: false) }
    }
    if showsTensors { lines += ["", "matrices:"] + matrixTable }
    return lines.joined(separator: "\n")
  }

  private static let figureHeader = [
    "sum", "min", "mean", "max", "σ", "active", "evenness", "above σ",
  ]

  private static func cells(_ figures: MatrixImportance.Figures?) -> [String] {
    guard let figures else { return figureHeader.map { _ in "-" } }
    return [
      significant(figures.sum, 4), significant(figures.minimum, 3), significant(figures.mean, 3),
      significant(figures.maximum, 3), significant(figures.deviation, 3),
      fixed(100 * figures.activeShare, 1) + " %", fixed(100 * figures.evenness, 1) + " %",
      fixed(100 * figures.outlierShare, 1) + " %",
    ]
  }

  private var kindTable: [String] {
    let kinds = Dictionary(grouping: statistics.matrices, by: \.kind).sorted { $0.key < $1.key }
    let rows = kinds.map { kind, matrices in
      [printable(kind), "\(matrices.count)", "\(matrices[0].columnCount)"]
        + Self.cells(.mean(matrices.compactMap(\.figures)))
    }
    let header = ["kind", "matrices", "columns"] + Self.figureHeader
    return TextTable(header, rows, rightAligned: Set(1..<header.count)).lines
  }

  private var matrixTable: [String] {
    let rows = statistics.matrices.map { matrix in
      [printable(matrix.name), "\(matrix.columnCount)", fixed(matrix.counts.reduce(0, +), 0)]
        + Self.cells(matrix.figures)
        + [matrix.previousLayerCosine.map { fixed($0, 4) } ?? "-"]
    }
    let header = ["matrix", "columns", "tokens"] + Self.figureHeader + ["cosine"]
    return TextTable(header, rows, rightAligned: Set(1..<header.count)).lines
  }

  private static func useTable(_ uses: [ExpertUse]) -> [String] {
    let header = ["matrices", "experts", "reached", "least", "most", "entropy", "of equal use"]
    let rows = uses.map { use in
      let others = use.matrices.count > 1 ? " and \(use.matrices.count - 1) more" : ""
      return [
        printable(use.matrices[0]) + others, "\(use.counts.count)",
        "\(use.counts.count - use.unreached.count)", fixed(use.counts.min() ?? 0, 0),
        fixed(use.counts.max() ?? 0, 0), fixed(use.entropy, 3) + " bits",
        fixed(100 * use.evenness, 1) + " %",
      ]
    }
    return TextTable(header, rows, rightAligned: Set(1..<header.count)).lines
  }

  // MARK: JSON

  /// Stable JSON; counts per expert are in it always.
  public var json: String {
    var writer = JSONWriter()
    writer.object { json in
      json.key("format")
      json.value(sums.chunkSize == nil ? "imatrix (older form)" : "imatrix")
      json.key("datasets")
      json.array { json in for name in sums.datasets { json.value(name) } }
      json.key("chunkCount")
      json.value(sums.chunkCount)
      if let size = sums.chunkSize {
        json.key("chunkSize")
        json.value(size)
      }
      json.key("matrices")
      json.array { json in for matrix in statistics.matrices { matrix.write(to: &json) } }
      json.key("experts")
      json.array { json in for use in statistics.expertUses { use.write(to: &json) } }
    }
    return writer.text
  }
}

extension MatrixImportance.Figures {
  /// Means of every figure, but the smallest minimum and the largest maximum.
  fileprivate static func mean(_ all: [Self]) -> Self? {
    guard !all.isEmpty else { return nil }
    func mean(_ figure: (Self) -> Double) -> Double {
      all.reduce(0) { $0 + figure($1) } / Double(all.count)
    }
    var result = Self()
    result.sum = mean(\.sum)
    result.mean = mean(\.mean)
    result.minimum = all.map(\.minimum).min() ?? 0
    result.maximum = all.map(\.maximum).max() ?? 0
    result.deviation = mean(\.deviation)
    result.activeShare = mean(\.activeShare)
    result.evenness = mean(\.evenness)
    result.outlierShare = mean(\.outlierShare)
    return result
  }
}

extension MatrixImportance {
  fileprivate func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("name")
      json.value(name)
      json.key("columns")
      json.value(columnCount)
      json.key("counts")
      json.array { json in for count in counts { json.value(count) } }
      if let figures {
        let members = [
          ("sum", figures.sum), ("minimum", figures.minimum), ("mean", figures.mean),
          ("maximum", figures.maximum), ("deviation", figures.deviation),
          ("activeShare", figures.activeShare), ("entropy", figures.entropy),
          ("evenness", figures.evenness), ("outlierShare", figures.outlierShare),
        ]
        for (name, value) in members {
          json.key(name)
          json.value(value)
        }
      }
      if let previousLayerCosine {
        json.key("previousLayerCosine")
        json.value(previousLayerCosine)
      }
    }
  }
}
