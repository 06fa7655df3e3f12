import ByteIO
import StrictJSON

/// One entry of compressed-tensors' `config_groups`: how some weights were quantized.
package struct CompressedTensorsScheme: Sendable {
  enum Format: String, Sendable, CaseIterable {
    case float = "float-quantized"
    case int = "int-quantized"
    case naive = "naive-quantized"
    case packed = "pack-quantized"
    case mxfp8 = "mxfp8-quantized"
    case mxfp4 = "mxfp4-pack-quantized"
    case nvfp4 = "nvfp4-pack-quantized"
  }

  /// Names of all formats, in the order of the page.
  package static var formatNames: [String] { Format.allCases.map(\.rawValue) }

  /// What decides how a weight is decoded.
  struct Arithmetic: Hashable, Sendable {
    var format: Format
    var bits: Int
    var isFloat: Bool
    var isSymmetric: Bool
    var granularity: ScaleGrid.Granularity
  }

  /// For example `group_0`.
  var name: String
  var targets: [String]
  var arithmetic: Arithmetic
  /// Where it stands, for errors.
  var fields: QuantizationFields

  /// Reads all groups that quantize weights; none where only the cache is quantized.
  static func all(_ root: QuantizationFields) throws(FormatError) -> [CompressedTensorsScheme] {
    // Rotations and sparsity change what the numbers mean.
    try root.refuse(["transform_config"], unless: QuantizationFields.isEmpty)
    try root.refuse(["sparsity_config"]) {
      QuantizationFields.isEmpty($0) || $0["format"]?.string == "dense"
    }
    // Where the library was when it saved; what is stored shows whether weights are quantized.
    _ = try root.word(
      "quantization_status",
      of: ["initialized", "calibration", "frozen", "compressed", "decompressed"])
    let hasCache = root["kv_cache_scheme"] != nil
    guard let groups = try root.fields("config_groups") else {
      if hasCache { return [] }
      throw root.error("config_groups", .missing("\"config_groups\""))
    }
    var schemes: [CompressedTensorsScheme] = []
    for (name, value) in groups.object.members {
      if value.array != nil {
        if let scheme = try preset(name, groups, root) { schemes.append(scheme) }
        continue
      }
      guard let group = try groups.fields(name) else { continue }
      try group.allowOnly([
        "targets", "weights", "input_activations", "output_activations", "format",
      ])
      guard let weights = try group.fields("weights") else { continue }
      schemes.append(
        CompressedTensorsScheme(
          name: name, targets: try group.strings("targets"),
          arithmetic: try arithmetic(weights, try format(root, group)), fields: weights))
    }
    guard !schemes.isEmpty || hasCache else {
      throw root.error("config_groups", .missing("a group that quantizes weights"))
    }
    return schemes
  }

  static func format(
    _ root: QuantizationFields, _ group: QuantizationFields
  ) throws(FormatError) -> Format {
    let owner = group["format"] == nil ? root : group
    guard let name = try owner.string("format") else {
      throw owner.error("format", .missing("\"format\""))
    }
    guard let format = Format(rawValue: name) else {
      throw owner.error(
        "format",
        .unsupported(
          found: "\"\(printable(name, limit: 60))\"",
          allowed: formatNames.joined(separator: ", ")))
    }
    return format
  }

  static func arithmetic(
    _ weights: QuantizationFields, _ format: Format
  ) throws(FormatError) -> Arithmetic {
    try weights.allowOnly([
      "num_bits", "type", "symmetric", "group_size", "strategy", "block_structure", "dynamic",
      "actorder", "scale_dtype", "zp_dtype", "observer", "observer_kwargs", "is_mse",
    ])
    let bits = try weights.int("num_bits") ?? 8
    let isFloat = try weights.word("type", of: ["int", "float"]) == "float"
    let isSymmetric = try weights.flag("symmetric") ?? true
    let allowed: (bits: ClosedRange<Int>, isFloat: [Bool]) =
      switch format {
      case .float, .mxfp8: (8...8, [true])
      case .int: (8...8, [false])
      case .naive: (8...8, [true, false])
      case .packed: (1...8, [false])
      case .mxfp4, .nvfp4: (4...4, [true])
      }
    guard allowed.isFloat.contains(isFloat) else {
      throw weights.error(
        "type",
        .inconsistent("\(isFloat ? "float" : "int") weights in the format \(format.rawValue)"))
    }
    guard allowed.bits.contains(bits) else {
      throw weights.error(
        "num_bits",
        .unsupported(
          found: "\(bits) bits in the format \(format.rawValue)",
          allowed: "\(allowed.bits.lowerBound) to \(allowed.bits.upperBound)"))
    }
    guard isSymmetric || !isFloat else {
      throw weights.error(
        "symmetric", .unsupported(found: "false for float weights", allowed: "true"))
    }
    return Arithmetic(
      format: format, bits: bits, isFloat: isFloat, isSymmetric: isSymmetric,
      granularity: try granularity(weights, format))
  }

  private static func granularity(
    _ weights: QuantizationFields, _ format: Format
  ) throws(FormatError) -> ScaleGrid.Granularity {
    let length = try weights.groupLength("group_size")
    let strategy =
      try weights.word(
        "strategy", of: ["tensor", "channel", "group", "tensor_group", "block"])
      ?? (length != nil ? "group" : weights["group_size"] != nil ? "channel" : "tensor")
    switch strategy {
    case "tensor": return .tensor
    case "channel": return .row
    case "block":
      guard let block = try weights.block("block_structure", isTextAllowed: true) else {
        throw weights.error("block_structure", .missing("\"block_structure\""))
      }
      return .block(height: block.height, width: block.width)
    default:
      guard let length else {
        throw weights.error("group_size", .missing("a length for the strategy \(strategy)"))
      }
      let fixed: Int? =
        switch format {
        case .nvfp4: 16
        case .mxfp4, .mxfp8: 32
        default: nil
        }
      if let fixed, length != fixed {
        throw weights.error(
          "group_size",
          .outOfRange(found: "\(length)", allowed: "\(fixed) in the format \(format.rawValue)"))
      }
      return .group(length)
    }
  }
}
