import ByteIO
import StrictJSON

/// How positions turn into rotations of queries and keys.
package struct RotaryConfiguration: Hashable, Sendable {
  /// Base of the rotation frequencies; `nil` where the configuration leaves it open.
  package var theta: Double?
  package var scaling = Scaling.none

  package enum Scaling: Hashable, Sendable {
    case none
    case linear(factor: Double)
    case llama3(Llama3Scaling)
    case yarn(YarnScaling)
  }

  /// Low frequencies are divided by `factor`, high ones stay, those between are blended.
  package struct Llama3Scaling: Hashable, Sendable {
    package var factor: Double
    package var lowFrequencyFactor: Double
    package var highFrequencyFactor: Double
    package var originalContextLength: Int

    package init(
      factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double,
      originalContextLength: Int
    ) {
      self.factor = factor
      self.lowFrequencyFactor = lowFrequencyFactor
      self.highFrequencyFactor = highFrequencyFactor
      self.originalContextLength = originalContextLength
    }
  }

  package struct YarnScaling: Hashable, Sendable {
    package var factor: Double
    package var originalContextLength: Int
    package var extrapolationFactor: Double?
    package var attentionFactor: Double?
    package var betaFast: Double?
    package var betaSlow: Double?
  }

  /// What the reference takes for a llama3 scaling whose original context length nothing says.
  static let defaultLlama3ContextLength = 8192
  /// Default of `rope_theta`.
  static let defaultTheta = 10_000.0
  /// Types that are read; the reference writes nothing for `default` and `dynamic`.
  static let knownTypes = ["default", "dynamic", "linear", "llama3", "yarn"]

  init(theta: Double?, scaling: Scaling) {
    self.theta = theta
    self.scaling = scaling
  }

  /// Reads both generations: `rope_theta` beside `rope_scaling`, and both in `rope_parameters`.
  ///
  /// - Parameters:
  ///   - root: the configuration.
  ///   - contextLength: stands in for a missing `original_max_position_embeddings` where the
  ///     framework fills defaults.
  ///   - defaultTheta: what the framework's own class takes for a missing theta; then
  ///     `original_max_position_embeddings` counts beside `factor` only. `nil` where that class does
  ///     not read the file: then the one beside `max_position_embeddings` counts, too.
  ///   - notes: gets what the user should know.
  /// - Throws: `FormatError` for members that contradict each other or are not read.
  init(
    _ root: ConfigurationReader, contextLength: Int, defaultTheta: Double?,
    notes: inout [String]
  ) throws(FormatError) {
    let older = try Self.nonEmpty(root, "rope_scaling")
    let newer = try Self.nonEmpty(root, "rope_parameters")
    if let older, let newer, !Self.agree(older.object, newer.object) {
      throw root.error(
        "rope_scaling", .inconsistent("differs from rope_parameters in the same file"))
    }
    let parameters = newer ?? older
    let outer = try root.positive("rope_theta")
    let inner = try parameters?.positive("rope_theta")
    if let outer, let inner, outer != inner {
      throw root.error(
        "rope_theta", .inconsistent("is \(outer), but rope_parameters says \(inner)"))
    }
    theta = inner ?? outer ?? defaultTheta
    try Self.refusePartialRotation(root)
    guard let parameters else { return }
    try Self.refusePartialRotation(parameters)
    let range = ModelConfiguration.contextLengths
    var original = try parameters.count(Self.originalContextLengthName, in: range)
    if original == nil {
      original =
        defaultTheta != nil
        ? contextLength : try root.count(Self.originalContextLengthName, in: range)
    }
    scaling = try Self.scaling(parameters, originalContextLength: original, notes: &notes)
  }

  private static let originalContextLengthName = "original_max_position_embeddings"

  private static func nonEmpty(_ root: ConfigurationReader, _ name: String) throws(FormatError)
    -> ConfigurationReader?
  {
    guard let parameters = try root.object(name), !parameters.object.members.isEmpty else {
      return nil
    }
    return parameters
  }

  /// Whether both hold the same members, `type` and `rope_type` being one, `rope_theta` left out.
  private static func agree(_ a: JSONObject, _ b: JSONObject) -> Bool {
    func members(_ object: JSONObject) -> JSONObject {
      var members = JSONObject()
      for (key, value) in object.members where !value.isNull && key != "rope_theta" {
        members.set(key == "type" ? "rope_type" : key, value)
      }
      return members
    }
    return equal(.object(members(a)), .object(members(b)))
  }

  /// Whether two values say the same: `8` equals `8.0`, and members may come in any order.
  private static func equal(_ a: JSONValue, _ b: JSONValue) -> Bool {
    switch (a, b) {
    case (.number(let a), .number(let b)): a.double == b.double
    case (.array(let a), .array(let b)): a.count == b.count && zip(a, b).allSatisfy(equal)
    case (.object(let a), .object(let b)):
      a.members.count == b.members.count
        && a.members.allSatisfy { key, value in b[key].map { equal(value, $0) } ?? false }
    default: a == b
    }
  }

  private static func refusePartialRotation(_ reader: ConfigurationReader) throws(FormatError) {
    if let part = try reader.positive("partial_rotary_factor"), part != 1 {
      throw reader.error("partial_rotary_factor", .unsupported(found: "\(part)", allowed: "1"))
    }
    for name in ["full_attention", "sliding_attention", "mrope_section"] where reader.has(name) {
      throw reader.error(name, .unsupported(found: "it", allowed: "one rotation for all layers"))
    }
  }

  private static func scaling(
    _ parameters: ConfigurationReader, originalContextLength: Int?, notes: inout [String]
  ) throws(FormatError) -> Scaling {
    let older = try parameters.string("type")
    let newer = try parameters.string("rope_type")
    if let older, let newer, older != newer {
      throw parameters.error(
        "rope_type", .inconsistent("is \"\(newer)\", but \"type\" is \"\(older)\""))
    }
    guard let type = newer ?? older else {
      // Without a type, members beside theta would have no effect: then something is missing.
      if parameters.object.members.allSatisfy({ $0.key == "rope_theta" }) { return .none }
      throw parameters.error("rope_type", .missing("\"rope_type\""))
    }
    switch type {
    case "default": return .none
    case "dynamic":
      notes.append("rope type \"dynamic\" acts beyond the trained context only; it is not written")
      return .none
    case "linear": return .linear(factor: try parameters.requiredPositive("factor"))
    case "llama3":
      let scaling = Llama3Scaling(
        factor: try parameters.requiredPositive("factor"),
        lowFrequencyFactor: try parameters.requiredPositive("low_freq_factor"),
        highFrequencyFactor: try parameters.requiredPositive("high_freq_factor"),
        originalContextLength: originalContextLength ?? defaultLlama3ContextLength)
      // Llama 4 Scout has 1 for both: there is nothing between high and low.
      guard scaling.highFrequencyFactor >= scaling.lowFrequencyFactor else {
        throw parameters.error(
          "high_freq_factor",
          .inconsistent(
            "\(scaling.highFrequencyFactor) is below low_freq_factor \(scaling.lowFrequencyFactor)"
          ))
      }
      return .llama3(scaling)
    case "yarn":
      guard let originalContextLength else {
        throw parameters.error(
          originalContextLengthName, .missing("\"\(originalContextLengthName)\""))
      }
      return .yarn(
        YarnScaling(
          factor: try parameters.requiredPositive("factor"),
          originalContextLength: originalContextLength,
          extrapolationFactor: try parameters.positive("extrapolation_factor"),
          attentionFactor: try parameters.positive(
            parameters.has("attention_factor") ? "attention_factor" : "attn_factor"),
          betaFast: try parameters.positive("beta_fast"),
          betaSlow: try parameters.positive("beta_slow")))
    default:
      throw parameters.error(
        "rope_type",
        .unsupported(
          found: "\"\(printable(type, limit: 40))\"", allowed: knownTypes.joined(separator: ", ")))
    }
  }
}
