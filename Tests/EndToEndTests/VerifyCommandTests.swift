import ByteIO
import StrictJSON
import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

private let llama3 = Fixtures.path("models/llama3")
private let text = Fixtures.path("text/eval.txt")

/// An archive of the bundled Llama 3.
private func archive(_ folder: TemporaryFolder, type: String = "Q4_K_M") -> String {
  let path = folder.file("\(type).gguf")
  #expect(Command.ingot("convert", llama3, "-o", path, "--type", type).status == 0)
  return path
}

private func json(_ text: String) throws -> JSONValue {
  try JSONValue(parsing: Array(text.utf8), file: "result")
}

/// The figures that transformers (perplexity) and llama-perplexity (divergence of the archive
/// restored to F32, F32 caches, no flash attention) give for the whole text with this context.
@Test func figuresAreThoseOfThePeers() throws {
  let folder = TemporaryFolder()
  let result = Command.ingot(
    "verify", llama3, archive(folder), "--text", text, "--context", "256", "--json", "-")
  #expect(result.status == 0, "\(result.error)")
  let figures = try #require(try json(result.output)["distribution"])
  func value(_ name: String) throws -> Double {
    try #require(figures[name]?["value"]?.double)
  }
  #expect(abs(try value("referencePerplexity") / 11.792381575950078 - 1) < 1e-6)
  #expect(abs(try value("candidatePerplexity") / 11.893985 - 1) < 1e-6)
  #expect(abs(try value("meanDivergence") - 0.010990) < 2e-6)
  #expect(abs(try value("topAgreement") - 0.93536) < 2e-4)
  #expect(abs(try value("probabilityShiftRMS") - 0.02762) < 1e-5)
  let tail = try #require(figures["divergenceQuantiles"]?.array?[3])
  #expect(abs((tail["value"]?.double ?? 0) - 0.068211) < 1e-4)
}

/// Reports appear together with the verdict, and a gate that fails is exit status 1.
@Test func gatesDecideTheExitStatus() throws {
  let folder = TemporaryFolder()
  let candidate = archive(folder, type: "Q3_K_S")
  let common = [
    Command.ingot, "verify", llama3, candidate, "--text", text, "--context", "128", "--chunks",
    "20", "--progress", "none",
  ]
  let reports = ["--json", "--junit", "--markdown", "--html"].flatMap {
    [$0, folder.file("report" + $0)]
  }
  let failed = Command.run(common + ["--max-mean-kld", "0.001"] + reports)
  #expect(failed.status == 1, "\(failed)")
  #expect(failed.output.hasPrefix("FAILED"))
  for report in ["--json", "--junit", "--markdown", "--html"] {
    let bytes = try PositionalFile.readAll(folder.file("report" + report), limit: 1 << 20)
    #expect(!String(decoding: bytes, as: UTF8.self).ranges(of: "max-mean-kld").isEmpty)
  }
  #expect(Command.run(common + ["--max-mean-kld", "0.5", "--min-top1", "50%"]).status == 0)
  #expect(Command.run(common + ["--policy", "auto"]).status == 0)
  // The point estimate is below this limit, its confidence bound is not.
  let value = try #require(
    try json(Command.run(common + ["--json", "-"]).output)["distribution"]?["meanDivergence"]?[
      "value"]?.double)
  let near = Command.run(common + ["--max-mean-kld", "\(value * 1.001)"])
  #expect(near.status == 1 && !near.output.ranges(of: "longer text").isEmpty, "\(near.output)")
}

/// With a saved reference the original and its text may be gone.
@Test func savedReferenceStandsInForTheOriginal() throws {
  let folder = TemporaryFolder()
  let candidate = archive(folder)
  let saved = folder.file("llama3.reference")
  let common = ["--context", "128", "--chunks", "30", "--progress", "none"]
  let saving = Command.run(
    [Command.ingot, "verify", llama3, "--text", text, "--save-reference", saved] + common)
  #expect(saving.status == 0, "\(saving)")
  let whole = Command.run(
    [Command.ingot, "verify", llama3, candidate, "--text", text, "--json", "-"] + common)
  let part = Command.ingot("verify", saved, candidate, "--json", "-", "--progress", "none")
  #expect(part.status == 0, "\(part.error)")
  let (a, b) = try (json(whole.output)["distribution"], json(part.output)["distribution"])
  for name in [
    "referencePerplexity", "candidatePerplexity", "topAgreement", "probabilityShiftRMS",
  ] {
    let (exact, saved) = (a?[name]?["value"]?.double ?? 0, b?[name]?["value"]?.double ?? 1)
    #expect(abs(exact / saved - 1) < 1e-5, "\(name): \(exact) \(saved)")
  }
  let exact = a?["meanDivergence"]?["value"]?.double ?? 0
  let estimate = b?["meanDivergence"]?["value"]?.double ?? 1
  #expect(abs(estimate / exact - 1) < 0.04, "\(estimate) \(exact)")
  #expect(b?["divergenceIsEstimated"]?.bool == true)

  // A gate on tensors has nothing to go by, another text is not the reference's.
  #expect(Command.ingot("verify", saved, candidate, "--max-tensor-error", "1").status == 64)
  let other = folder.write("other.txt", "something else\n")
  #expect(Command.ingot("verify", saved, candidate, "--text", other).status == 65)
  #expect(
    Command.ingot("verify", saved, candidate, "--text", text, "--progress", "none").status == 0)
}

/// Facts that differ are found without the original, too.
@Test func savedReferenceKnowsHowTextsBegin() throws {
  let folder = TemporaryFolder()
  let saved = folder.file("llama3.reference")
  let settings = ["--text", text, "--context", "128", "--chunks", "3", "--progress", "none"]
  #expect(
    Command.run([Command.ingot, "verify", llama3, "--save-reference", saved] + settings).status
      == 0)
  let wrong = folder.file("wrong.gguf")
  let options = ["--override-kv", "tokenizer.ggml.bos_token_id=int:5"]
  #expect(
    Command.run([Command.ingot, "convert", llama3, "-o", wrong] + options).status == 0)
  let result = Command.ingot("verify", saved, wrong)
  #expect(result.status == 1, "\(result)")
  #expect(!result.output.ranges(of: "same beginning of text").isEmpty, "\(result.output)")
}

/// No report and no saved reference takes the place of an input or of each other.
@Test func outputsNeverReplaceInputs() throws {
  let folder = TemporaryFolder()
  let candidate = archive(folder, type: "Q8_0")
  let own = folder.write("eval.txt", try PositionalFile.readAll(text, limit: 1 << 20))
  let policy = folder.write("policy.json", "{\"max-mean-kld\": 1}")
  let common = [
    Command.ingot, "verify", llama3, candidate, "--text", own, "--policy", policy, "--context",
    "128", "--chunks", "2", "--progress", "none",
  ]
  let names = folder.list()
  for options in [
    ["--json", candidate], ["--html", own], ["--markdown", policy],
    ["--junit", llama3 + "/config.json"], ["--save-reference", llama3 + "/tokenizer.json"],
    ["--json", folder.file("x"), "--html", folder.file("x")],
    ["--json", folder.file("x"), "--save-reference", folder.file("x")],
  ] {
    let result = Command.run(common + options)
    #expect(result.status == 64, "\(options): \(result)")
    #expect(folder.list() == names, "\(options)")
  }
}

/// One weights file stands for its folder, as it does for `convert`.
@Test func singleWeightsFileIsAReference() throws {
  let folder = TemporaryFolder()
  let model = Fixtures.path("models/llama2")
  let candidate = folder.file("q8.gguf")
  #expect(Command.ingot("convert", model, "-o", candidate, "--type", "Q8_0").status == 0)
  let result = Command.ingot(
    "verify", model + "/model.safetensors", candidate, "--text", text, "--context", "64",
    "--chunks", "4", "--progress", "none")
  #expect(result.status == 0, "\(result)")
}

/// A tensor that only the reference has is missed, also where the archive would run without it.
@Test func missingBiasesAreMissed() throws {
  let biased = CheckpointVariant("llama2")
  try biased.configure("attention_bias", "true")
  let image = SafetensorsImage(try biased.original("model.safetensors"))
  var tensors = try image.tensors
  for tensor in tensors where tensor.name.contains("self_attn") {
    let rows = tensor.shape[0]
    tensors.append(
      (
        name: tensor.name.replacing(".weight", with: ".bias"), type: "F16", shape: [rows],
        data: [UInt8](repeating: 0, count: rows * 2)
      ))
  }
  biased.write("model.safetensors", SafetensorsImage(tensors).bytes)
  let whole = biased.convert(["--type", "Q8_0"])
  #expect(whole.status == 0, "\(whole)")
  #expect(Command.ingot("verify", biased.path, biased.output).status == 0)
  let bare = biased.folder.file("bare.gguf")
  let model = Fixtures.path("models/llama2")
  #expect(Command.ingot("convert", model, "-o", bare, "--type", "Q8_0").status == 0)
  for (reference, candidate) in [(biased.path, bare), (model, biased.output)] {
    let result = Command.ingot("verify", reference, candidate, "--no-tensors", "--text", text)
    #expect(result.status == 65, "\(result)")
    #expect(!result.error.ranges(of: "bias").isEmpty, "\(result.error)")
  }
}

/// What one chunk says cannot be told from its text: no gate passes on it.
@Test func gatesNeedMoreThanOneChunk() throws {
  let folder = TemporaryFolder()
  let candidate = archive(folder, type: "Q8_0")
  for (chunks, status) in [("1", 1), ("4", 0)] as [(String, Int32)] {
    let result = Command.ingot(
      "verify", llama3, candidate, "--text", text, "--context", "128", "--chunks", chunks,
      "--max-mean-kld", "0.1", "--progress", "none")
    #expect(result.status == status, "\(result.output)")
  }
}

/// Groups of chunks read the models again and change nothing but the time.
@Test func memoryLimitChangesNoFigure() throws {
  let folder = TemporaryFolder()
  let candidate = archive(folder)
  let common = [
    Command.ingot, "verify", llama3, candidate, "--text", text, "--context", "256", "--chunks",
    "40", "--threads", "1", "--progress", "none", "--json", "-",
  ]
  let wide = Command.run(common)
  let narrow = Command.run(common + ["--memory-limit", "100M"])
  #expect(wide.status == 0 && narrow.status == 0, "\(narrow.error)")
  #expect(!wide.error.ranges(of: "one group").isEmpty, "\(wide.error)")
  #expect(!narrow.error.ranges(of: "groups").isEmpty, "\(narrow.error)")
  let (a, b) = try (json(wide.output), json(narrow.output))
  let (first, second) = (
    a["distribution"]?["meanDivergence"]?["value"]?.double ?? 0,
    b["distribution"]?["meanDivergence"]?["value"]?.double ?? 1
  )
  #expect(abs(first / second - 1) < 1e-4, "\(first) \(second)")
  #expect((b["peakResidentBytes"]?.int ?? .max) <= 100_000_000, "\(narrow.output)")
}

@Test(arguments: [
  (["--context", "20000"], 65, "two contexts"),
  (["--chunks", "0"], 64, "--chunks"),
  (["--context", "4"], 64, "--context"),
  (["--memory-limit", "20M"], 64, "--memory-limit"),
  (["--max-mean-kld", "-1"], 64, "max-mean-kld"),
  (["--min-top1", "120%"], 64, "min-top1"),
  (["--policy", "none.json"], 64, "policies are"),
  (["--save-reference", "/nowhere/x"], 73, "/nowhere"),
  (["--html", "/nowhere/x"], 73, "/nowhere"),
])
func impossibleVerificationsAreRefused(_ options: [String], _ status: Int32, _ says: String) {
  let folder = TemporaryFolder()
  let candidate = archive(folder, type: "Q8_0")
  let result = Command.run(
    [Command.ingot, "verify", llama3, candidate, "--text", text, "--progress", "none"] + options)
  #expect(result.status == status, "\(result)")
  #expect(!result.error.ranges(of: says).isEmpty && result.output.isEmpty, "\(result.error)")
}

/// What would change nothing, or judge nothing, is not taken in silence.
@Test func optionsWithoutEffectAreRefused() throws {
  let folder = TemporaryFolder()
  let candidate = archive(folder, type: "Q8_0")
  let saved = folder.file("llama3.reference")
  let settings = ["--text", text, "--context", "128", "--chunks", "3", "--progress", "none"]
  let saving = Command.run([Command.ingot, "verify", llama3, "--save-reference", saved] + settings)
  #expect(saving.status == 0, "\(saving)")
  for (arguments, says) in [
    ([llama3, candidate, "--chunks", "5"], "--chunks 5: has no effect"),
    ([llama3, candidate, "--context", "256"], "--context 256: has no effect"),
    ([llama3, candidate, "--no-tensors"], "leaves nothing to compare"),
    ([saved, candidate, "--chunks", "5"], "--chunks 5: has no effect: the saved reference"),
    ([saved, candidate, "--no-tensors"], "--no-tensors: has no effect: a saved reference"),
    ([saved, candidate, "--tensors"], "--tensors: has no effect"),
    ([llama3, "--reference-only", "--no-tensors", "--text", text], "there is no candidate"),
    ([llama3, candidate, "--save-reference", saved], "add --text FILE"),
    ([llama3, candidate, "--policy", "Q8_0"], "add --text FILE"),
    ([llama3, candidate, "--policy", "auto"], "add --text FILE"),
    ([llama3, candidate, "--min-top1", "90%"], "add --text FILE"),
    ([llama3, "--reference-only", "--text", text, "--policy", "auto"], "there is no candidate"),
    ([llama3, "--reference-only", "--text", text, "--max-mean-kld", "1"], "and there is none"),
    ([llama3, candidate, "--text", "-"], "--text takes a file"),
    ([llama3, candidate, "--text", text, "--save-reference", "-"], "takes a file, not '-'"),
    (
      [llama3, candidate, "--no-tensors", "--text", text, "--max-tensor-error", "1"],
      "leave out --no-tensors"
    ),
    ([llama3, "--txt", text], "--txt"),
  ] {
    let result = Command.run([Command.ingot, "verify"] + arguments)
    #expect(result.status == 64, "\(arguments): \(result)")
    #expect(!result.error.ranges(of: says).isEmpty, "\(arguments): \(result.error)")
    #expect(result.output.isEmpty)
  }
}

/// `-` is standard output, of which there is one.
@Test func oneReportGoesToStandardOutput() throws {
  let folder = TemporaryFolder()
  let candidate = archive(folder, type: "Q8_0")
  let common = [Command.ingot, "verify", llama3, candidate, "--progress", "none"]
  for (option, start, end) in [
    ("--json", "{\n", "}\n"), ("--junit", "<?xml", "</testsuites>\n"), ("--markdown", "### ", "\n"),
    ("--html", "<!doctype html>", "</html>\n"),
  ] {
    let result = Command.run(common + [option, "-"])
    #expect(result.status == 0, "\(result)")
    #expect(result.output.hasPrefix(start) && result.output.hasSuffix(end), "\(result.output)")
    #expect(!result.output.hasSuffix("\n\n") || option == "--markdown")
    #expect(result.output.ranges(of: "PASSED").isEmpty)
    #expect(access("-", F_OK) != 0, "a file called -")
  }
  let both = Command.run(common + ["--junit", "-", "--html", "-"])
  #expect(both.status == 64 && both.output.isEmpty)
  #expect(
    !both.error.ranges(of: "--junit and --html cannot both go to standard output").isEmpty,
    "\(both.error)")
  let file = folder.file("report.md")
  #expect(Command.run(common + ["--json", "-", "--markdown", file]).status == 0)
  #expect(folder.list().contains("report.md"))
}

/// The archive's tensors are those that `inspect` counts, sizes are in powers of 1000, and one chunk
/// is one.
@Test func tablesSayWhatTheyCount() throws {
  let folder = TemporaryFolder()
  let result = Command.ingot(
    "verify", llama3, archive(folder), "--text", text, "--context", "128", "--chunks", "1")
  #expect(result.status == 0, "\(result)")
  for says in [
    "57 of 58 tensors are compared one by one; rope_freqs.weight", "Worst tensors  8 of 57",
    "of allowed", "1 chunk of 128",
  ] { #expect(!result.output.ranges(of: says).isEmpty, "\(says): \(result.output)") }
  #expect(!result.error.ranges(of: "1 chunk in one group, which reads").isEmpty, "\(result.error)")
  for unit in ["MiB", "GiB"] {
    #expect(result.output.ranges(of: unit).isEmpty && result.error.ranges(of: unit).isEmpty)
  }
}

/// A mix that only models trained for it bear has no measured limits on predictions.
@Test func policiesOfTernaryMixesSayWhatTheyLeaveOut() throws {
  let folder = TemporaryFolder()
  let result = Command.ingot(
    "verify", llama3, archive(folder, type: "TQ2_0"), "--text", text, "--context", "128",
    "--chunks", "3", "--policy", "auto", "--progress", "none")
  #expect(!result.output.ranges(of: "predictions were not judged").isEmpty, "\(result)")
  for stream in [result.output, result.error] {
    let says = "policy TQ2_0 judges tensors only, not predictions"
    #expect(!stream.ranges(of: says).isEmpty, "\(result)")
  }
}

@Test func otherModelsAndMissingFilesAreRefused() throws {
  let folder = TemporaryFolder()
  let candidate = archive(folder, type: "Q8_0")
  let other = Fixtures.path("models/llama2")
  for (arguments, status) in [
    ([other, candidate, "--text", text], 65), ([llama3, candidate, "--text", "none"], 66),
    ([llama3, folder.file("none")], 66), ([folder.file("none"), candidate], 66),
    ([llama3], 64), ([llama3, "--reference-only"], 64),
    ([llama3, candidate, "--reference-only"], 64),
    ([llama3, text], 65),
  ] as [([String], Int32)] {
    let result = Command.run([Command.ingot, "verify"] + arguments)
    #expect(result.status == status, "\(arguments): \(result)")
    #expect(result.output.isEmpty && !result.error.isEmpty)
  }
}
