import TestSupport
import Testing

/// Importance of another model, of which some tensors have the same names: one line, and no output.
@Test func refusesImportanceOfAnotherModelWithExperts() throws {
  let checkpoint = try RandomCheckpoint("llama4-16-experts")
  let folder = TemporaryFolder()
  let other = try RandomCheckpoint("llama4-every-second")
  let importance = folder.file("imatrix.gguf")
  let calibrated = Command.ingot(
    "calibrate", other.path, "--text", Fixtures.path("text/eval.txt"), "-o", importance,
    "--context", "64", "--chunks", "2")
  #expect(calibrated.status == 0, "\(calibrated.error)")
  let cases: [(file: String, says: [String])] = [
    // Six layers, this one has four.
    (Fixtures.path("models/imatrix/llama3.gguf"), ["layers up to 5", "up to 3"]),
    // As many layers, fewer experts.
    (importance, ["imatrix.gguf", "blk.1.ffn_", "_exps.weight", "values, the tensor needs"]),
  ]
  for (file, says) in cases {
    let result = Command.ingot(
      "convert", checkpoint.path, "-o", folder.file("out.gguf"), "--type", "Q4_0", "--imatrix",
      file)
    expectRefusal(
      result, status: 65, says: says + ["belongs to another model"],
      leaving: folder.list().filter { $0 != "imatrix.gguf" }, file)
  }
}
