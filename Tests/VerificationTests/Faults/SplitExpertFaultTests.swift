import ByteIO
import Ingot
import Tensors
import TestSupport
import Testing
import Verification

/// A split archive with a fault: `check` and `convert` each say it in one line.
@Test(arguments: [
  ("missing", "blk.1.ffn_up.3.weight"), ("shape", "blk.0.ffn_gate.2.weight"),
  ("both", "blk.0.ffn_down_exps.weight"),
])
func damagedSplitsAreRefused(_ damage: String, _ name: String) throws {
  let checkpoint = try RandomCheckpoint("mixtral")
  let path = checkpoint.folder.file("split.gguf")
  var recipe = Recipe()
  recipe.type = "Q8_0"
  recipe.expertStorage = .split
  _ = try Converter(
    checkpoint: checkpoint.path, output: path, recipe: recipe, memoryLimit: testMemoryLimit
  ).run()
  #expect(try ArchiveCheck(rules: .forTests).run(path).passed)
  var archive = try EditedArchive(path)
  switch damage {
  case "missing": archive.tensors.removeAll { $0.name.string == name }
  case "shape":
    let dimensions = archive[name].shape.dimensions
    archive[name].shape = Shape([dimensions[0] / 2, dimensions[1] * 2])
  default:
    var stack = archive["blk.0.ffn_down.0.weight"]
    let count = archive.tensors.count { $0.name.string.hasPrefix("blk.0.ffn_down.") }
    stack.name = ExactString(name)
    stack.shape = Shape([count] + stack.shape.dimensions)
    stack.bytes = Array(repeatElement(stack.bytes, count: count).joined())
    archive.tensors.append(stack)
  }
  let damaged = try archive.write(checkpoint.folder.file("damaged.gguf"))
  let report = try ArchiveCheck(rules: .forTests).run(damaged)
  #expect(report.findings.contains { "\($0)".contains("blk.") })
  var copy = Recipe()
  copy.type = "copy"
  copy.expertStorage = .stacked
  let error = #expect(throws: FormatError.self) {
    try Converter(
      checkpoint: damaged, output: checkpoint.folder.file("out.gguf"), recipe: copy,
      memoryLimit: testMemoryLimit)
  }
  #expect(error.map { "\($0)".contains(name) } == true, "\(error as Any)")
}
