import ByteIO
import Formats
import Tensors

/// One row of a table of tensor names: what a tensor of the checkpoint becomes.
struct TensorRule: Sendable {
  enum Presence: String {
    case required, untied, attentionBias, mlpBias, skip
    /// In the layers that have experts; in the others.
    case experts, dense
    /// In the layers that attend to text; in those that attend to a picture, which are left out.
    case selfAttention, crossAttention
  }

  /// Text before and after the layer number; `after` is `nil` where there is none.
  struct Pattern: Hashable, Sendable {
    var before: String
    var after: String?

    init(_ template: String) {
      let parts = template.split(separator: "{L}", omittingEmptySubsequences: false)
      precondition(parts.count <= 2, "two layer numbers in \(template)")
      before = String(parts.first ?? "")
      after = parts.count == 2 ? String(parts[1]) : nil
    }

    func name(layer: Int) -> ExactString {
      ExactString(after.map { "\(before)\(layer)\($0)" } ?? before)
    }
  }

  var source: Pattern
  var archive: Pattern
  var presence: Presence
  private var transform: String
  private var shape: [String]

  /// Whether the archive has no such tensor.
  var isLeftOut: Bool { presence == .skip || presence == .crossAttention }

  var isPerLayer: Bool { source.after != nil }
  /// Whether the rule is for all names that begin like its source.
  var isPrefix: Bool { !isPerLayer && source.before.hasSuffix("*") }

  static func table(_ name: String) -> [TensorRule] {
    guard let bytes = Formats.tensorNames(name) else { preconditionFailure("no table \(name)") }
    return FormatTable(
      bytes, name: "architectures/\(name).tsv",
      columns: ["source", "archive", "transform", "presence", "shape"]
    ).rows.map { row in
      guard let presence = Presence(rawValue: row["presence"]) else {
        preconditionFailure("\(name).tsv, line \(row.line): no presence")
      }
      return TensorRule(
        source: Pattern(row["source"]), archive: Pattern(row["archive"]), presence: presence,
        transform: row["transform"], shape: row.list("shape", separator: " "))
    }
  }

  /// The shape that the configuration demands, row-major.
  ///
  /// - Precondition: `vision` is there for a table of a vision tower.
  func shape(_ configuration: ModelConfiguration, _ vision: VisionConfiguration? = nil) -> Shape {
    Shape(
      shape.map { name in
        if let size = vision?.size(name) { return size }
        return switch name {
        case "vocabulary": configuration.vocabularySize
        case "embedding": configuration.embeddingLength
        case "feedForward": configuration.feedForwardLength
        case "experts": configuration.experts?.count ?? 0
        case "expertFeedForward": configuration.experts?.feedForwardLength ?? 0
        case "queries": configuration.headCount * configuration.headDimension
        case "keys": configuration.headCountKV * configuration.headDimension
        default: preconditionFailure("unknown size \(name)")
        }
      })
  }

  func transform(_ configuration: ModelConfiguration) -> RowTransform {
    switch transform {
    case "identity": .identity
    case "permuteRotary heads": .permuteRotary(headCount: configuration.headCount)
    case "permuteRotary keyHeads": .permuteRotary(headCount: configuration.headCountKV)
    default: preconditionFailure("unknown transform \(transform)")
    }
  }

  /// Whether a layer has experts, or none, as this rule says.
  func mayBe(inLayer layer: Int, _ configuration: ModelConfiguration) -> Bool {
    let hasExperts = configuration.experts?.areIn(layer: layer) == true
    return switch presence {
    case .experts: hasExperts
    case .dense: !hasExperts
    default: true
    }
  }

  /// Whether the model is incomplete without this tensor.
  func isRequired(_ configuration: ModelConfiguration) -> Bool {
    switch presence {
    case .required, .experts, .dense, .selfAttention: true
    case .untied: !configuration.tiesEmbeddings
    case .attentionBias: configuration.hasAttentionBias
    case .mlpBias: configuration.hasMLPBias
    case .skip, .crossAttention: false
    }
  }
}

/// Finds the rule for a name without trying them one by one.
struct TensorRuleIndex {
  let rules: [TensorRule]
  private var indices: [TensorRule.Pattern: Int] = [:]
  private var prefixes: [String] = []
  /// Rules for all names that begin alike.
  private var wholePrefixes: [(prefix: String, rule: Int)] = []

  init(_ rules: [TensorRule]) {
    self.rules = rules
    for (index, rule) in rules.enumerated() {
      if rule.isPrefix {
        wholePrefixes.append((String(rule.source.before.dropLast()), index))
        continue
      }
      let earlier = indices.updateValue(index, forKey: rule.source)
      precondition(earlier == nil, "two rules for \(rule.source)")
      if rule.isPerLayer, !prefixes.contains(rule.source.before) {
        prefixes.append(rule.source.before)
      }
    }
  }

  /// Index of the rule and the layer in the name; `nil` when no rule fits.
  func match(_ name: ExactString) -> (rule: Int, layer: Int?)? {
    if let index = indices[TensorRule.Pattern(whole: name.string)] { return (index, nil) }
    for prefix in prefixes where name.utf8.starts(with: prefix.utf8) {
      let rest = name.utf8.dropFirst(prefix.utf8.count)
      let digits = rest.prefix { $0 &- UInt8(ascii: "0") < 10 }
      guard (1...9).contains(digits.count), digits.count == 1 || digits.first != UInt8(ascii: "0"),
        let layer = Int(String(decoding: digits, as: UTF8.self))
      else { continue }
      let after = String(decoding: rest.dropFirst(digits.count), as: UTF8.self)
      if let index = indices[TensorRule.Pattern(before: prefix, after: after)] {
        return (index, layer)
      }
    }
    for (prefix, rule) in wholePrefixes where name.utf8.starts(with: prefix.utf8) {
      return (rule, nil)
    }
    return nil
  }
}

extension TensorRule.Pattern {
  fileprivate init(whole name: String) { self.init(before: name, after: nil) }
  fileprivate init(before: String, after: String?) {
    self.before = before
    self.after = after
  }
}
