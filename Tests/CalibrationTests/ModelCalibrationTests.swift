import ByteIO
import Calibration
import GGUF
import Ingot
import TestSupport
import Testing

private let text = Fixtures.path("text/eval.txt")

private func calibrate(
  _ checkpoint: String, chunks: Int, threads: Int = 2, to path: String
) throws -> ImportanceSums {
  var options = CalibrationOptions(checkpoint: checkpoint, output: path)
  options.text = text
  options.contextLength = 256
  options.chunkLimit = chunks
  options.processesOutput = true
  _ = try Calibrator(options, memoryLimit: testMemoryLimit, threadCount: threads).run()
  return try ImportanceSums(path)
}

/// Largest difference of a column, as a share of the column or of a thousandth of its matrix's mean,
/// whichever is larger.
private func difference(_ found: ImportanceSums, _ expected: ImportanceSums) -> Double {
  var largest = 0.0
  for (name, entry) in expected.entries {
    guard let other = found.entries[name], other.sums.count == entry.sums.count else {
      return .infinity
    }
    let mean = entry.sums.reduce(0) { $0 + Double($1) } / Double(entry.sums.count)
    for (a, b) in zip(other.sums, entry.sums) {
      let difference = abs(Double(a) - Double(b)) / max(Double(b), mean / 1000)
      // Written so that NaN counts as infinitely far.
      if !(difference <= largest) { largest = difference.isNaN ? .infinity : difference }
    }
  }
  return largest
}

/// Largest difference from what the tool sums up in single precision; measured 1.9e-5.
private let limit = 4e-5

/// `MODEL-eval.gguf` is what `llama-imatrix` of llama.cpp (the release of llama-cpp-python 0.3.36)
/// made of the model's F32 archive: `-f eval.txt -c 256 -b 256 --chunks 20 --process-output
/// -ctk f32 -ctv f32 -fa off`.
@Test(arguments: ["llama3", "llama2"])
func sumsAreThoseOfTheTool(_ model: String) throws {
  let folder = TemporaryFolder()
  let golden = try ImportanceSums(Fixtures.path("models/imatrix/\(model)-eval.gguf"))
  let checkpoint = Fixtures.path("models/\(model)")
  let found = try calibrate(checkpoint, chunks: 20, to: folder.file("imatrix.gguf"))
  #expect(Set(found.entries.keys) == Set(golden.entries.keys))
  #expect(found.entries.mapValues(\.counts) == golden.entries.mapValues(\.counts))
  #expect((found.chunkCount, found.chunkSize) == (golden.chunkCount, golden.chunkSize))
  #expect(difference(found, golden) < limit)

  // The other road: the archive, whose queries and keys are in another order.
  let archive = folder.file("model.gguf")
  var recipe = Recipe()
  recipe.type = "F32"
  _ = try Converter(
    checkpoint: checkpoint, output: archive, recipe: recipe, memoryLimit: testMemoryLimit
  ).run()
  let other = try calibrate(archive, chunks: 20, to: folder.file("archive.gguf"))
  #expect(difference(other, golden) < limit)
}

/// The whole file has the tool's form: same header, byte for byte, where the texts have one name.
@Test func headerIsThatOfTheTool() throws {
  let folder = TemporaryFolder()
  let golden = try ImportanceSums(Fixtures.path("models/imatrix/llama3-eval.gguf"))
  let path = folder.file("imatrix.gguf")
  var found = try calibrate(Fixtures.path("models/llama3"), chunks: 20, to: path)
  found.datasets = golden.datasets
  let output = try OutputFile(path)
  try found.write(to: output)
  try output.commit()
  let theirs = try Fixtures.bytes("models/imatrix/llama3-eval.gguf")
  let ours = try PositionalFile.readAll(path, limit: 1 << 20)
  #expect(ours.count == theirs.count)
  let first = try #require(try GGUFFile(path).tensors.map { $0.regions[0].fileOffset }.min())
  #expect(ours[..<Int(first)] == theirs[..<Int(first)])
}

/// Threads do not change the file.
@Test func threadsDoNotMatter() throws {
  let folder = TemporaryFolder()
  let model = Fixtures.path("models/llama3")
  let one = try calibrate(model, chunks: 6, threads: 1, to: folder.file("a"))
  let many = try calibrate(model, chunks: 6, threads: 5, to: folder.file("b"))
  #expect(many.entries == one.entries)
}
