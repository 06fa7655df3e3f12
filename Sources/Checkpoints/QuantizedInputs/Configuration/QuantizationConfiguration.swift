import ByteIO
import StrictJSON

/// How the weights of a release were quantized, as far as its tensors do not say it themselves.
///
/// Read from `quantization_config` of `config.json`, or from a file beside it.
/// Source: formats/quantized-inputs.md.
package struct QuantizationConfiguration: Sendable {
  enum Method: Sendable {
    /// `blockSize` as stated; releases that say nothing use 128×128 where scales are no single
    /// numbers.
    case fp8(blockSize: (height: Int, width: Int))
    case compressedTensors([CompressedTensorsScheme])
    case gptq(GPTQ)
    case awq(groupLength: Int?)
    case bitsAndBytes
    case mxfp4
    case modelOpt
    /// Meta's own releases: `fp8_scales_N.pt`, and `quantization_args` of `params.json`.
    case metaFP8
    case metaInt4(MetaQuantization)
    /// Only the cache of keys and values is quantized, when the model runs.
    case cacheOnly
  }

  struct GPTQ: Sendable {
    var bits: Int
    /// `nil`: one group.
    var groupLength: Int?
    /// The first format stores zero points one too small.
    var isFirstFormat: Bool
    /// Columns were ordered by activation, so that only `g_idx` knows their groups.
    var isOrderedByActivation: Bool
  }

  /// Where it was read.
  let file: String
  /// As the file names it.
  let methodName: String
  let method: Method
  /// What states the method, for errors; empty for a file of its own.
  let field: String

  static let byteCountLimit: UInt64 = 16 << 20
  /// What `quant_method` may be; some are spelled in other ways too.
  package static let methodNames = [
    "fp8", "fbgemm_fp8", "compressed-tensors", "gptq", "awq", "auto-round", "bitsandbytes", "mxfp4",
    "modelopt",
  ]

  /// Reads what the folder says; `nil` when it says that nothing is quantized.
  ///
  /// - Throws: `FormatError` for a method or a combination that is not read.
  package static func read(folder: String) throws(FormatError) -> QuantizationConfiguration? {
    let file = DirectoryListing.join(folder, "config.json")
    let document = try JSONValue(file: file, limit: byteCountLimit)
    if document["quantization"]?["bits"] != nil,
      document["quantization_config"]?["quant_method"] == nil
    {
      throw FormatError(
        file: file, field: "quantization",
        reason: .unsupported(
          found: "a model quantized by MLX", allowed: methodNames.joined(separator: ", ")),
        advice: "start from the checkpoint that this one was quantized from")
    }
    // The second is what the first releases of compressed-tensors call it.
    for field in ["quantization_config", "compression_config"] {
      if let value = document[field] {
        return try QuantizationConfiguration(value, file: file, field: field)
      }
    }
    return try readSeparateFile(folder: folder)
  }

  /// Reads the file that releases have whose `config.json` says nothing.
  private static func readSeparateFile(
    folder: String
  ) throws(FormatError) -> QuantizationConfiguration? {
    for (name, method) in separateFiles {
      let file = DirectoryListing.join(folder, name)
      guard DirectoryListing.exists(file) else { continue }
      let document = try JSONValue(file: file, limit: byteCountLimit)
      guard method == "modelopt" else {
        return try QuantizationConfiguration(document, file: file, field: "", method: method)
      }
      let members = document["quantization"]
      if members?["quant_algo"] != nil {
        return QuantizationConfiguration(file: file, methodName: method, method: .modelOpt)
      }
      if members?["kv_cache_quant_algo"] != nil {
        return QuantizationConfiguration(file: file, methodName: method, method: .cacheOnly)
      }
    }
    return nil
  }

  /// Files of older releases, and the methods that write them.
  private static let separateFiles = [
    ("hf_quant_config.json", "modelopt"), ("quantize_config.json", "gptq"),
    ("quant_config.json", "awq"),
  ]

  /// For releases that do not state their method in `quantization_config`.
  init(file: String, methodName: String, method: Method) {
    self.file = file
    self.methodName = methodName
    self.method = method
    field = if case .metaInt4 = method { "quantization_args" } else { "quantization_config" }
  }

  /// Whether weights of full width contradict nothing: then they are quantized when the model runs,
  /// or never.
  var allowsPlainWeights: Bool {
    switch method {
    case .cacheOnly, .bitsAndBytes: true
    default: false
    }
  }

  /// - Parameters:
  ///   - value: of `quantization_config`.
  ///   - file: for errors.
  ///   - field: what has this value, for errors.
  ///   - impliedMethod: what `quant_method` is where it is not stated.
  /// - Throws: `FormatError` for a method or a combination that is not read.
  package init(
    _ value: JSONValue, file: String, field: String = "quantization_config",
    method impliedMethod: String? = nil
  ) throws(FormatError) {
    self.file = file
    self.field = field
    guard let object = value.object else {
      throw FormatError(
        file: file, field: field,
        reason: .outOfRange(found: QuantizationFields.text(value), allowed: "an object"))
    }
    let root = QuantizationFields(file: file, path: field, object: object)
    guard
      let name = try root.string("quant_method") ?? impliedMethod ?? Self.impliedMethod(root)
    else {
      throw root.error("quant_method", .missing("\"quant_method\""))
    }
    methodName = name
    switch name.lowercased() {
    case "fp8", "fbgemm_fp8":
      try root.refuse(["expert_dtype"]) { $0.string == "fp8" }
      _ = try root.word("activation_scheme", of: ["dynamic", "static"])
      _ = try root.word("fmt", of: ["e4m3", "e5m2", "float8_e4m3fn"])
      _ = try root.word("scale_fmt", of: ["float", "ue8m0"])
      method = .fp8(blockSize: try root.block("weight_block_size") ?? (128, 128))
    case "compressed-tensors":
      let schemes = try CompressedTensorsScheme.all(root)
      method = schemes.isEmpty ? .cacheOnly : .compressedTensors(schemes)
    case "gptq": method = .gptq(try Self.gptq(root))
    case "awq": method = .awq(groupLength: try Self.awq(root))
    case "auto-round", "intel/auto-round": method = try Self.autoRound(root)
    case "bitsandbytes": method = .bitsAndBytes
    case "mxfp4": method = .mxfp4
    case "modelopt", "modelopt_fp4", "modelopt_mixed":
      let namesCache = root["kv_cache_quant_algo"] != nil || root["kv_cache_scheme"] != nil
      let namesWeights = root["quant_algo"] != nil || root["config_groups"] != nil
      method = namesCache && !namesWeights ? .cacheOnly : .modelOpt
    default:
      throw root.error(
        "quant_method",
        .unsupported(
          found: "\"\(printable(name, limit: 60))\"",
          allowed: Self.methodNames.joined(separator: ", ")),
        advice: "start from the checkpoint that this one was quantized from")
    }
  }

  /// Old files of bitsandbytes and compressed-tensors do not name their method.
  private static func impliedMethod(_ root: QuantizationFields) -> String? {
    if root["load_in_8bit"]?.bool == true || root["load_in_4bit"]?.bool == true {
      return "bitsandbytes"
    }
    if root["config_groups"] != nil { return "compressed-tensors" }
    return nil
  }

  static func gptq(_ root: QuantizationFields) throws(FormatError) -> GPTQ {
    guard let bits = try root.int("bits") else { throw root.error("bits", .missing("\"bits\"")) }
    guard [2, 3, 4, 8].contains(bits) else {
      throw root.error("bits", .unsupported(found: "\(bits)", allowed: "2, 3, 4, 8"))
    }
    // Other bits for some modules, other kernels' layouts.
    try root.refuse(["dynamic", "is_marlin_format"], unless: QuantizationFields.isEmpty)
    try root.refuse(["pack_dtype"]) { $0.string == "int32" }
    var format = try root.word("format", of: ["gptq", "gptq_v2"])
    if let older = try root.word("checkpoint_format", of: ["gptq", "gptq_v2"]) { format = older }
    return GPTQ(
      bits: bits, groupLength: try root.groupLength("group_size"),
      isFirstFormat: format != "gptq_v2",
      isOrderedByActivation: try root.flag("desc_act") ?? false)
  }

  static func awq(_ root: QuantizationFields) throws(FormatError) -> Int? {
    for name in ["bits", "w_bit"] {
      if let bits = try root.int(name), bits != 4 {
        throw root.error(name, .unsupported(found: "\(bits)", allowed: "4"))
      }
    }
    for name in ["version", "format"] { _ = try root.word(name, of: ["gemm"]) }
    if try root.flag("zero_point") == false {
      throw root.error("zero_point", .unsupported(found: "false", allowed: "true"))
    }
    return try root.groupLength(root["group_size"] == nil ? "q_group_size" : "group_size")
  }
}
