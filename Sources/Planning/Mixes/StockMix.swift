import Formats
import Tensors

/// A named way to choose every tensor's type, as llama-quantize knows it.
///
/// Source: formats/mixes/mixes.tsv; where tensors leave the default type: formats/mixes/mix-rules.tsv.
package struct StockMix: Sendable, Hashable {
  /// As llama-quantize spells it.
  package var name: String
  package var aliases: [String]
  /// Value of `general.file_type`.
  package var fileType: UInt32
  /// Type of the tensors that no rule names.
  package var defaultType: TensorType

  /// Whether its type is for models that were trained in it, and ruins all others.
  package var isForTrainedTypes: Bool {
    [.q1_0, .q2_0, .tq1_0, .tq2_0, .mxfp4].contains(defaultType)
  }

  package static let all: [StockMix] = FormatTable(
    Formats.Mixes.mixes, name: "mixes/mixes.tsv",
    columns: ["name", "aliases", "file_type", "type"]
  ).rows.map { row in
    guard let fileType = UInt32(row["file_type"]), let type = OutputType(name: row["type"])?.type
    else { preconditionFailure("formats/mixes/mixes.tsv: line \(row.line)") }
    return StockMix(
      name: row["name"], aliases: row.list("aliases"), fileType: fileType, defaultType: type)
  }

  private init(name: String, aliases: [String], fileType: UInt32, defaultType: TensorType) {
    self.name = name
    self.aliases = aliases
    self.fileType = fileType
    self.defaultType = defaultType
  }

  /// Finds a mix by its name or an alias (`Q4_K` is `Q4_K_M`), in any case.
  package init?(name: String) {
    let wanted = name.uppercased()
    let mix = Self.all.first { $0.name == wanted || $0.aliases.contains(wanted) }
    guard let mix else { return nil }
    self = mix
  }

  /// A whole archive in one type, for `--pure`; `nil` when no archive can be written in it.
  package init?(allOf type: TensorType) {
    guard let row = OutputType(type) else { return nil }
    self.init(name: type.name, aliases: [], fileType: row.fileType, defaultType: type)
  }

  /// Finds what `--type NAME` means.
  ///
  /// A stock mix wins over a tensor type of the same name, so that `IQ2_S --pure` is IQ2_XS
  /// throughout, as llama-quantize makes it. Names that are tensor types only (`MXFP4`, `NVFP4`)
  /// need `--pure`: no rules exist that could mix them.
  package static func named(_ name: String, pure: Bool) throws(OptionError) -> StockMix {
    if let mix = StockMix(name: name) { return mix }
    let type = OutputType(name: name).flatMap { StockMix(allOf: $0.type) }
    guard let type else {
      let names = all.flatMap { [$0.name] + $0.aliases }.joined(separator: ", ")
      throw OptionError(
        option: "--type", found: name, problem: "no such mix",
        advice: suggestion(for: name).map { "did you mean \($0)?" } ?? "mixes are \(names)")
    }
    guard pure else {
      throw OptionError(
        option: "--type", found: name, problem: "is a tensor type, not a mix",
        advice: "add --pure to write every matrix in it")
    }
    return type
  }

  /// The mix that has the same letters and digits, as in `q4km`.
  private static func suggestion(for name: String) -> String? {
    func letters(_ text: String) -> String {
      text.uppercased().filter { $0.isLetter || $0.isNumber }
    }
    return all.first { mix in ([mix.name] + mix.aliases).contains { letters($0) == letters(name) }
    }?
    .name
  }

  /// Whether the mix, not made pure, gives matrices of any model types that need importance.
  package var requiresImportance: Bool {
    let types = [defaultType] + MixRule.all.filter { $0.names(self) }.compactMap(\.type)
    return types.contains { OutputType($0)?.needsImportance(in: self) == true }
  }
}
