import ByteIO
import Ingot
import Tensors
import TestSupport
import Testing
import Verification

/// Findings about an archive of a random model with experts, in which one thing is changed.
private func findings(
  _ model: String, _ change: (inout EditedArchive) -> Void
) throws -> [CheckReport.Finding] {
  let checkpoint = try RandomCheckpoint(model)
  let path = checkpoint.folder.file("converted.gguf")
  var recipe = Recipe()
  recipe.type = "Q8_0"
  _ = try Converter(
    checkpoint: checkpoint.path, output: path, recipe: recipe, memoryLimit: testMemoryLimit
  ).run()
  var archive = try EditedArchive(path)
  change(&archive)
  return try ArchiveCheck(rules: .forTests)
    .run(archive.write(checkpoint.folder.file("edited.gguf"))).findings
}

@Test(arguments: RandomCheckpoint.all) func soundArchivesWithExpertsPass(_ model: String) throws {
  #expect(try findings(model) { _ in } == [])
}

@Test func soundNonstockArchivesPass() throws {
  let found = try findings("llama4-16-experts") { archive in
    archive.metadata["ingot.attention.chunk_length"] = .uint32(24)
    archive.metadata["ingot.attention.rotates"] = .array(.bool([true, true, true, false]))
    archive.metadata["ingot.attention.normalizes_rotated"] = .bool(true)
    archive.metadata["ingot.attention.temperature_floor"] = .float32(16)
    archive.metadata["ingot.attention.temperature_scale"] = .float32(0.1)
  }
  #expect(found == [])
}

private struct ExpertFault: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var model = "llama4-every-second"
  var subject: String
  var says: [String]
  var spoil: @Sendable (inout EditedArchive) -> Void
}

private let expertFaults = [
  ExpertFault(
    testDescription: "more experts than the tensors have", subject: "llama4.expert_count",
    says: ["is 5", "4, as"]
  ) { $0.metadata["llama4.expert_count"] = .uint32(5) },
  ExpertFault(
    testDescription: "experts of a Mixtral that no key counts", model: "mixtral",
    subject: "llama.expert_count", says: ["is missing", "8, as"]
  ) {
    $0.metadata["llama.expert_count"] = nil
    $0.metadata["llama.expert_used_count"] = .uint32(0)
  },
  ExpertFault(
    testDescription: "more used than there are", subject: "llama4.expert_used_count",
    says: ["is 5", "1 to the expert count, 4"]
  ) { $0.metadata["llama4.expert_used_count"] = .uint32(5) },
  ExpertFault(
    testDescription: "none used", model: "mixtral", subject: "llama.expert_used_count",
    says: ["is 0", "1 to the expert count, 8"]
  ) { $0.metadata["llama.expert_used_count"] = .uint32(0) },
  ExpertFault(
    testDescription: "another step", subject: "llama4.interleave_moe_layer_step",
    says: ["is 1", "2, as"]
  ) { $0.metadata["llama4.interleave_moe_layer_step"] = .uint32(1) },
  ExpertFault(
    testDescription: "no step", subject: "llama4.interleave_moe_layer_step", says: ["is missing"]
  ) { $0.metadata["llama4.interleave_moe_layer_step"] = nil },
  ExpertFault(
    testDescription: "a missing stack", subject: "blk.1.ffn_up_exps.weight",
    says: ["missing", "[4, 32, 64]"]
  ) { $0.tensors.removeAll { $0.name == "blk.1.ffn_up_exps.weight" } },
  ExpertFault(
    testDescription: "a missing shared expert", subject: "blk.3.ffn_down_shexp.weight",
    says: ["missing", "[64, 32]"]
  ) { $0.tensors.removeAll { $0.name == "blk.3.ffn_down_shexp.weight" } },
  ExpertFault(
    testDescription: "a missing dense matrix", subject: "blk.0.ffn_gate.weight",
    says: ["missing", "[96, 64]"]
  ) { $0.tensors.removeAll { $0.name == "blk.0.ffn_gate.weight" } },
  ExpertFault(
    testDescription: "a router of another width", subject: "blk.1.ffn_gate_inp.weight",
    says: ["[3, 64]", "[4, 64]"]
  ) {
    $0["blk.1.ffn_gate_inp.weight"].shape = Shape([3, 64])
    $0["blk.1.ffn_gate_inp.weight"].bytes.removeLast(256)
  },
  ExpertFault(
    testDescription: "one stack with fewer experts", model: "mixtral",
    subject: "blk.1.ffn_down_exps.weight", says: ["[7, 64, 96]", "[8, 64, 96]"]
  ) {
    let count = $0["blk.1.ffn_down_exps.weight"].bytes.count
    $0["blk.1.ffn_down_exps.weight"].shape = Shape([7, 64, 96])
    $0["blk.1.ffn_down_exps.weight"].bytes.removeLast(count / 8)
  },
  ExpertFault(
    testDescription: "experts in a dense layer", subject: "blk.2.ffn_gate_inp.weight",
    says: ["belongs to layers with experts"]
  ) { archive in
    var tensor = archive["blk.1.ffn_gate_inp.weight"]
    tensor.name = "blk.2.ffn_gate_inp.weight"
    archive.tensors.append(tensor)
  },
  ExpertFault(
    testDescription: "a key of our own with another type", subject: "ingot.attention.chunk_length",
    says: ["type", "uint32"]
  ) { $0.metadata["ingot.attention.chunk_length"] = .string("24") },
]

/// One line for one fault, however many tensors it concerns.
@Test(arguments: expertFaults) private func findsFaultsOfExperts(_ fault: ExpertFault) throws {
  let found = try findings(fault.model, fault.spoil)
  let finding = try #require(found.first)
  #expect(found.count == 1 && finding.severity == .error, "\(found)")
  #expect(finding.subject == fault.subject)
  for text in fault.says { #expect(finding.description.contains(text), "\(finding)") }
}
