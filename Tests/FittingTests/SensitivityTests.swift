import ByteIO
import Fitting
import ForwardRuns
import GGUF
import Ingot
import Quantizers
import ReferenceModel
import Tensors
import TestSupport
import Testing

/// What an archive diverges by in which these tensors have a type of their own, and all others lose
/// nothing: measured by `verify`, which knows nothing of substitutions.
private func divergence(
  _ checkpoint: String, _ types: [ExactString: TensorType], importance: String?, folder: String,
  context: Int, chunks: Int
) throws -> Double {
  var recipe = Recipe()
  recipe.type = "BF16"
  recipe.importanceFile = importance
  let path = folder + "/candidate.gguf"
  let base = try Converter(
    checkpoint: checkpoint, output: path, recipe: recipe, memoryLimit: testMemoryLimit
  ).plan
  recipe.type = "Q8_0"
  for index in base.tensors.indices where base.tensors[index].isFree {
    recipe.types[base.tensors[index].name] = .bf16
  }
  recipe.types.merge(types) { $1 }
  _ = try Converter(
    checkpoint: checkpoint, output: path, recipe: recipe, memoryLimit: testMemoryLimit
  ).run()
  var options = VerificationOptions(reference: checkpoint, candidate: path)
  options.text = Fixtures.path("text/eval.txt")
  options.contextLength = context
  options.chunkLimit = chunks
  let result = try Verifier(options, threadCount: 2).run().result
  return try #require(result.distribution?.comparison).meanDivergence.value
}

private func probed(
  _ checkpoint: String, _ probes: [SensitivityRun.Probe], importance: [ExactString: [Float]],
  context: Int, chunks: Int, memoryLimit: UInt64 = 1 << 30
) throws -> [SensitivityRun.Probe: Double] {
  let model = try OpenedModel(checkpoint)
  let file = try TextFile(Fixtures.path("text/eval.txt"), memoryLimit: 1 << 30)
  let text = try ChunkedText(
    file, tokens: file.tokens(model.encoder), encoder: model.encoder, contextLength: context,
    chunkLimit: chunks)
  let run = SensitivityRun(
    VariantRun(
      model: model.model, text: text, kernels: try KernelTable.choice.get(), threadCount: 2,
      memoryLimit: memoryLimit, cancellation: CancellationFlag()),
    importance: importance)
  var result: [SensitivityRun.Probe: Double] = [:]
  try run.run(probes, progress: nil) { found in
    for (probe, divergence) in found { result[probe] = divergence }
  }
  return result
}

/// A variant of the model predicts what an archive does in which that tensor alone is quantized.
@Test func probesEqualArchives() throws {
  let checkpoint = Fixtures.path("models/llama3")
  let imatrix = Fixtures.path("models/imatrix/llama3.gguf")
  let importance = try ImportanceMatrix(imatrix).entries
  let probes: [SensitivityRun.Probe] = [
    .init(role: .layer(2, .down), type: .q3_K), .init(role: .tokenEmbedding, type: .q2_K),
    .init(role: .output, type: .q3_K), .init(role: .layer(0, .query), type: .iq2_XS),
  ]
  let found = try probed(checkpoint, probes, importance: importance, context: 64, chunks: 6)
  let folder = TemporaryFolder()
  for probe in probes {
    let expected = try divergence(
      checkpoint, [ExactString(probe.role.archiveName): probe.type], importance: imatrix,
      folder: folder.path, context: 64, chunks: 6)
    let value = try #require(found[probe])
    #expect(
      expected > 0 && abs(value - expected) <= 1e-3 * expected, "\(probe) \(value) \(expected)")
  }
}

/// Matrices of experts, which a checkpoint holds column by column, two in one tensor.
@Test(arguments: ["llama4-16-experts", "mixtral"])
func probesOfExpertsEqualArchives(_ name: String) throws {
  let checkpoint = try RandomCheckpoint(name)
  for weight in [LayerWeight.expertGate, .expertUp, .expertDown] {
    let probe = SensitivityRun.Probe(role: .layer(1, weight), type: .q4_0)
    let found = try probed(checkpoint.path, [probe], importance: [:], context: 32, chunks: 3)
    let expected = try divergence(
      checkpoint.path, [ExactString(probe.role.archiveName): .q4_0], importance: nil,
      folder: checkpoint.folder.path, context: 32, chunks: 3)
    let value = try #require(found[probe])
    #expect(
      expected > 0 && abs(value - expected) <= 1e-3 * expected, "\(probe) \(value) \(expected)")
  }
}

/// Rounds and groups that a small memory asks for change nothing but rounding.
@Test func memoryDoesNotMatter() throws {
  let checkpoint = Fixtures.path("models/llama3")
  let probes = (0..<6).map { SensitivityRun.Probe(role: .layer($0, .gate), type: .q3_K) }
  let whole = try probed(checkpoint, probes, importance: [:], context: 128, chunks: 24)
  let limit = ProcessMemory.residentByteCount + (135 << 20)
  let parts = try probed(
    checkpoint, probes, importance: [:], context: 128, chunks: 24, memoryLimit: limit)
  for probe in probes {
    let (a, b) = (try #require(whole[probe]), try #require(parts[probe]))
    #expect(abs(a - b) <= 1e-4 * a, "\(probe) \(a) \(b)")
  }
}
