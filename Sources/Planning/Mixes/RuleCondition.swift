import ByteIO
import Formats
import Tensors

/// What a rule may ask about the model, the options and one tensor.
package struct RuleContext: Sendable {
  package var facts: ModelFacts
  package var hasImportance: Bool
  package var name: ExactString
  package var shape: Shape
  package var defaultType: TensorType
  /// How many tensors of the same kind the rules have seen before this one.
  package var turn: Int
  /// How many turns the model has: tensors that hold values, or layers for all others.
  package var turnCount: Int

  /// The layer, which only models with experts take from the name.
  ///
  /// Their feed-forward tensors do not come once per layer.
  fileprivate func layer() throws(FormatError) -> Int {
    guard facts.expertCount > 1 else { return turn }
    guard let layer = layerNumber(of: name), layer < turnCount else {
      throw FormatError(
        file: facts.file, field: "tensor \(name)",
        reason: .inconsistent(
          "its type depends on its layer; the name should start with blk.N, N below \(turnCount)"))
    }
    return layer
  }
}

/// A word of the column `when`, for example `group>=4` or `!importance`.
package struct RuleCondition: Hashable, Sendable {
  /// Part of a model's depth; fractions are integer divisions.
  package enum Span: String, Hashable, Sendable, CaseIterable {
    case first2 = "first-2"
    case first4 = "first-4"
    case firstEighth = "first-8th"
    case firstSixteenth = "first-16th"
    /// All but the first and the last eighth.
    case middle
    /// The first and the last eighth and every third layer between them.
    case sensitive

    package func contains(_ index: Int, of count: Int) -> Bool {
      let inFirstEighth = index < count / 8
      // 7 · count / 8 without overflow.
      let inLastEighth = index >= count / 8 * 7 + count % 8 * 7 / 8
      return switch self {
      case .first2: index < 2
      case .first4: index < 4
      case .firstEighth: inFirstEighth
      case .firstSixteenth: index < count / 16
      case .middle: !inFirstEighth && !inLastEighth
      case .sensitive: inFirstEighth || inLastEighth || (index - count / 8) % 3 == 2
      }
    }
  }

  private enum Test: Hashable, Sendable {
    case architecture(String), modelClass(String)
    case layers(Int), experts(Int), expertsAtLeast(Int), groupAtLeast(Int), grouped
    case importance, stacked, partialBlocks
    case turn(Span), layer(Span)
  }

  private var isNegated: Bool
  private var test: Test

  /// Reads one word; `nil` when it is no condition.
  package init?(_ word: String) {
    isNegated = word.hasPrefix("!")
    let word = word.drop { $0 == "!" }
    if let flag = Self.flags[String(word)] {
      test = flag
      return
    }
    guard let equals = word.firstIndex(of: "=") else { return nil }
    let value = String(word[word.index(after: equals)...])
    switch word[..<equals] {
    case "architecture": test = .architecture(value)
    case "class":
      guard ModelClass.all.contains(where: { $0.name == value }) else { return nil }
      test = .modelClass(value)
    case "turn":
      guard let span = Span(rawValue: value) else { return nil }
      test = .turn(span)
    case "layer":
      guard let span = Span(rawValue: value) else { return nil }
      test = .layer(span)
    case let name:
      guard let number = Int(value) else { return nil }
      switch name {
      case "layers": test = .layers(number)
      case "experts": test = .experts(number)
      case "experts>": test = .expertsAtLeast(number)
      case "group>": test = .groupAtLeast(number)
      default: return nil
      }
    }
  }

  private static let flags: [String: Test] = [
    "grouped": .grouped, "importance": .importance, "stacked": .stacked,
    "partial-blocks": .partialBlocks,
  ]

  /// Whether a tensor meets the condition.
  package func holds(_ context: RuleContext) throws(FormatError) -> Bool {
    try isMet(context) != isNegated
  }

  private func isMet(_ context: RuleContext) throws(FormatError) -> Bool {
    switch test {
    case .turn(let span): span.contains(context.turn, of: context.turnCount)
    case .layer(let span): span.contains(try context.layer(), of: context.turnCount)
    case .importance: context.hasImportance
    case .stacked: context.shape.ggufDimensions.dropFirst(2).first.map { $0 > 1 } ?? false
    case .partialBlocks: context.shape.columnCount % context.defaultType.weightsPerBlock != 0
    case .modelClass(let name):
      ModelClass.all.contains { $0.name == name && $0.holds(context.facts) }
    default: isMet(context.facts)
    }
  }

  /// Whether a model meets the condition.
  ///
  /// - Precondition: the condition asks about the model alone.
  package func holds(_ facts: ModelFacts) -> Bool { isMet(facts) != isNegated }

  private func isMet(_ facts: ModelFacts) -> Bool {
    switch test {
    case .architecture(let name): facts.architecture == name
    case .layers(let count): facts.layerCount == count
    case .experts(let count): facts.expertCount == count
    case .expertsAtLeast(let count): facts.expertCount >= count
    case .groupAtLeast(let count): facts.queriesPerKey >= count
    case .grouped: facts.headCount != facts.headCountKV
    default: preconditionFailure("\(test) depends on a tensor")
    }
  }
}
