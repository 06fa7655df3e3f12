import ByteIO
import Ingot
import Tensors
import TestSupport
import Testing

/// The candidate: an archive of a random Llama 4 with 16 experts, changed.
private func verify(
  _ model: String = "llama4-16-experts", type: String = "Q8_0",
  _ change: (inout EditedArchive) -> Void
) throws -> VerificationResult {
  let checkpoint = try RandomCheckpoint(model)
  let path = checkpoint.folder.file("converted.gguf")
  var recipe = Recipe()
  recipe.type = type
  _ = try Converter(
    checkpoint: checkpoint.path, output: path, recipe: recipe, memoryLimit: testMemoryLimit
  ).run()
  var archive = try EditedArchive(path)
  change(&archive)
  var options = VerificationOptions(
    reference: checkpoint.path,
    candidate: try archive.write(checkpoint.folder.file("candidate.gguf")))
  options.text = Archives.text
  options.contextLength = 64
  options.chunkLimit = 8
  return try Verifier(options, threadCount: 2).run().result
}

/// Every expert is compared by itself with the fused tensor that it lies in, column by column.
@Test(arguments: RandomCheckpoint.models, ["F32", "Q8_0"])
func healthyExpertsPass(_ model: String, _ type: String) throws {
  let result = try verify(model, type: type) { _ in }
  #expect(result.passed && result.tensors.allSatisfy { $0.finding == nil })
  let experts = result.tensors.filter { $0.expert != nil }
  let (layers, count) =
    model == "mixtral" ? (2, 8) : model == "llama4-16-experts" ? (4, 16) : (2, 4)
  #expect(experts.count == layers * count * 3)
  if type == "F32" {
    #expect(experts.allSatisfy { $0.relativeRMSError == 0 })
  } else {
    #expect(experts.contains { $0.relativeRMSError > 0.001 })
  }
}

@Test func swappedExpertsAreNamed() throws {
  // Not quantized: a router whose scores are close picks others where its inputs are not the same.
  let result = try verify(type: "F32") { archive in
    let size = archive["blk.1.ffn_down_exps.weight"].bytes.count / 16
    let bytes = archive["blk.1.ffn_down_exps.weight"].bytes
    archive["blk.1.ffn_down_exps.weight"].bytes.replaceSubrange(
      2 * size..<3 * size, with: bytes[5 * size..<6 * size])
  }
  let found = result.tensors.filter { $0.finding != nil }
  #expect(found.map(\.expert) == [2] && !result.passed)
  #expect(found.first?.name == "blk.1.ffn_down_exps.weight")
  #expect(found.first?.finding?.contains("weights of expert 5") == true, "\(found)")
  #expect(result.layers.first(where: \.isWhereDriftBegins)?.layer == 1)
}

/// Each expert as a tensor of its own, here all of one type.
@Test(arguments: ["llama4-every-second", "mixtral"]) func splitExpertsPass(_ model: String) throws {
  let result = try verify(model) { archive in
    archive.tensors = archive.tensors.flatMap { tensor -> [EditedArchive.Tensor] in
      guard let place = tensor.name.string.ranges(of: "_exps.").first else { return [tensor] }
      let count = tensor.shape.dimensions[0]
      let size = tensor.bytes.count / count
      return (0..<count).map { expert in
        EditedArchive.Tensor(
          name: ExactString("\(tensor.name.string[..<place.lowerBound]).\(expert).weight"),
          shape: Shape(Array(tensor.shape.dimensions.dropFirst())), type: tensor.type,
          bytes: Array(tensor.bytes[expert * size..<(expert + 1) * size]))
      }
    }
  }
  #expect(result.passed && result.tensors.allSatisfy { $0.finding == nil })
  #expect(result.tensors.contains { $0.name.hasSuffix("ffn_up.3.weight") && $0.expert == 3 })
}

@Test func expertsOfAnotherLayerAreNamed() throws {
  let result = try verify { archive in
    archive.swapData("blk.0.ffn_up_exps.weight", "blk.3.ffn_up_exps.weight")
  }
  let found = result.tensors.filter { $0.finding != nil }
  #expect(found.count == 32 && !result.passed)
  #expect(found.first?.finding?.contains("weights of layer 3") == true, "\(found.first as Any)")
}
