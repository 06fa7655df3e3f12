import ByteIO
import Checkpoints
import Tensors
import TestSupport
import Testing

/// A release with one fault, and what the error has to say.
struct BadRelease: CustomTestStringConvertible, Sendable {
  var golden: String
  var says: [String]
  var damage: @Sendable (inout Release) -> Void
  var testDescription: String { "\(golden): \(says.joined(separator: ", "))" }

  init(_ golden: String, says: String..., damage: @escaping @Sendable (inout Release) -> Void) {
    self.golden = golden
    self.says = says
    self.damage = damage
  }

  /// A member of the configuration with another value.
  static func configuration(
    _ golden: String, _ text: String, _ other: String, says: String...
  ) -> BadRelease {
    var bad = BadRelease(golden) { $0.replace(text, by: other) }
    bad.says = says
    return bad
  }

  static func without(_ golden: String, _ name: String, says: String...) -> BadRelease {
    var bad = BadRelease(golden) { release in release.tensors.removeAll { $0.name == name } }
    bad.says = says
    return bad
  }

  static func shape(
    _ golden: String, _ name: String, _ dimensions: [Int], says: String...
  ) -> BadRelease {
    var bad = BadRelease(golden) { $0.change(name) { $0.dimensions = dimensions } }
    bad.says = says
    return bad
  }

  static func type(
    _ golden: String, _ name: String, _ type: TensorType, says: String...
  ) -> BadRelease {
    var bad = BadRelease(golden) { $0.change(name) { $0.type = type } }
    bad.says = says
    return bad
  }
}

private let configurations: [BadRelease] = [
  .configuration(
    "gptq-4", #""quant_method": "gptq""#, #""quant_method": "spqr""#, says: "quant_method",
    "\"spqr\"", "bitsandbytes"),
  .configuration("gptq-4", #""quant_method": "gptq","#, "", says: "missing \"quant_method\""),
  .configuration("gptq-4", #""bits": 4"#, #""bits": 5"#, says: "quantization_config.bits", "5"),
  .configuration("gptq-4", #""bits": 4"#, #""bits": "4""#, says: "bits", "an integer"),
  .configuration("gptq-4", #""bits": 4"#, #""bits": 8"#, says: "a.g_idx"),
  .configuration(
    "gptq-4", #""group_size": 32"#, #""group_size": 0"#, says: "group_size", "found 0"),
  .configuration("gptq-4", #""group_size": 32"#, #""group_size": -2"#, says: "found -2"),
  .configuration("gptq-4", #""group_size": 32"#, #""group_size": 16"#, says: "a.scales"),
  .configuration(
    "gptq-4", #""group_size": 32"#, #""group_size": 9223372036854775807"#, says: "group_size"),
  .configuration(
    "gptq-4", #""checkpoint_format": "gptq""#, #""checkpoint_format": "marlin""#, says: "marlin"),
  .configuration(
    "gptq-4", #""sym": false"#, #""dynamic": {"a": {"bits": 8}}"#, says: "dynamic"),
  .configuration(
    "auto-round-gptq-4", #""auto_round:auto_gptq""#, #""auto_round:gptqmodel""#,
    says: "packing_format", "auto_round:gptqmodel", "auto_round:auto_awq"),
  .configuration("auto-round-gptq-4", #""packing_format""#, #""packing""#, says: "packing_format"),
  .configuration("auto-round-gptq-4", #""bits": 4"#, #""bits": 5"#, says: "bits", "5"),
  .configuration(
    "auto-round-gptq-4", #""data_type": "int""#, #""data_type": "mx_fp""#, says: "data_type"),
  .configuration(
    "auto-round-gptq-4", #"{"bits": 16, "data_type": "float"}"#, #"{"bits": 8}"#,
    says: "extra_config.lm_head.bits", "found 8"),
  .configuration(
    "auto-round-gptq-4", #"{"bits": 16, "data_type": "float"}"#, #"{"group_size": 64}"#,
    says: "extra_config.lm_head.group_size"),
  .configuration(
    "auto-round-gptq-4", #""iters": 200"#, #""act_bits": 8"#, says: "act_bits", "found 8"),
  .configuration("auto-round-awq", #""bits": 4"#, #""bits": 8"#, says: "bits", "8"),
  .configuration("awq-gemm", #""version": "gemm""#, #""version": "gemv""#, says: "version", "gemv"),
  .configuration("awq-gemm", #""bits": 4"#, #""bits": 8"#, says: "bits", "8"),
  .configuration("awq-gemm", #""zero_point": true"#, #""zero_point": false"#, says: "zero_point"),
  .configuration("fp8-block-f32", "[16, 32]", "[16, 0]", says: "weight_block_size"),
  .configuration("fp8-block-f32", "[16, 32]", "[32, 64, 1]", says: "weight_block_size"),
  .configuration("fp8-block-f32", "[16, 32]", "[8, 8]", says: "a.weight_scale_inv", "8×8"),
  .configuration(
    "ct-pack-4-group", #""group_size": 32"#, #""group_size": 0"#, says: "group_0.weights.group_size"
  ),
  .configuration(
    "ct-pack-4-group", #""group_size": 32"#, #""group_size": 48"#, says: "a.weight_scale", "48"),
  .configuration(
    "ct-pack-4-group", #""num_bits": 4"#, #""num_bits": 8"#, says: "a.weight_shape", "8-bit"),
  .configuration("ct-pack-4-group", #""num_bits": 4"#, #""num_bits": 16"#, says: "num_bits"),
  .configuration(
    "ct-pack-4-group", #""num_bits": 4"#, #""num_bits": 4, "rotation": 1"#, says: "rotation"),
  .configuration(
    "ct-pack-4-group", "pack-quantized", "marlin-24", says: "quantization_config.format",
    "marlin-24"),
  .configuration(
    "ct-pack-4-group", #""ignore": ["lm_head"]"#,
    #""transform_config": {"config_groups": {"u": {"type": "hadamard"}}}"#,
    says: "transform_config"),
  .configuration(
    "ct-pack-4-group", #""ignore": ["lm_head"]"#,
    #""sparsity_config": {"format": "sparse-bitmask"}"#, says: "sparsity_config"),
  .configuration(
    "ct-pack-4-group", #""strategy": "group""#, #""strategy": "token""#, says: "strategy", "token"),
  .configuration("ct-nvfp4", #""group_size": 16"#, #""group_size": 32"#, says: "group_size", "16"),
  .configuration(
    "ct-float-channel", #""num_bits": 8"#, #""num_bits": 8, "symmetric": false"#,
    says: "symmetric"),
  .configuration(
    "ct-float-channel", "float-quantized", "int-quantized", says: "type", "int-quantized"),
  .configuration(
    "ct-float-channel", #""quantization_status": "compressed""#,
    #""quantization_status": "sparse""#, says: "quantization_status", "frozen"),
  .configuration(
    "ct-float-channel", #""config_groups": {"#, #""config_groups": {"FP9": ["Linear"], "#,
    says: "config_groups.FP9", "FP8_DYNAMIC"),
  .configuration(
    "ct-float-block-ragged", "[16, 32]", #""16x32x1""#, says: "block_structure", "16x32x1"),
  .configuration("ct-float-block-ragged", "[16, 32]", #""16x0""#, says: "block_structure"),
  .configuration("fp8-block-f32", "[16, 32]", #""16x32""#, says: "weight_block_size"),
  .configuration(
    "gptq-4-bf16-no-index", #""desc_act": false"#, #""desc_act": true"#, says: "a.qweight",
    "missing tensor a.g_idx", "desc_act"),
]

private let contents: [BadRelease] = [
  .without("fp8-block-f32", "a.weight_scale_inv", says: "a.weight", "missing its scale"),
  .without("fp8-block-f32", "a.weight", says: "missing the weight a.weight"),
  .without("fp8-tensor", "a.weight", says: "a.weight_scale", "missing the weight a.weight"),
  .type("fp8-tensor", "a.weight", .i8, says: "a.weight_scale", "stored as I8"),
  .type("fp8-tensor", "a.weight_scale", .i32, says: "a.weight_scale", "I32"),
  .shape("fp8-tensor", "a.weight", [2048], says: "a.weight", "2 dimensions or more"),
  .shape("fp8-tensor", "a.weight", [0, 64], says: "a.weight", "2^48"),
  .shape("fp8-tensor", "a.weight", [0, 1 << 40, 1 << 40], says: "a.weight", "2^48"),
  .shape("fbgemm-fp8-rows", "a.weight_scale", [31, 1], says: "a.weight_scale", "does not fit"),
  .shape("fp8-block-f32", "a.weight_scale_inv", [2, 3], says: "a.weight_scale_inv"),
  BadRelease("fp8-tensor", says: "a.weight", "duplicate scale") { release in
    release.tensors.append(
      .init(name: "a.weight_scale_inv", type: .f32, dimensions: [1], bytes: [0, 0, 0, 0]))
  },
  BadRelease("ct-pack-4-group", says: "a.weight", "both plain and quantized") { release in
    release.tensors.append(.init(name: "a.weight", type: .bf16, dimensions: [10, 96], bytes: []))
  },
  .without("ct-pack-4-group", "a.weight_scale", says: "a.weight_packed", "a.weight_scale"),
  .without("ct-pack-4-group", "a.weight_shape", says: "a.weight_packed", "a.weight_shape"),
  .without("ct-pack-4-group-asymmetric", "a.weight_zero_point", says: "a.weight_zero_point"),
  .without("ct-pack-4-group", "a.weight_packed", says: "a.weight_scale", "missing the weight"),
  .shape("ct-pack-4-group", "a.weight_shape", [3], says: "a.weight_shape", "3 numbers"),
  .shape("ct-pack-4-group-asymmetric", "a.weight_zero_point", [1, 3], says: "a.weight_zero_point"),
  .shape("ct-pack-4-actorder", "a.weight_g_idx", [95], says: "a.weight_g_idx", "95"),
  .without("ct-nvfp4", "a.weight_global_scale", says: "a.weight_global_scale"),
  .shape("ct-nvfp4", "a.weight_global_scale", [2], says: "a.weight_global_scale"),
  .type("ct-nvfp4", "a.weight_scale", .u8, says: "a.weight_scale", "F8_E4M3"),
  .shape("ct-int-asymmetric", "a.weight_zero_point", [23, 1], says: "a.weight_zero_point"),
  .without("gptq-4", "a.scales", says: "a.qweight", "a.scales"),
  .without("gptq-4", "a.qzeros", says: "a.qweight", "a.qzeros"),
  .shape("gptq-4", "a.g_idx", [56], says: "a.g_idx", "56"),
  .shape("gptq-4", "a.g_idx", [640], says: "a.g_idx", "640"),
  .shape("gptq-4", "a.scales", [32, 2], says: "a.scales"),
  .shape("gptq-4", "a.qzeros", [4, 2], says: "a.qzeros"),
  .shape("gptq-4", "a.qweight", [256], says: "a.qweight", "2 dimensions"),
  .type("gptq-4", "a.qweight", .f32, says: "a.qweight", "I32"),
  .without("awq-gemm", "a.scales", says: "a.qweight", "a.scales"),
  .shape("awq-gemm", "a.qzeros", [1, 10], says: "a.qzeros"),
  .without("bnb-nf4-f16", "a.weight.absmax", says: "a.weight.absmax"),
  .without("bnb-nf4-f16", "a.weight.quant_map", says: "a.weight.quant_map"),
  .without("bnb-nf4-f16", "a.weight", says: "missing the weight a.weight"),
  .shape("bnb-nf4-f16", "a.weight.absmax", [23], says: "a.weight.absmax", "23 scales"),
  .shape("bnb-nf4-f16", "a.weight.quant_map", [15], says: "a.weight.quant_map", "16"),
  .shape("bnb-nf4-f16", "a.weight", [767, 1], says: "a.weight", "767 bytes"),
  .without("bnb-nf4-bf16-nested", "a.weight.nested_absmax", says: "nested_absmax"),
  .shape("bnb-nf4-bf16-nested", "a.weight.nested_absmax", [2], says: "nested_absmax"),
  .shape("bnb-nf4-bf16-nested", "a.weight.nested_quant_map", [255], says: "nested_quant_map"),
  .without("bnb-int8", "a.weight", says: "a.SCB", "missing the weight"),
  .shape("bnb-int8", "a.SCB", [23], says: "a.SCB"),
  BadRelease("bnb-int8", says: "a.weight_format", "tiled") { release in
    release.change("a.weight_format") { $0.bytes = [2] }
  },
  BadRelease("bnb-nf4-f16", says: "a.weight", "two ways") { release in
    release.change("a.weight") { $0.type = .i8 }
    release.tensors.append(.init(name: "a.SCB", type: .f32, dimensions: [768], bytes: []))
  },
  BadRelease("bnb-nf4-f16", says: "a.weight") { release in
    let text = #"{"quant_type":"fp4","dtype":"float16","shape":[12,128],"blocksize":64}"#
    release.tensors.append(
      .init(
        name: "a.weight.quant_state.bitsandbytes__fp4", type: .u8,
        dimensions: [text.utf8.count], bytes: Array(text.utf8)))
  },
  .shape("ct-pack-3-group", "a.weight_packed", [10, 10], says: "a.weight_packed", "words of 10"),
  .without("mxfp4-blocks", "a.weight_scales", says: "a.weight_blocks", "a.weight_scales"),
  .shape("mxfp4-blocks", "a.weight_scales", [10, 2], says: "a.weight_scales"),
  .without("modelopt-nvfp4", "a.weight_scale_2", says: "a.weight", "a.weight_scale_2"),
  .shape("modelopt-nvfp4", "a.weight_scale", [10, 5], says: "a.weight_scale"),
]

/// Faults that only the bytes show.
private let bytes: [BadRelease] =
  [(0, 11), (0, 9), (1, 95), (1, 200), (1, 0)].map { index, value in
    BadRelease("ct-pack-4-channel-odd", says: "a.weight_shape", "says [") { release in
      release.change("a.weight_shape") { $0.bytes[index * 8] = UInt8(value) }
    }
  } + [
    BadRelease("ct-pack-4-channel-odd", says: "a.weight_shape", "says [") { release in
      release.change("a.weight_shape") { $0.bytes[15] = 0x80 }
    },
    BadRelease("ct-pack-4-channel-odd", says: "a.weight_shape", "says [") { release in
      release.change("a.weight_shape") { $0.bytes[15] = 0x7F }
    },
    BadRelease("gptq-4-actorder", says: "a.g_idx", "group 200 for column 7", "0 to 2") { release in
      release.change("a.g_idx") { $0.bytes[7 * 4] = 200 }
    },
    BadRelease("gptq-4-actorder", says: "a.g_idx", "group -") { release in
      release.change("a.g_idx") { $0.bytes[7 * 4 + 3] = 0xFF }
    },
    BadRelease("ct-pack-4-actorder", says: "a.weight_g_idx", "group 3 for column 0") { release in
      release.change("a.weight_g_idx") { $0.bytes[0] = 3 }
    },
    BadRelease("ct-pack-4-actorder", says: "a.weight_g_idx", "-1, to 1 of 96") { release in
      release.change("a.weight_g_idx") {
        $0.bytes.replaceSubrange(0..<4, with: [255, 255, 255, 255])
      }
    },
    BadRelease("bnb-nf4-f16", says: "a.weight.quant_map", "for code 3") { release in
      release.change("a.weight.quant_map") { $0.bytes[3 * 4 + 1] ^= 0x10 }
    },
    BadRelease("bnb-fp4-f16", says: "a.weight.quant_map", "code 0") { release in
      release.change("a.weight.quant_map") { $0.bytes.replaceSubrange(2..<4, with: [0xC0, 0x7F]) }
    },
    BadRelease("ct-int-channel", says: "a.weight_zero_point", "symmetric") { release in
      var zeros = [UInt8](repeating: 0, count: 24)
      zeros[23] = 5
      release.tensors.append(
        .init(name: "a.weight_zero_point", type: .i8, dimensions: [24, 1], bytes: zeros))
    },
  ]
  + [
    ("{", "a.weight.quant_state"), ("[]", "no JSON object"), ("{}", "quant_type"),
    (#"{"quant_type":"fp4"}"#, "dtype"),
    (#"{"quant_type":"fp4","dtype":"float16","shape":[12,128],"blocksize":64}"#, "fp4"),
    (#"{"quant_type":"nf4","dtype":"int8","shape":[12,128],"blocksize":64}"#, "int8"),
    (#"{"quant_type":"nf4","dtype":"float16","shape":[],"blocksize":64}"#, "shape"),
    (#"{"quant_type":"nf4","dtype":"float16","shape":[12,-128],"blocksize":64}"#, "shape"),
    (#"{"quant_type":"nf4","dtype":"float16","shape":[12,129],"blocksize":64}"#, "[12, 129]"),
    (
      #"{"quant_type":"nf4","dtype":"float16","shape":[4294967296,4294967296],"blocksize":64}"#,
      "2^63"
    ),
    (#"{"quant_type":"nf4","dtype":"float16","shape":[12,128],"blocksize":0}"#, "blocksize"),
    (#"{"quant_type":"nf4","dtype":"float16","shape":[12,128],"blocksize":32}"#, "24 scales"),
    (
      #"{"quant_type":"nf4","dtype":"float16","shape":[12,128],"blocksize":64,"nested_blocksize":256}"#,
      "nested_offset"
    ),
  ].map { text, says in
    BadRelease("bnb-nf4-f16", says: says) { release in
      release.change("a.weight.quant_state.bitsandbytes__nf4") { tensor in
        tensor.bytes = Array(text.utf8)
        tensor.dimensions = [text.utf8.count]
      }
    }
  } + [
    BadRelease("bnb-nf4-f16", says: "quant_state", "at most 4096 bytes") { release in
      release.change("a.weight.quant_state.bitsandbytes__nf4") { $0.dimensions = [1 << 20] }
    }
  ]

@Test(arguments: configurations + contents + bytes)
func refusesBadRelease(_ bad: BadRelease) throws {
  var release = try Release(bad.golden)
  #expect(release.failure() == nil)
  bad.damage(&release)
  let error = try #require(release.failure(), "accepted")
  for text in bad.says { #expect("\(error)".contains(text), "\(error)") }
}

/// Scales that are no numbers reach the weights, where a conversion looks for them.
@Test func nonFiniteScalesShowInTheWeights() throws {
  var release = try Release("fbgemm-fp8-rows")
  release.change("a.weight_scale") { $0.bytes.replaceSubrange(0..<4, with: [0, 0, 0xC0, 0x7F]) }
  let source = try release.open()
  let weights = try source.floats(source.tensor("a.weight"))
  #expect(weights[..<64].allSatisfy { $0.isNaN })
  #expect(weights[64...].allSatisfy { $0.isFinite })
}

/// Whatever is changed, there is a result or one error; nothing traps and nothing grows.
@Test(arguments: QuantizedGolden.names)
func survivesMutations(_ name: String) throws {
  let original = try Release(name)
  var random = SplitMix64(seed: name.utf8.reduce(0) { $0 &* 31 &+ UInt64($1) })
  var refused = 0
  for _ in 0..<300 {
    var release = original
    for _ in 0..<Int.random(in: 1...3, using: &random) { release.mutate(&random) }
    if release.failure() != nil { refused += 1 }
  }
  #expect(refused > 30)
}

extension Release {
  fileprivate mutating func mutate(_ random: inout SplitMix64) {
    guard let index = tensors.indices.randomElement(using: &random) else { return }
    switch Int.random(in: 0..<7, using: &random) {
    case 0: tensors.remove(at: index)
    case 1:
      tensors[index].type = SafetensorsHeader.elementTypes.randomElement(using: &random) ?? .u8
    case 2:
      guard !tensors[index].dimensions.isEmpty else { return }
      let place = tensors[index].dimensions.indices.randomElement(using: &random) ?? 0
      let sizes = [0, 1, 2, 3, 7, 8, 31, 64, 65, 97]
      tensors[index].dimensions[place] = sizes.randomElement(using: &random) ?? 1
    case 3: tensors[index].dimensions.append(Int.random(in: 0...2, using: &random))
    case 4:
      tensors[index].dimensions = [0, Int.max >> Int.random(in: 0...40, using: &random)]
    case 5:
      guard let place = tensors[index].bytes.indices.randomElement(using: &random) else { return }
      tensors[index].bytes[place] = UInt8.random(in: 0...255, using: &random)
    default:
      var text = Array(configuration.utf8)
      guard let place = text.indices.randomElement(using: &random) else { return }
      text[place] = [UInt8](#"0123456789{}[]",:-etnu"#.utf8).randomElement(using: &random) ?? 48
      configuration = String(decoding: text, as: UTF8.self)
    }
    // No file holds what a shape like this asks for: a reader refuses it before.
    let tensor = tensors.indices.contains(index) ? tensors[index] : nil
    if let tensor, Shape(tensor.dimensions).checkedElementCount.map({ $0 > 1 << 15 }) ?? true {
      tensors[index].dimensions = [0, 1 << 60]
    }
  }
}

/// Many threads read parts of transposed and plain weights at once.
@Test(arguments: ["gptq-4-slabs", "awq-gemm", "ct-pack-4-actorder", "bnb-nf4-f16-nested-large"])
func readsFromManyThreads(_ name: String) async throws {
  let golden = try QuantizedGolden(name)
  let tensor = try golden.source.tensor("a.weight")
  let whole = try QuantizedGolden(name).source.bytes(tensor)
  let width = tensor.type.bytesPerBlock
  try await withThrowingTaskGroup(of: Bool.self) { group in
    for row in 0..<tensor.rowCount {
      group.addTask {
        let range = row * tensor.columnCount..<(row + 1) * tensor.columnCount
        return try golden.source.bytes(tensor, range)
          == Array(whole[range.lowerBound * width..<range.upperBound * width])
      }
    }
    for try await isEqual in group { #expect(isEqual) }
  }
}
