import ByteIO
import GGUF
import Ingot
import StrictJSON
import Tensors
import TestSupport
import Testing
import Verification

private func policy(_ expected: Double?, mix: String? = nil) throws -> VerificationPolicy {
  try VerificationPolicy.resolve(
    "auto", fileType: 12,
    chosen: ChosenTypes(
      title: "fit to 4 bits per weight", expectedDivergence: expected, largestError: 0.1511,
      mix: mix))
}

/// The limits that formats/verification/README.md computes by hand.
@Test func expectedDivergenceMakesGates() throws {
  let gates = try policy(0.02).gates
  #expect(gates[.maxMeanKLD] == 0.061)
  #expect(gates[.maxP99KLD] == 0.74)
  #expect(gates[.maxPPLRatio] == 1.068)
  #expect(gates[.minTop1] == 0.851)
  #expect(gates[.maxTensorError] == 0.23)
  #expect(try policy(0).gates[.maxMeanKLD] == 0.001)
  // Whatever a file says of itself, no limit is looser than the loosest mix's.
  let ruined = try policy(1e300).gates
  #expect(ruined[.maxMeanKLD] == 3.6)
  #expect(ruined[.maxPPLRatio] == 5.41)
  #expect(ruined[.minTop1] == 0.135)
}

@Test func withoutExpectationAMixIsAsked() throws {
  let shipped = try #require(VerificationPolicy.shipped("Q3_K_M"))
  let gates = try policy(nil, mix: "Q3_K_M").gates
  for gate in Gate.allCases where gate != .maxTensorError {
    #expect(gates[gate] == shipped.gates[gate])
  }
  #expect(gates[.maxTensorError] == 0.23)
  // Nothing to go by: the file type.
  #expect(try policy(nil).name == "Q3_K_M")
}

/// What the shipped policies allow of one gate follows from another as the page says.
@Test func shippedLimitsHaveTheQuotientsOfChosenOnes() throws {
  for policy in VerificationPolicy.shipped {
    guard let mean = policy.gates[.maxMeanKLD], let top = policy.gates[.minTop1],
      let tail = policy.gates[.maxP99KLD], mean > 0.001
    else { continue }
    #expect(1 - top <= 0.6 * mean.squareRoot(), "\(policy.name)")
    // Both were rounded up to two digits.
    #expect(tail >= 12 * mean / 1.1 && tail <= 12 * mean * 1.1, "\(policy.name)")
  }
}

/// An archive whose types were chosen, with and without a text, dense and with experts.
private func chosenArchive(
  _ checkpoint: String, bits: Double, text: String?, importance: String?, in folder: TemporaryFolder
) throws -> String {
  var options = FitOptions(target: .bitsPerWeight(bits))
  options.text = text
  options.contextLength = text == nil ? nil : 64
  options.chunkLimit = text == nil ? nil : 6
  var recipe = Recipe()
  recipe.importanceFile = importance
  let path = folder.file("chosen.gguf")
  let fitted = try Fitter(
    checkpoint: checkpoint, output: path, recipe: recipe, options, threadCount: 2
  ).run()
  _ = try Converter(
    checkpoint: checkpoint, output: path, recipe: fitted.recipe, memoryLimit: testMemoryLimit
  ).run()
  return path
}

private func verified(
  _ checkpoint: String, _ archive: String, comparesTensors: Bool = true
) throws -> VerificationVerdict {
  var options = VerificationOptions(reference: checkpoint, candidate: archive)
  options.text = Fixtures.path("text/eval.txt")
  options.contextLength = 64
  options.chunkLimit = 24
  options.comparesTensors = comparesTensors
  let verifier = try Verifier(options, policy: "auto", threadCount: 2)
  #expect(verifier.notes.contains { $0.hasPrefix("policy auto: types were chosen") })
  return try verifier.run()
}

/// The end of the text that is verified on the beginning of.
private func calibrationText(_ folder: TemporaryFolder) throws -> String {
  let text = try PositionalFile.readAll(Archives.text, limit: 1 << 20)
  return folder.write("calibration.txt", Array(text.suffix(12_000)))
}

@Test(arguments: [true, false])
func chosenTypesOfADenseModelAreJudged(_ readsText: Bool) throws {
  let folder = TemporaryFolder()
  let checkpoint = Archives.checkpoint("llama3")
  let path = try chosenArchive(
    checkpoint, bits: 4.2, text: readsText ? calibrationText(folder) : nil,
    importance: Fixtures.path("models/imatrix/llama3.gguf"), in: folder)
  let types = try GGUFFile(path)
  #expect((types.metadata["ingot.recipe.expected_divergence"] != nil) == readsText)
  let sound = try verified(checkpoint, path)
  #expect(sound.passed && sound.result.gates.count == 5, "\(sound.result.gates)")
  // A fault fails by its tensors, and where these are not compared by what it predicts.
  var swapped = try EditedArchive(path)
  let names = swapped.tensors.filter { $0.name.string.hasSuffix("ffn_up.weight") }
  let pair = names.indices.lazy.flatMap { a in names.indices.map { (a, $0) } }.first { a, b in
    a < b && names[a].type == names[b].type
  }
  let (a, b) = try #require(pair)
  swapped.swapData(names[a].name.string, names[b].name.string)
  let swappedPath = try swapped.write(folder.file("swapped.gguf"))
  #expect(try !verified(checkpoint, swappedPath).result.tensors.allSatisfy { $0.finding == nil })
  let verdict = try verified(checkpoint, swappedPath, comparesTensors: false)
  #expect(!verdict.passed, "\(verdict.result.gates)")
}

/// Weights of random models are of no mix's kind: only what was measured on them is held against them.
@Test func chosenTypesOfExpertsAreJudged() throws {
  let checkpoint = try RandomCheckpoint("mixtral")
  let path = try chosenArchive(
    checkpoint.path, bits: 6, text: calibrationText(checkpoint.folder), importance: nil,
    in: checkpoint.folder)
  let sound = try verified(checkpoint.path, path)
  #expect(sound.passed, "\(sound.result.gates)")
  var archive = try EditedArchive(path)
  // Another expert's weights.
  let stack = archive["blk.1.ffn_down_exps.weight"]
  let size = stack.bytes.count / stack.shape.dimensions[0]
  archive["blk.1.ffn_down_exps.weight"].bytes.replaceSubrange(
    0..<size, with: stack.bytes[size..<2 * size])
  let damaged = try archive.write(checkpoint.folder.file("damaged.gguf"))
  #expect(try !verified(checkpoint.path, damaged).passed)
}

/// Stock archives, and those of others, are judged by their mix.
@Test func stockArchivesHaveNoChosenTypes() throws {
  let folder = TemporaryFolder()
  let path = try Archives.make("llama3", type: "Q4_K_M", in: folder)
  let archive = try GGUFFile(path)
  #expect(
    try ChosenTypes(archive.metadata, tensors: archive.tensors, file: path) == nil)
  var metadata = archive.metadata
  metadata["ingot.recipe"] = .string("fit to 4.9 bits per weight")
  let chosen = try #require(
    try ChosenTypes(metadata, tensors: archive.tensors, file: path))
  #expect(chosen.mix == "Q4_K_M" && chosen.expectedDivergence == nil)
  #expect(chosen.largestError == 0.07163)
  metadata["ingot.recipe.expected_divergence"] = .float64(.nan)
  #expect(
    try ChosenTypes(metadata, tensors: archive.tensors, file: path)?.expectedDivergence == nil)
}

/// Above 8 bits the nearest mix is Q8_0, and none that was made for models trained in its type.
@Test(arguments: [8.7, 10, 16]) func mixesForTrainedTypesAreNotAsked(_ bits: Double) throws {
  let folder = TemporaryFolder()
  let path = try chosenArchive(
    Archives.checkpoint("llama3"), bits: bits, text: nil, importance: nil, in: folder)
  let archive = try GGUFFile(path)
  let chosen = try #require(
    try ChosenTypes(archive.metadata, tensors: archive.tensors, file: path))
  #expect(chosen.mix == "Q8_0")
}
