import ByteIO
import StrictJSON

extension CompressedTensorsScheme {
  /// How a preset of compressed-tensors 0.20 stores weights; `nil` for one that leaves them plain.
  ///
  /// Source: formats/quantized-inputs.md.
  package static let presets: [String: String?] = {
    var presets: [String: String?] = ["UNQUANTIZED": nil]
    // What activations are rounded to when the model runs is no matter here.
    for (bits, activations) in [
      (2, [4, 8, 16]), (3, [4, 8, 16]), (4, [4, 8, 16]), (5, [8, 16]), (6, [8, 16]), (7, [8, 16]),
      (8, [16]),
    ] {
      for activation in activations {
        presets["W\(bits)A\(activation)"] = grouped(bits, "int", 128)
      }
    }
    presets["W4AFP8"] = grouped(4, "int", 128)
    presets["W4A16_ASYM"] =
      #"{"num_bits":4,"type":"int","strategy":"group","group_size":128,"symmetric":false}"#
    for name in ["W8A8", "INT8"] {
      presets[name] = #"{"num_bits":8,"type":"int","strategy":"channel"}"#
    }
    presets["FP8"] = #"{"num_bits":8,"type":"float","strategy":"tensor"}"#
    presets["FP8_DYNAMIC"] = #"{"num_bits":8,"type":"float","strategy":"channel"}"#
    presets["FP8_BLOCK"] =
      #"{"num_bits":8,"type":"float","strategy":"block","block_structure":[128,128]}"#
    for name in ["NVFP4", "NVFP4A16"] { presets[name] = grouped(4, "float", 16) }
    for name in ["MXFP4", "MXFP4A16", "MXFP4XFP8"] { presets[name] = grouped(4, "float", 32) }
    for name in ["MXFP6A16", "MXFP6A8"] { presets[name] = grouped(6, "float", 32) }
    for name in ["MXFP8", "MXFP8A16"] { presets[name] = grouped(8, "float", 32) }
    return presets
  }()

  private static func grouped(_ bits: Int, _ type: String, _ length: Int) -> String {
    #"{"num_bits":\#(bits),"type":"\#(type)","strategy":"group","group_size":\#(length)}"#
  }

  /// Reads a group that is a preset's name and its targets, for example `"FP8_DYNAMIC": ["Linear"]`.
  ///
  /// - Returns: `nil` for a preset that leaves weights plain.
  static func preset(
    _ name: String, _ groups: QuantizationFields, _ root: QuantizationFields
  ) throws(FormatError) -> CompressedTensorsScheme? {
    guard let known = presets[name.uppercased()] else {
      throw groups.error(
        printable(name, limit: 80),
        .unsupported(
          found: "a preset of this name", allowed: presets.keys.sorted().joined(separator: ", ")))
    }
    let targets = try groups.strings(name)
    guard let preset = known else { return nil }
    let value = try JSONValue(parsing: Array(preset.utf8), file: groups.file)
    guard let object = value.object else { preconditionFailure("preset \(name)") }
    let weights = QuantizationFields(
      file: groups.file, path: "\(groups.path).\(printable(name, limit: 80))", object: object)
    return CompressedTensorsScheme(
      name: name, targets: targets,
      arithmetic: try arithmetic(weights, try format(root, root)), fields: weights)
  }
}
