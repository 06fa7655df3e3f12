import Formats
import Tensors

/// One line of formats/mixes/mix-rules.tsv: tensors that leave a mix's default type.
package struct MixRule: Sendable {
  /// `nil` for every tensor.
  package var roles: Set<TensorRole>?
  /// Names of mixes; `nil` for every mix.
  package var mixes: Set<String>?
  /// All of them have to hold.
  package var conditions: [RuleCondition]
  /// `nil` for the mix's default type: no later rule is looked at.
  package var type: TensorType?

  /// Whether the rule names this mix, rather than fitting every mix.
  package func names(_ mix: StockMix) -> Bool { mixes?.contains(mix.name) == true }

  /// The type that the first fitting rule gives.
  ///
  /// - Throws: `FormatError` where a rule asks for the layer of a tensor whose name gives none.
  package static func type(
    of role: TensorRole, in mix: StockMix, _ context: RuleContext
  ) throws -> TensorType {
    let rule = try all.first { rule in
      try (rule.mixes == nil || rule.names(mix)) && rule.roles?.contains(role) != false
        && rule.conditions.allSatisfy { try $0.holds(context) }
    }
    return rule?.type ?? mix.defaultType
  }

  package static let all: [MixRule] = FormatTable(
    Formats.Mixes.rules, name: "mixes/mix-rules.tsv",
    columns: ["tensors", "mixes", "when", "type"]
  ).rows.map { row in
    let roles = row.list("tensors").compactMap(TensorRole.init(rawValue:))
    let mixes = row.list("mixes")
    let conditions = row.list("when", separator: " ").compactMap(RuleCondition.init)
    let type = OutputType(name: row["type"])?.type
    precondition(
      (row["tensors"] == "*" || roles.count == row.list("tensors").count)
        && (mixes == ["*"] || mixes.allSatisfy { StockMix(name: $0)?.name == $0 })
        && conditions.count == row.list("when", separator: " ").count
        && (type != nil) != (row["type"] == "default"),
      "formats/mixes/mix-rules.tsv: line \(row.line)")
    return MixRule(
      roles: row["tensors"] == "*" ? nil : Set(roles),
      mixes: mixes == ["*"] ? nil : Set(mixes), conditions: conditions, type: type)
  }
}
