import ByteIO
import Fitting
import Planning
import StrictJSON
import TestSupport
import Testing

/// Reads a document with changed values many times; a trap would end the process.
private func expectSound(
  _ text: String, seed: UInt64, _ read: (String) throws(FormatError) -> Void
) throws {
  let sound = try JSONValue(parsing: Array(text.utf8), file: "example")
  let folder = TemporaryFolder()
  var generator = SplitMix64(seed: seed)
  var accepted = 0
  for index in 0..<3000 {
    let path = folder.write("changed.json", sound.mutated(by: &generator))
    do throws(FormatError) {
      try read(path)
      accepted += 1
    } catch {
      let text = "\(error)"
      #expect(!text.contains("\n") && text.contains("changed.json"), "case \(index): \(text)")
    }
  }
  #expect(accepted > 30 && accepted < 3000, "\(accepted)")
}

@Test func changedRecipesAreRefusedOrSound() throws {
  let text = """
    {"format": "ingot-recipe", "version": 1, "title": "t", "experts": "stacked",
     "tensors": {"token_embd.weight": "Q4_K", "blk.0.attn_q.weight": "IQ4_XS", "a": "F32"}}
    """
  try expectSound(text, seed: 5) { path throws(FormatError) in
    let recipe = try RecipeFile(path)
    // What was read can be written, and read again.
    let again = try JSONValue(parsing: recipe.bytes, file: path)
    guard again["tensors"]?.object?.members.count == recipe.types.count else {
      throw FormatError(file: path, field: "", reason: .malformed("\n"))
    }
  }
}

@Test func changedMeasurementsAreRefusedOrSound() throws {
  let text = """
    {"format": "ingot-measurements", "version": 1, "run": ["ingot"],
     "tensors": {"blk.0.attn_q.weight":
       {"signals": [1.5, 2], "errors": {"Q4_K": [0.002, 0.1], "Q2_K": [0.5, 0.25]},
        "divergences": {"Q3_K": 0.0004}},
      "output.weight": {"signals": [1], "errors": {}, "divergences": {}}}}
    """
  try expectSound(text, seed: 6) { path throws(FormatError) in
    _ = try FitMeasurements(path, run: ["ingot"])
  }
}
