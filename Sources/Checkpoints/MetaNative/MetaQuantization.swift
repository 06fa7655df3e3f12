import ByteIO
import StrictJSON

/// What `params.json` says about a quantized Llama 3.2 (QLoRA, SpinQuant).
///
/// Source: formats/meta-native.md, "Four-bit weights"
struct MetaQuantization: Hashable, Sendable {
  /// Columns that share a scale.
  var groupLength: Int
  var lora: LoRA?
  /// SpinQuant: the inputs of `w2` are rotated while the model runs.
  var hasRotatedInputs: Bool

  struct LoRA: Hashable, Sendable {
    var rank: Int
    var scale: Double
  }

  static let schemes = ["int4_weight_int8_dynamic_activation"]
  private static let groupLengths = 1...(1 << 16)
  private static let ranks = 1...(1 << 12)

  /// `nil` when the weights are plain.
  ///
  /// - Throws: `FormatError` for what Meta's loader would not take either.
  static func read(_ file: String) throws(FormatError) -> MetaQuantization? {
    let document = try JSONValue(file: file, limit: QuantizationConfiguration.byteCountLimit)
    guard let object = document.object else { return nil }
    let root = QuantizationFields(file: file, path: "params", object: object)
    guard let fields = try root.fields("quantization_args") else {
      guard root["lora_args"] == nil else {
        throw root.error(
          "lora_args",
          .unsupported(found: "adaptors without quantization_args", allowed: "both or none"))
      }
      return nil
    }
    guard try fields.word("scheme", of: schemes) != nil else {
      throw fields.error("scheme", .missing(schemes[0]))
    }
    guard let groupLength = try fields.int("group_size") else {
      throw fields.error("group_size", .missing("a length"))
    }
    guard groupLengths.contains(groupLength) else {
      throw fields.error(
        "group_size", .outOfRange(found: "\(groupLength)", allowed: "\(groupLengths)"))
    }
    return MetaQuantization(
      groupLength: groupLength, lora: try root.fields("lora_args").map(lora),
      hasRotatedInputs: try fields.flag("spinquant") ?? false)
  }

  private static func lora(_ fields: QuantizationFields) throws(FormatError) -> LoRA {
    guard let rank = try fields.int("rank"), ranks.contains(rank) else {
      throw fields.error(
        "rank",
        .outOfRange(
          found: QuantizationFields.text(fields["rank"] ?? .null), allowed: "\(ranks)"))
    }
    guard let scale = fields["scale"]?.double, scale.isFinite else {
      throw fields.error(
        "scale",
        .outOfRange(
          found: QuantizationFields.text(fields["scale"] ?? .null), allowed: "a finite number"))
    }
    return LoRA(rank: rank, scale: scale)
  }
}
