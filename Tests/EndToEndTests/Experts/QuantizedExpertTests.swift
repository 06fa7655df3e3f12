import ByteIO
import GGUF
import Ingot
import StrictJSON
import TestSupport
import Testing

/// Experts as the FP8 release of Llama 4 Maverick has them: a tensor for each, one scale per row.
private enum QuantizedExperts {
  static let configuration = #"""
    {"quant_method": "compressed-tensors", "format": "float-quantized",
     "quantization_status": "compressed", "ignore": ["re:.*lm_head", "re:.*self_attn",
     "re:.*router", "re:.*vision_model.*", "re:.*multi_modal_projector.*", "Llama4TextAttention"],
     "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 8,
     "type": "float", "strategy": "channel", "symmetric": true, "dynamic": false},
     "input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": true}}}}
    """#

  /// BF16 of a code of E4M3 times a power of two: nothing is rounded.
  static func bf16(_ code: UInt8, exponent: Int) -> [UInt8] {
    let mantissa = Float(code & 7)
    let field = Int(code >> 3 & 15)
    let magnitude =
      field == 0
      ? mantissa * Float(sign: .plus, exponent: -9, significand: 1)
      : (1 + mantissa / 8) * Float(sign: .plus, exponent: field - 7, significand: 1)
    let value =
      (code & 0x80 != 0 ? -magnitude : magnitude)
      * Float(sign: .plus, exponent: exponent, significand: 1)
    let bits = value.bitPattern >> 16
    return [UInt8(truncatingIfNeeded: bits), UInt8(truncatingIfNeeded: bits >> 8)]
  }

  /// Replaces the experts of every layer by random ones, in eight bits or as what those mean.
  static func replace(_ tensors: inout [RandomCheckpoint.Tensor], areQuantized: Bool) {
    var result: [RandomCheckpoint.Tensor] = []
    for tensor in tensors {
      guard
        let range = tensor.name.range(ofExperts: "gate_up_proj")
          ?? tensor.name.range(
            ofExperts: "down_proj"), tensor.shape.count == 3
      else {
        result.append(tensor)
        continue
      }
      let isPair = tensor.name.hasSuffix("gate_up_proj")
      let rows = tensor.shape[2] / (isPair ? 2 : 1)
      for expert in 0..<tensor.shape[0] {
        for name in isPair ? ["gate_proj", "up_proj"] : ["down_proj"] {
          result += one(
            "\(range)\(expert).\(name).weight", rows: rows, columns: tensor.shape[1],
            isQuantized: areQuantized)
        }
      }
    }
    tensors = result
  }

  private static func one(
    _ name: String, rows: Int, columns: Int, isQuantized: Bool
  ) -> [RandomCheckpoint.Tensor] {
    var random = SplitMix64(seed: name.utf8.reduce(7) { $0 &* 131 &+ UInt64($1) })
    var (codes, scales, weights): ([UInt8], [UInt8], [UInt8]) = ([], [], [])
    for _ in 0..<rows {
      let exponent = -8 + Int(random.next() % 4)
      scales += bf16(0x38, exponent: exponent)
      for _ in 0..<columns {
        // All but the two that are no numbers.
        let code = UInt8(random.next() % 127) | UInt8(random.next() % 2) << 7
        codes.append(code)
        weights += bf16(code, exponent: exponent)
      }
    }
    guard isQuantized else { return [.init(name: name, shape: [rows, columns], bytes: weights)] }
    return [
      .init(name: name, shape: [rows, columns], bytes: codes, type: "F8_E4M3"),
      .init(name: name + "_scale", shape: [rows, 1], bytes: scales),
    ]
  }
}

extension String {
  /// What stands before the name of a matrix of experts.
  fileprivate func range(ofExperts suffix: String) -> String? {
    hasSuffix("experts." + suffix) ? String(dropLast(suffix.count)) : nil
  }
}

@Test(arguments: ["llama4-16-experts", "llama4-every-second"])
func expertsInEightBitsAreTheWeightsThatTheyMean(_ model: String) throws {
  let configuration = try JSONValue(
    parsing: Array(QuantizedExperts.configuration.utf8), file: "config.json")
  let quantized = try RandomCheckpoint(model, quantization: configuration) {
    QuantizedExperts.replace(&$0, areQuantized: true)
  }
  let plain = try RandomCheckpoint(model) { QuantizedExperts.replace(&$0, areQuantized: false) }
  for type in ["F32", "Q4_0"] {
    let archives = try [quantized, plain].map { checkpoint in
      var recipe = Recipe()
      recipe.type = type
      let path = checkpoint.folder.file("out.gguf")
      _ = try Converter(
        checkpoint: checkpoint.path, output: path, recipe: recipe, memoryLimit: testMemoryLimit
      ).run()
      return try GGUFFile(path)
    }
    #expect(archives[0].tensors.map(\.name) == archives[1].tensors.map(\.name))
    for (tensor, other) in zip(archives[0].tensors, archives[1].tensors) {
      #expect(tensor.shape == other.shape && tensor.type == other.type, "\(tensor.name)")
      var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
      try bytes.withUnsafeMutableBytes { try archives[0].read(tensor, at: 0, into: $0) }
      var wanted = bytes
      try wanted.withUnsafeMutableBytes { try archives[1].read(other, at: 0, into: $0) }
      #expect(bytes == wanted, "\(tensor.name)")
    }
  }
  // The forward pass reads the release itself.
  let result = Command.ingot(
    "verify", quantized.path, plain.folder.file("out.gguf"), "--text",
    Fixtures.path("text/eval.txt"), "--context", "64", "--chunks", "2", "--max-tensor-error",
    "0.2")
  #expect(result.status == 0, "\(result.output.prefix(2000))\(result.error)")
}
