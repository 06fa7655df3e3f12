import ByteIO
import GGUF
import Ingot
import StrictJSON
import TestSupport
import Testing

/// Converts in the test process.
private func convert(
  _ checkpoint: RandomCheckpoint, _ type: String, allowsNonstock: Bool = false,
  change: (inout Converter) -> Void = { _ in }
) throws -> GGUFFile {
  var recipe = Recipe()
  recipe.type = type
  recipe.hasProvenance = false
  recipe.allowsNonstock = allowsNonstock
  let path = checkpoint.folder.file("\(type).gguf")
  let place = TemporaryFolder()
  var converter = try Converter(
    // The folder gives the model its name.
    checkpoint: place.link(checkpoint.model, to: checkpoint.path), output: path, recipe: recipe,
    memoryLimit: testMemoryLimit)
  change(&converter)
  _ = try converter.run()
  return try GGUFFile(path)
}

private func data(_ archive: GGUFFile) throws -> [ExactString: [UInt8]] {
  var result: [ExactString: [UInt8]] = [:]
  for tensor in archive.tensors {
    var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
    try bytes.withUnsafeMutableBytes { try archive.read(tensor, at: 0, into: $0) }
    result[tensor.name] = bytes
  }
  return result
}

/// Names, shapes, types and data of every tensor, and the architecture's keys, equal the reference
/// converter's and the strict quantizer's.
///
/// Origin: Tests/Interop/make_expert_models.py.
@Test(arguments: RandomCheckpoint.all, ["F32", "Q8_0", "Q4_0", "Q4_K_M"])
func expertsEqualTheReference(_ model: String, _ type: String) throws {
  let checkpoint = try RandomCheckpoint(model)
  let archive = try convert(checkpoint, type)
  let expected = try #require(checkpoint.expected["archives"]?[type])
  let tensors = try #require(expected["tensors"]?.object)
  #expect(archive.tensors.map(\.name.string) == tensors.members.map(\.key) || type == "F32")
  #expect(archive.tensors.count == tensors.members.count)
  let data = try data(archive)
  for tensor in archive.tensors {
    let row = try #require(tensors[tensor.name.string]?.array, "\(tensor.name)")
    #expect(row[0].string == tensor.type.name, "\(tensor.name)")
    #expect(row[1].array?.compactMap(\.int) == tensor.shape.ggufDimensions, "\(tensor.name)")
    let crc = try #require(data[tensor.name]).withUnsafeBytes { Int(crc32($0)) }
    #expect(crc == row[2].int, "\(tensor.name)")
  }
  for (key, value) in expected["metadata"]?.object?.members ?? [] {
    let found = try #require(archive.metadata[key], "\(key)")
    switch value {
    case .string(let text): #expect(found.string == text, "\(key)")
    case .number(let number):
      #expect(found.int == number.int || found.double == number.double, "\(key)")
    default: Issue.record("\(key)")
    }
  }
}

/// An expert in a tensor of its own, as quantized releases have it, is the same expert.
@Test func separateExpertsGiveTheSameArchive() throws {
  let fused = try data(convert(RandomCheckpoint("llama4-16-experts"), "Q8_0"))
  let separate = try RandomCheckpoint("llama4-16-experts") { tensors in
    var result: [RandomCheckpoint.Tensor] = []
    for tensor in tensors {
      guard
        let prefix = tensor.name.prefix(before: "gate_up_proj")
          ?? tensor.name.prefix(before: "down_proj"), tensor.shape.count == 3
      else {
        result.append(tensor)
        continue
      }
      let names = tensor.name.hasSuffix("gate_up_proj") ? ["gate_proj", "up_proj"] : ["down_proj"]
      let (columns, width) = (tensor.shape[1], tensor.shape[2])
      let rows = width / names.count
      for expert in 0..<tensor.shape[0] {
        for (half, name) in names.enumerated() {
          var bytes: [UInt8] = []
          for row in 0..<rows {
            for column in 0..<columns {
              let element = (expert * columns + column) * width + half * rows + row
              bytes += tensor.bytes[2 * element..<2 * element + 2]
            }
          }
          result.append(
            .init(name: "\(prefix)\(expert).\(name).weight", shape: [rows, columns], bytes: bytes))
        }
      }
    }
    tensors = result
  }
  #expect(try data(convert(separate, "Q8_0")) == fused)
}

@Test(arguments: [(1, 64), (3, 640), (16, 4096), (2, 1 << 20)])
func cuttingOfExpertsDoesNotMatter(_ threads: Int, _ weights: Int) throws {
  let checkpoint = try RandomCheckpoint("llama4-every-second")
  let whole = try data(convert(checkpoint, "Q4_0"))
  let cut = try convert(checkpoint, "Q4_0") {
    $0.threadCount = threads
    $0.weightsPerChunk = weights
  }
  #expect(try data(cut) == whole)
}

@Test func nonstockAttentionIsRefusedOrMarked() throws {
  let changes: [String: JSONValue] = [
    "attention_chunk_size": .number(JSONNumber(text: "24", isIntegerLiteral: true))
  ]
  let checkpoint = try RandomCheckpoint("llama4-16-experts", changes: changes)
  let out = checkpoint.folder.file("out.gguf")
  let refused = Command.ingot("convert", checkpoint.path, "-o", out, "--type", "Q8_0")
  expectRefusal(
    refused, status: 65, says: ["attention_chunk_size", "24", "--allow-nonstock"],
    leaving: checkpoint.folder.list().filter { $0.hasSuffix(".gguf") }, "chunk")
  let archive = try convert(checkpoint, "Q8_0", allowsNonstock: true)
  #expect(archive.metadata["ingot.attention.chunk_length"]?.int == 24)
  #expect(archive.metadata["ingot.attention.temperature_floor"]?.double == 8192)
}

/// One damaged checkpoint and what the error has to say.
private struct Damage: Sendable, CustomTestStringConvertible {
  var model = "llama4-16-experts"
  var testDescription: String
  var says: [String]
  var changes: [String: JSONValue] = [:]
  var edit: @Sendable (inout [RandomCheckpoint.Tensor]) -> Void = { _ in }
}

private func number(_ value: Int) -> JSONValue {
  .number(JSONNumber(text: "\(value)", isIntegerLiteral: true))
}

private let damages = [
  Damage(
    testDescription: "more experts than there are",
    says: ["experts.down_proj", "[16, 64, 32]", "[17,"],
    changes: ["num_local_experts": number(17)]),
  Damage(
    testDescription: "no experts used", says: ["num_experts_per_tok", "0", "1 to 16"],
    changes: ["num_experts_per_tok": number(0)]),
  Damage(
    testDescription: "other layers", says: ["moe_layers"],
    changes: ["moe_layers": .array([number(1)])]),
  Damage(
    testDescription: "dense layers that have experts", says: ["experts", "layer is dense"],
    changes: ["interleave_moe_layer_step": number(2)]),
  Damage(testDescription: "router too narrow", says: ["router.weight", "[15, 64]", "[16, 64]"]) {
    tensors in
    for index in tensors.indices where tensors[index].name.hasSuffix("router.weight") {
      tensors[index].shape[0] = 15
      tensors[index].bytes.removeLast(128)
    }
  },
  Damage(testDescription: "no router", says: ["layers.1.feed_forward.router.weight", "missing"]) {
    $0.removeAll { $0.name.contains("layers.1.feed_forward.router") }
  },
  Damage(testDescription: "odd width", says: ["gate_up_proj", "2 × rows"]) { tensors in
    for index in tensors.indices where tensors[index].name.hasSuffix("gate_up_proj") {
      tensors[index].shape = [16, 64 * 64, 1]
    }
  },
  Damage(
    model: "mixtral", testDescription: "missing expert",
    says: ["layers.1.block_sparse_moe.experts.w2", "expert 3"]
  ) { $0.removeAll { $0.name.contains("layers.1.block_sparse_moe.experts.3.w2") } },
  Damage(
    model: "mixtral", testDescription: "an expert of another shape",
    says: ["layers.0.block_sparse_moe.experts.5.w1", "[96, 32]", "[96, 64]"]
  ) { tensors in
    for index in tensors.indices
    where tensors[index].name.contains("0.block_sparse_moe.experts.5.w1") {
      tensors[index].shape[1] = 32
      tensors[index].bytes.removeLast(96 * 64)
    }
  },
  Damage(
    model: "mixtral", testDescription: "an expert twice", says: ["experts.01.w1"]
  ) { tensors in
    for tensor in tensors where tensor.name.contains("0.block_sparse_moe.experts.1.w1") {
      tensors.append(
        .init(
          name: "model.layers.0.block_sparse_moe.experts.01.w1.weight", shape: tensor.shape,
          bytes: tensor.bytes))
    }
  },
]

@Test(arguments: damages)
private func refusesDamagedExperts(_ damage: Damage) throws {
  let checkpoint = try RandomCheckpoint(damage.model, changes: damage.changes, edit: damage.edit)
  let out = checkpoint.folder.file("out.gguf")
  let result = Command.ingot("convert", checkpoint.path, "-o", out, "--type", "Q8_0")
  expectRefusal(
    result, status: 65, says: damage.says,
    leaving: checkpoint.folder.list().filter { $0.hasSuffix(".gguf") }, damage.testDescription)
}

extension String {
  /// What stands before `suffix`; `nil` when the name does not end with it.
  fileprivate func prefix(before suffix: String) -> String? {
    hasSuffix(suffix) ? String(dropLast(suffix.count)) : nil
  }
}
