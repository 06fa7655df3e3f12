import ByteIO
import Checkpoints
import Tensors
import TestSupport
import Testing

/// The bundled model's first layer as a quantized release, with codes made up.
///
/// What the codes mean is tested elsewhere, against the libraries; here a release and the same
/// weights stored plainly become the same archive.
private struct MadeRelease {
  typealias Part = (suffix: String, type: TensorType, dimensions: [Int], bytes: [UInt8])

  var configuration: String
  /// Parts of one weight of some rows and columns.
  var parts: @Sendable (_ rows: Int, _ columns: Int, inout Bytes) -> [Part]

  /// Pseudo-random bytes.
  struct Bytes {
    var state: UInt64 = 1
    mutating func codes(_ count: Int, mask: UInt8 = 0xFF) -> [UInt8] {
      (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 56) & mask
      }
    }
    /// Positive numbers near a power of two, as the high bytes of F32.
    mutating func scales(_ count: Int, exponent: UInt8, width: Int) -> [UInt8] {
      codes(count, mask: 0x7F).flatMap { [UInt8](repeating: 0, count: width - 2) + [$0, exponent] }
    }
  }

  static let all: [String: MadeRelease] = [
    "fp8": MadeRelease(
      configuration: #"{"quant_method":"fp8","weight_block_size":[128,96]}"#
    ) { rows, columns, random in
      let blocks = [(rows + 127) / 128, (columns + 95) / 96]
      return [
        ("weight", .f8_E4M3, [rows, columns], random.codes(rows * columns, mask: 0xB7)),
        (
          "weight_scale_inv", .f32, blocks,
          random.scales(blocks[0] * blocks[1], exponent: 0x3B, width: 4)
        ), ("input_scale", .f32, [], [0, 0, 0x80, 0x3F]),
      ]
    },
    "pack-quantized": MadeRelease(
      configuration: """
        {"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{"group_0":
        {"targets":["Linear"],"weights":{"num_bits":4,"type":"int","strategy":"group",
        "group_size":64,"symmetric":true}}}}
        """
    ) { rows, columns, random in
      let shape: [UInt8] = [rows, columns].flatMap { value -> [UInt8] in
        (0..<8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
      }
      return [
        ("weight_packed", .i32, [rows, columns / 8], random.codes(rows * columns / 2)),
        (
          "weight_scale", .bf16, [rows, columns / 64],
          random.scales(rows * columns / 64, exponent: 0x3B, width: 2)
        ), ("weight_shape", .i64, [2], shape),
      ]
    },
    "gptq": MadeRelease(
      configuration: #"{"quant_method":"gptq","bits":4,"group_size":64,"desc_act":true}"#
    ) { rows, columns, random in
      let groups: [UInt8] = (0..<columns).flatMap { column -> [UInt8] in
        [UInt8(truncatingIfNeeded: (columns - 1 - column) / 64), 0, 0, 0]
      }
      return [
        ("qweight", .i32, [columns / 8, rows], random.codes(rows * columns / 2)),
        ("qzeros", .i32, [columns / 64, rows / 8], random.codes(rows * columns / 128)),
        (
          "scales", .f16, [columns / 64, rows],
          random.scales(rows * columns / 64, exponent: 0x1C, width: 2)
        ), ("g_idx", .i32, [columns], groups),
      ]
    },
  ]

  /// Writes the release into `folder`.
  func write(_ folder: TemporaryFolder, _ name: String) throws {
    let model = try CheckpointDirectory(Fixtures.path("models/llama3"))
    var random = Bytes()
    var tensors: [(name: String, type: TensorType, dimensions: [Int], bytes: [UInt8])] = []
    for tensor in model.tensors {
      let plain = tensor.name.string
      if plain.hasPrefix("model.layers."), !plain.hasPrefix("model.layers.0.") { continue }
      if tensor.shape.rank == 2, plain.hasPrefix("model.layers.") {
        let base = plain.dropLast("weight".count)
        let size = tensor.shape.dimensions
        for part in parts(size[0], size[1], &random) {
          tensors.append((base + part.suffix, part.type, part.dimensions, part.bytes))
        }
      } else {
        tensors.append((plain, tensor.type, tensor.shape.dimensions, try model.all(tensor)))
      }
    }
    try Self.write(folder, name, tensors, quantization: configuration)
  }

  /// Writes what a source delivers as a plain checkpoint.
  static func writePlain(
    _ source: any TensorSource, _ folder: TemporaryFolder, _ name: String
  ) throws {
    try write(
      folder, name,
      try source.tensors.map {
        ($0.name.string, $0.type, $0.shape.dimensions, try source.all($0))
      }, quantization: nil)
  }

  private static func write(
    _ folder: TemporaryFolder, _ name: String,
    _ tensors: [(name: String, type: TensorType, dimensions: [Int], bytes: [UInt8])],
    quantization: String?
  ) throws {
    var entries: [String] = []
    var data: [UInt8] = []
    for (name, type, dimensions, bytes) in tensors {
      entries.append(
        "\"\(name)\":{\"dtype\":\"\(type)\",\"shape\":\(dimensions),\"data_offsets\":[\(data.count),\(data.count + bytes.count)]}"
      )
      data += bytes
    }
    let header = Array("{\(entries.joined(separator: ","))}".utf8)
    let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> ($0 * 8)) }
    folder.write("\(name)/model.safetensors", length + header + data)
    for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
      folder.write("\(name)/\(file)", try Fixtures.bytes("models/llama3/\(file)"))
    }
    var config = String(decoding: try Fixtures.bytes("models/llama3/config.json"), as: UTF8.self)
    config.replace("\"num_hidden_layers\": 6", with: "\"num_hidden_layers\": 1")
    if let quantization {
      config.replace(
        "\"hidden_act\"", with: "\"quantization_config\": \(quantization), \"hidden_act\"")
    }
    folder.write("\(name)/config.json", config)
  }
}

extension TensorSource {
  fileprivate func all(_ tensor: TensorDescriptor) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
    try bytes.withUnsafeMutableBytes { try read(tensor, at: 0, into: $0) }
    return bytes
  }
}

@Test(arguments: ["fp8", "pack-quantized", "gptq"])
func quantizedReleaseGivesTheArchiveOfItsWeights(_ kind: String) throws {
  let release = try #require(MadeRelease.all[kind])
  let folder = TemporaryFolder()
  try release.write(folder, "quantized")
  let weights = try dequantizedSource(
    CheckpointDirectory(folder.file("quantized")), folder: folder.file("quantized"))
  #expect(weights.notes.first?.hasPrefix("dequantized 7 tensors") == true)
  try MadeRelease.writePlain(weights.source, folder, "plain")

  for type in ["Q4_K_M", "F32"] {
    for (name, options) in [("quantized", ["--threads", "3"]), ("plain", [])] {
      let result = Command.run(
        [
          Command.ingot, "convert", folder.file(name), "-o", folder.file("\(name).gguf"), "--type",
          type, "--no-provenance", "--model-name", "made",
        ] + options)
      #expect(result.status == 0, "\(result.error)")
      if name == "quantized" {
        #expect(result.error.contains("dequantized 7 tensors"), "\(result.error)")
      }
    }
    let (a, b) = try (
      PositionalFile.readAll(folder.file("quantized.gguf"), limit: 1 << 28),
      PositionalFile.readAll(folder.file("plain.gguf"), limit: 1 << 28)
    )
    #expect(a == b, "\(kind) to \(type)")
  }
}

@Test func refusesNonFiniteScales() throws {
  let folder = TemporaryFolder()
  var release = try #require(MadeRelease.all["fp8"])
  let parts = release.parts
  release.parts = { rows, columns, random in
    var all = parts(rows, columns, &random)
    all[1].bytes.replaceSubrange(0..<4, with: [0, 0, 0xC0, 0x7F])
    return all
  }
  try release.write(folder, "nan")
  let result = Command.ingot("convert", folder.file("nan"), "-o", folder.file("nan.gguf"))
  #expect(result.status == 65)
  #expect(result.error.contains("nan"), "\(result.error)")
  #expect(!folder.list().contains("nan.gguf"))
}
