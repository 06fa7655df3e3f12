import Formats
import Tensors

/// What has to be known about a type to write tensors in it.
///
/// Source: formats/mixes/output-types.tsv.
package struct OutputType: Sendable {
  /// When a tensor of this type cannot be made without an importance matrix.
  package enum ImportanceNeed: Hashable, Sendable {
    case never, always
    /// llama-quantize refuses, but the quantizer is defined: we warn.
    case advised
    /// Only as part of this mix.
    case inMix(String)
  }

  package var type: TensorType
  /// `general.file_type` of an archive that is mostly of this type.
  package var fileType: UInt32
  /// What a tensor gets whose rows are no whole blocks of this type; `nil` if nothing is defined.
  package var fallback: TensorType?
  package var importanceNeed: ImportanceNeed

  package static let all: [OutputType] = FormatTable(
    Formats.Mixes.outputTypes, name: "mixes/output-types.tsv",
    columns: ["type", "file_type", "fallback", "importance"]
  ).rows.map { row in
    let fallback = row["fallback"].isEmpty ? nil : TensorType(name: row["fallback"])
    guard let type = TensorType(name: row["type"]), let fileType = UInt32(row["file_type"]),
      row["fallback"].isEmpty || fallback != nil
    else { preconditionFailure("formats/mixes/output-types.tsv: line \(row.line)") }
    let need: ImportanceNeed =
      switch row["importance"] {
      case "": .never
      case "always": .always
      case "advised": .advised
      case let mix: .inMix(mix)
      }
    return OutputType(type: type, fileType: fileType, fallback: fallback, importanceNeed: need)
  }

  private static let byType = Dictionary(uniqueKeysWithValues: all.map { ($0.type, $0) })

  private init(
    type: TensorType, fileType: UInt32, fallback: TensorType?, importanceNeed: ImportanceNeed
  ) {
    self.type = type
    self.fileType = fileType
    self.fallback = fallback
    self.importanceNeed = importanceNeed
  }

  /// Looks a type up; `nil` when no archive can be written in it.
  package init?(_ type: TensorType) {
    guard let row = Self.byType[type] else { return nil }
    self = row
  }

  /// Finds a type that can be written by its name in any case.
  package init?(name: String) {
    guard let type = TensorType(name: name) else { return nil }
    self.init(type)
  }

  /// Finds the type that an option names.
  ///
  /// - Throws: `OptionError` that lists the types.
  package static func type(_ name: String, option: String) throws(OptionError) -> TensorType {
    guard let type = OutputType(name: name)?.type else {
      throw OptionError(
        option: option, found: name, problem: "no such type; types are \(names)")
    }
    return type
  }

  /// Names of all types that can be written, for messages.
  package static var names: String { all.map(\.type.name).joined(separator: ", ") }

  /// Whether a tensor of this type in an archive of `mix` needs an importance matrix.
  package func needsImportance(in mix: StockMix) -> Bool {
    switch importanceNeed {
    case .never: false
    case .always, .advised: true
    case .inMix(let name): mix.name == name
    }
  }
}

/// `general.file_type` of a recipe that is no stock mix: that of the type that holds most bytes.
///
/// - Parameter byteCounts: bytes of the archive's tensors per type.
/// - Returns: of types with equal bytes, the number of the one that the table lists first.
package func fileType(holdingMostOf byteCounts: [TensorType: Int]) -> UInt32 {
  var most: (fileType: UInt32, byteCount: Int) = (0, 0)
  for row in OutputType.all {
    let byteCount = byteCounts[row.type, default: 0]
    if byteCount > most.byteCount { most = (row.fileType, byteCount) }
  }
  return most.fileType
}
