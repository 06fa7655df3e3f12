import ByteIO
import GGUF
import Ingot
import StrictJSON
import TestSupport
import Testing

private func ingot(_ arguments: [String]) -> CommandResult {
  Command.run([Command.ingot] + arguments)
}

private func bytes(_ path: String) throws -> [UInt8] {
  try PositionalFile.readAll(path, limit: 64 << 20)
}

/// Experts of one type, stacked again, are the archive that was never split.
@Test(arguments: RandomCheckpoint.models, ["Q8_0", "Q4_0"])
func splitExpertsStackAgain(_ model: String, _ type: String) throws {
  let checkpoint = try RandomCheckpoint(model)
  let folder = TemporaryFolder()
  let (whole, split, joined) = (folder.file("whole"), folder.file("split"), folder.file("joined"))
  let common = ["--type", type, "--pure", "--no-provenance", "--progress", "none"]
  #expect(ingot(["convert", checkpoint.path, "-o", whole] + common).status == 0)
  let made = ingot(["convert", checkpoint.path, "-o", split, "--experts", "split"] + common)
  #expect(made.status == 0, "\(made.error)")
  let archive = try GGUFFile(split)
  #expect(archive.metadata["ingot.experts.split"] == .bool(true))
  #expect(!archive.tensors.contains { $0.name.string.contains("_exps") })
  let copy = ["--type", "copy", "--no-provenance", "--experts", "stacked", "--progress", "none"]
  let stacked = ingot(["convert", split, "-o", joined] + copy)
  #expect(stacked.status == 0, "\(stacked.error)")
  #expect(try bytes(joined) == bytes(whole))

  // A copy leaves them as they are.
  let again = folder.file("again")
  let plain = ["--type", "copy", "--no-provenance", "--progress", "none"]
  #expect(ingot(["convert", split, "-o", again] + plain).status == 0)
  #expect(try bytes(again) == bytes(split))

  let check = ingot(["check", split])
  #expect(check.status == 0 && !check.error.contains("warning"), "\(check)")
  let text = Fixtures.path("text/eval.txt")
  let verified = ingot([
    "verify", whole, split, "--text", text, "--context", "32", "--chunks", "2", "--json", "-",
    "--progress", "none",
  ])
  #expect(verified.status == 0, "\(verified.error)")
  let report = try JSONValue(parsing: Array(verified.output.utf8), file: "report")
  #expect(report["distribution"]?["meanDivergence"]?["value"]?.double ?? 1 < 1e-9)
}

/// A type for every expert, chosen for a size, and everything that reads the result.
@Test func expertsGetTypesOfTheirOwn() throws {
  let checkpoint = try RandomCheckpoint("llama4-16-experts")
  let folder = TemporaryFolder()
  let (recipe, out) = (folder.file("recipe.json"), folder.file("out.gguf"))
  let planned = ingot([
    "plan", checkpoint.path, "--experts", "split", "--target-bpw", "5", "-o", recipe, "--json",
    "--text", Fixtures.path("text/eval.txt"), "--text-context", "32", "--chunks", "4", "--progress",
    "none",
  ])
  #expect(planned.status == 0, "\(planned.error)")
  let plan = try JSONValue(parsing: Array(planned.output.utf8), file: "plan")
  #expect(plan["experts"]?.string == "split" && plan["expectedDivergence"]?.double ?? 0 > 0)
  var types: [String: Set<String>] = [:]
  for tensor in plan["tensors"]?.array ?? [] {
    guard let name = tensor["name"]?.string, let type = tensor["type"]?.string else { continue }
    types[String(SplitExperts.place(of: ExactString(name)).stack.string), default: []].insert(type)
  }
  #expect(types.values.contains { $0.count > 1 }, "\(types)")

  let made = ingot([
    "convert", checkpoint.path, "-o", out, "--recipe", recipe, "--progress", "none",
  ])
  #expect(made.status == 0, "\(made.error)")
  let archive = try GGUFFile(out)
  let planBytes = plan["bytes"]?.int
  #expect(archive.tensors.reduce(0) { $0 + $1.byteCount } == planBytes)
  #expect(ingot(["check", out]).status == 0)
  #expect(ingot(["inspect", out]).status == 0)

  // Stacked, it is quantized once more, which has to be asked for.
  let uniform = folder.file("uniform.gguf")
  let refused = ingot(["convert", out, "-o", uniform, "--type", "Q8_0", "--progress", "none"])
  #expect(refused.status == 65 && refused.error.contains("--allow-requantize"), "\(refused)")
  let stacked = ingot([
    "convert", out, "-o", uniform, "--type", "Q8_0", "--allow-requantize", "--progress", "none",
  ])
  #expect(stacked.status == 0, "\(stacked.error)")
  #expect(try GGUFFile(uniform).tensors.contains { $0.name == "blk.1.ffn_down_exps.weight" })

  // The archive is a recipe too.
  let like = folder.file("like.gguf")
  let same = ingot(["convert", checkpoint.path, "-o", like, "--recipe", out, "--progress", "none"])
  #expect(same.status == 0, "\(same.error)")
  #expect(try bytes(like) == bytes(out))
}

@Test func recipesOfOtherModelsAreRefused() throws {
  let folder = TemporaryFolder()
  let llama3 = Fixtures.path("models/llama3")
  let out = folder.file("out.gguf")
  func attempt(_ recipe: String) -> CommandResult {
    folder.write("recipe.json", Array(recipe.utf8))
    return ingot([
      "convert", llama3, "-o", out, "--recipe", folder.file("recipe.json"), "--progress", "none",
    ])
  }
  let head = #"{"format": "ingot-recipe", "version": 1, "experts": "stacked", "tensors": "#
  let cases: [(String, String)] = [
    (head + #"{"blk.77.attn_q.weight": "Q4_K"}}"#, "no such tensor"),
    (head + #"{"blk.0.attn_q.weight": "Q4_K"}}"#, "another model"),
    (head + #"{"blk.0.attn_q.weight": "Q4_Z"}}"#, "Q4_Z"),
    (head + #"[]}"#, "an object"), ("{}", "format"), ("nonsense", "recipe.json"),
    (head.replacing("1,", with: "2,") + "{}}", "version"),
    (head.replacing("stacked", with: "x") + "{}}", "experts"),
  ]
  for (recipe, says) in cases {
    let result = attempt(recipe)
    #expect(result.status == 65 && result.error.contains(says), "\(recipe): \(result)")
    #expect(result.error.split(separator: "\n").filter { $0.hasPrefix("error") }.count == 1)
  }
  #expect(folder.list() == ["recipe.json"])
}

@Test func sizesThatCannotBeAreRefused() {
  let llama3 = Fixtures.path("models/llama3")
  let small = ingot(["plan", llama3, "--target-size", "1M"])
  #expect(small.status == 65 && small.error.contains("smallest file has"), "\(small)")
  let usage = [
    ["plan", llama3], ["plan", llama3, "--target-bpw", "0"],
    ["plan", llama3, "--target-bpw", "4", "--target-size", "3M"],
    ["plan", llama3, "--target-bpw", "4", "--experts", "split"],
    ["plan", llama3, "--target-bpw", "4", "--types", "Q9"],
    ["plan", llama3, "--target-bpw", "4", "--min-type", "Q6_K", "--max-type", "Q4_K"],
    ["convert", llama3, "-o", "/dev/null/x", "--text", "x"],
  ]
  for arguments in usage {
    let result = ingot(arguments)
    #expect(result.status == 64, "\(arguments) \(result)")
  }
}
