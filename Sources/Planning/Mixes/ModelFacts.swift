import Formats

/// What the rules of stock mixes depend on, besides names and shapes of tensors.
package struct ModelFacts: Hashable, Sendable {
  /// Path of the model as the user gave it, for messages.
  package var file: String
  /// `general.architecture`, for example `llama`.
  package var architecture: String
  package var layerCount: Int
  /// Query heads of the first layer.
  package var headCount: Int
  /// Key-value heads of the first layer.
  package var headCountKV: Int
  /// Experts per layer that has any; 0 for a dense model.
  package var expertCount: Int

  package init(
    file: String, architecture: String, layerCount: Int, headCount: Int, headCountKV: Int,
    expertCount: Int
  ) {
    self.file = file
    self.architecture = architecture
    self.layerCount = layerCount
    self.headCount = headCount
    self.headCountKV = headCountKV
    self.expertCount = expertCount
  }

  /// Query heads that share one key-value head, rounded down; 0 without attention.
  package var queriesPerKey: Int { headCountKV > 0 ? headCount / headCountKV : 0 }
}

/// One line of formats/mixes/model-classes.tsv.
struct ModelClass: Sendable {
  var name: String
  private var conditions: [RuleCondition]

  func holds(_ facts: ModelFacts) -> Bool { conditions.allSatisfy { $0.holds(facts) } }

  static let all: [ModelClass] = FormatTable(
    Formats.Mixes.classes, name: "mixes/model-classes.tsv", columns: ["class", "when"]
  ).rows.map { row in
    let words = row.list("when", separator: " ")
    let conditions = words.compactMap(RuleCondition.init)
    precondition(
      conditions.count == words.count, "formats/mixes/model-classes.tsv: line \(row.line)")
    return ModelClass(name: row["class"], conditions: conditions)
  }
}
