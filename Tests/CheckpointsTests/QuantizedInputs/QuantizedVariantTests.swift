import ByteIO
import Checkpoints
import StrictJSON
import Tensors
import TestSupport
import Testing

/// Another way of writing a release down that means the same.
struct ReleaseVariant: CustomTestStringConvertible, Sendable {
  var golden: String
  var testDescription: String
  var change: @Sendable (inout Release) -> Void

  init(_ golden: String, _ text: String, change: @escaping @Sendable (inout Release) -> Void) {
    self.golden = golden
    self.change = change
    testDescription = "\(golden): \(text)"
  }

  static func status(_ word: String) -> ReleaseVariant {
    ReleaseVariant("ct-float-channel", word) {
      $0.replace(#""compressed","#, by: #""\#(word)","#)
    }
  }

  static func preset(_ name: String, _ golden: String, _ format: String) -> ReleaseVariant {
    ReleaseVariant(golden, name) {
      $0.configuration = """
        {"quant_method": "compressed-tensors", "format": "\(format)",
         "config_groups": {"\(name)": ["Linear"], "UNQUANTIZED": ["re:.*norm"]}}
        """
    }
  }

  /// A symmetric group before an asymmetric one, told apart by targets that are not looked at.
  static func twoGroups(_ golden: String) -> ReleaseVariant {
    ReleaseVariant(golden, "two groups") {
      let groups = ["true", "false"].map { symmetric in
        #"""
        "\#(symmetric)": {"targets": ["re:.*\#(symmetric)"], "weights": {"num_bits": 4,
         "type": "int", "strategy": "group", "group_size": 32, "symmetric": \#(symmetric)}}
        """#
      }
      $0.configuration = """
        {"quant_method": "compressed-tensors", "format": "pack-quantized",
         "config_groups": {\(groups.joined(separator: ","))}}
        """
    }
  }

  /// Zero points that are zero, in words; bits behind the last code are set too.
  static func packedZeros(_ bits: Int) -> ReleaseVariant {
    ReleaseVariant("ct-pack-\(bits)-group", "packed zero points") {
      $0.tensors.append(packedZeroPoints(bits: bits))
    }
  }
}

/// Zero points for 10 rows of 3 groups.
private func packedZeroPoints(bits: Int) -> MemorySource.Tensor {
  let wordCount = (10 * bits + 31) / 32
  var bytes: [UInt8] = []
  for word in 0..<wordCount {
    var value: UInt32 = 0
    for bit in 0..<32 {
      let position = 32 * word + bit
      if position % bits == bits - 1 || position >= 10 * bits { value |= 1 << UInt32(bit) }
    }
    for _ in 0..<3 { bytes += (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
  }
  return .init(name: "a.weight_zero_point", type: .i32, dimensions: [wordCount, 3], bytes: bytes)
}

private let variants: [ReleaseVariant] =
  [
    .status("frozen"), .status("calibration"), .status("initialized"),
    .preset("FP8_DYNAMIC", "ct-float-channel", "float-quantized"),
    .preset("fp8", "ct-float-tensor", "float-quantized"),
    .preset("W8A8", "ct-int-channel", "int-quantized"),
    .preset("NVFP4", "ct-nvfp4", "nvfp4-pack-quantized"),
    .preset("MXFP4A16", "ct-mxfp4", "mxfp4-pack-quantized"),
    .preset("MXFP8", "ct-mxfp8", "mxfp8-quantized"),
    .twoGroups("ct-pack-4-group"), .twoGroups("ct-pack-4-group-asymmetric"),
    ReleaseVariant("auto-round-gptq-4-asymmetric", "under its older name") {
      $0.replace(#""auto-round""#, by: #""intel/auto-round""#)
    },
    ReleaseVariant("auto-round-gptq-4-asymmetric", "as GPTQ") {
      $0.configuration = #"{"quant_method": "gptq", "bits": 4, "group_size": 32}"#
    },
    ReleaseVariant("ct-float-block-ragged", "blocks as text") {
      $0.replace("[16, 32]", by: #""16x32""#)
    },
    ReleaseVariant("ct-pack-4-group", "groups of -1") {
      $0.tensors.append(
        .init(
          name: "a.weight_g_idx", type: .i32, dimensions: [96],
          bytes: [UInt8](repeating: 255, count: 96 * 4)))
    },
    ReleaseVariant("ct-pack-4-group", "plain zero points") {
      $0.tensors.append(
        .init(
          name: "a.weight_zero_point", type: .i8, dimensions: [10, 3],
          bytes: [UInt8](repeating: 0, count: 30)))
    },
  ] + (1...8).map { .packedZeros($0) }

@Test(arguments: variants)
func readsVariantsAlike(_ variant: ReleaseVariant) throws {
  let original = try Release(variant.golden)
  var release = original
  variant.change(&release)
  let (source, other) = (try original.open(), try release.open())
  #expect(source.tensors.map(\.name) == other.tensors.map(\.name))
  for tensor in source.tensors {
    let found = try other.tensor(tensor.name)
    #expect(found.type == tensor.type)
    #expect(try other.bytes(found) == source.bytes(tensor))
  }
}

@Test(arguments: 1...8)
func refusesPackedZeroPointsOfSymmetricWeights(_ bits: Int) throws {
  for place in [0, 10 * bits - 1] {
    var release = try Release("ct-pack-\(bits)-group")
    var zeros = packedZeroPoints(bits: bits)
    // Of the last group; a row of words is twelve bytes.
    zeros.bytes[place / 32 * 12 + 8 + place % 32 / 8] ^= 1 << UInt8(place % 8)
    release.tensors.append(zeros)
    let error = try #require(release.failure())
    #expect("\(error)".contains("a.weight_zero_point"), "\(error)")
  }
}

/// Groups that there are not show before anything is decoded.
@Test(arguments: [(-1, "gives no group, -1, to 1 of 96"), (3, "found group 3"), (-2, "group -2")])
func refusesGroupsOfGPTQWhenOpened(_ group: Int32, _ says: String) throws {
  var release = try Release("gptq-4-actorder")
  release.change("a.g_idx") { tensor in
    withUnsafeBytes(of: group.littleEndian) { tensor.bytes.replaceSubrange(380..<384, with: $0) }
  }
  let error = try #require(throws: FormatError.self) { try release.open() }
  #expect("\(error)".contains("a.g_idx") && "\(error)".contains(says), "\(error)")
}

/// 128×128 blocks of ModelOpt, in both of the shapes that it writes.
@Test(arguments: [[2, 3], [2, 1, 3, 1]])
func readsBlocksOfModelOpt(_ shape: [Int]) throws {
  let (rows, columns) = (130, 300)
  let scales = (0..<6).flatMap { index in
    withUnsafeBytes(of: Float(index + 1).bitPattern.littleEndian) { Array($0) }
  }
  let codes = [UInt8](repeating: 0x38, count: rows * columns)
  let text = #"{"quant_method": "modelopt", "quant_algo": "FP8_PB_WO"}"#
  let source = try QuantizedSource(
    MemorySource([
      .init(name: "a.weight", type: .f8_E4M3, dimensions: [rows, columns], bytes: codes),
      .init(name: "a.weight_scale", type: .f32, dimensions: shape, bytes: scales),
    ]),
    QuantizationConfiguration(JSONValue(parsing: Array(text.utf8), file: "x"), file: "x"))
  let weights = try source.floats(source.tensor("a.weight"))
  for row in [0, 127, 128, 129] {
    for column in [0, 127, 128, 255, 256, 299] {
      #expect(weights[row * columns + column] == Float(row / 128 * 3 + column / 128 + 1))
    }
  }
}

// MARK: What the folder says

private func open(
  _ files: [String: String], _ tensors: [MemorySource.Tensor]
) throws -> (source: any TensorSource, notes: [String]) {
  let folder = TemporaryFolder()
  for (name, text) in files { folder.write(name, text) }
  return try dequantizedSource(MemorySource(tensors), folder: folder.path)
}

@Test func readsTheConfigurationWhereverItStands() throws {
  let awq =
    #"{"zero_point": true, "q_group_size": 32, "w_bit": 4, "version": "GEMM"}"#
  for (golden, name, text) in [
    ("ct-float-channel", "compression_config", nil), ("gptq-4", "quantize_config.json", nil),
    ("awq-gemm", "quant_config.json", awq),
  ] {
    var release = try Release(golden)
    let expected = try release.open()
    if golden == "gptq-4" { release.replace(#""quant_method": "gptq","#, by: "") }
    let configuration = text ?? release.configuration
    let files =
      name.hasSuffix(".json")
      ? ["config.json": "{}", name: configuration]
      : ["config.json": #"{"\#(name)": \#(configuration)}"#]
    let found = try open(files, release.tensors).source
    let (a, b) = (try expected.tensor("a.weight"), try found.tensor("a.weight"))
    #expect(try expected.bytes(a) == found.bytes(b), "\(name)")
  }
}

private let plain = [
  MemorySource.Tensor(name: "a.weight", type: .bf16, dimensions: [2, 2], bytes: []),
  .init(name: "a.k_scale", type: .f32, dimensions: [1], bytes: []),
]

/// Releases that say something about quantization and store plain weights.
@Test(arguments: [
  [
    "config.json":
      #"{"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {}, "kv_cache_scheme": {"num_bits": 8}}}"#
  ],
  [
    "config.json":
      #"{"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true}}"#
  ],
  [
    "config.json":
      #"{"quantization_config": {"quant_method": "modelopt", "kv_cache_scheme": {"num_bits": 8}}}"#
  ],
  [
    "config.json": "{}",
    "hf_quant_config.json":
      #"{"quantization": {"quant_algo": null, "kv_cache_quant_algo": "FP8"}}"#,
  ],
])
func takesPlainWeightsAsTheyAre(_ files: [String: String]) throws {
  let (source, notes) = try open(files, plain)
  #expect(source.tensors.map(\.name.string) == ["a.weight"])
  #expect(notes.contains { $0.contains("taken as they are") })
  #expect(notes.contains { $0.contains("1 scales of activations") })
  for type in [TensorType.f8_E4M3, .u8] {
    var tensors = plain
    tensors[0].type = type
    #expect(throws: FormatError.self) { try open(files, tensors) }
  }
}

@Test(arguments: [
  (#"{"quantization": {"group_size": 64, "bits": 4}}"#, "MLX"),
  (
    #"{"quantization": {"bits": 4}, "quantization_config": {"group_size": 64, "bits": 4}}"#, "MLX"
  ),
  (#"{"compression_config": {"quant_method": "x"}}"#, "compression_config.quant_method"),
])
func namesWhatIsNotRead(_ text: String, _ says: String) throws {
  let error = try #require(throws: FormatError.self) { try open(["config.json": text], plain) }
  #expect("\(error)".contains(says), "\(error)")
}

@Test func namesTheSeparateFile() throws {
  let files = ["config.json": "{}", "quantize_config.json": #"{"bits": 5}"#]
  let error = try #require(throws: FormatError.self) { try open(files, plain) }
  #expect(error.file.hasSuffix("/quantize_config.json"))
  #expect(error.field == "bits")
  let stale = ["config.json": "{}", "quantize_config.json": #"{"bits": 4}"#]
  let other = try #require(throws: FormatError.self) { try open(stale, plain) }
  #expect("\(other)".contains("remove the file"), "\(other)")
}
