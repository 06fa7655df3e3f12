import ByteIO
import StrictJSON

extension QuantizationConfiguration {
  /// Values of `packing_format` that are layouts of other methods, and whether that is AWQ's.
  private static let packings = [
    "auto_round:auto_gptq": false, "auto_round:gptq": false, "auto_round:auto_awq": true,
    "auto_round:awq": true,
  ]

  /// `auto-round` in the layout of GPTQ's first format or of AWQ.
  ///
  /// - Throws: `FormatError` for its other layouts, and for weights of other bits among these.
  static func autoRound(_ root: QuantizationFields) throws(FormatError) -> Method {
    guard let packing = try root.string("packing_format") else {
      throw root.error("packing_format", .missing("\"packing_format\""))
    }
    guard let isAWQ = packings[packing] else {
      throw root.error(
        "packing_format",
        .unsupported(
          found: "\"\(printable(packing, limit: 60))\"",
          allowed: packings.keys.sorted().joined(separator: ", ")),
        advice: "start from the checkpoint that this one was quantized from")
    }
    _ = try root.word("data_type", of: ["int"])
    if let bits = try root.int("act_bits"), bits < 16 {
      throw root.error("act_bits", .unsupported(found: "\(bits)", allowed: "16"))
    }
    if let exceptions = try root.fields("extra_config") {
      for name in exceptions.object.members.map(\.key) {
        guard let module = try exceptions.fields(name) else { continue }
        try checkException(module, root)
      }
    }
    return isAWQ ? .awq(groupLength: try awq(root)) : .gptq(try gptq(root))
  }

  /// A module that is stored otherwise has to be plain.
  private static func checkException(
    _ module: QuantizationFields, _ root: QuantizationFields
  ) throws(FormatError) {
    let bits = try module.int("bits")
    if let bits, bits >= 16 { return }
    for name in ["bits", "group_size"] {
      guard let own = try module.int(name), own != (try root.int(name)) else { continue }
      throw module.error(name, .unsupported(found: "\(own)", allowed: "that of all, or 16 bits"))
    }
    _ = try module.word("data_type", of: ["int"])
  }
}
