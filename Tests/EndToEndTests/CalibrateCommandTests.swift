import ByteIO
import GGUF
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
private let settings = ["--text", text, "--context", "128", "--progress", "none"]

private func calibrate(_ arguments: [String]) -> CommandResult {
  Command.run([Command.ingot, "calibrate"] + arguments)
}

private func json(_ text: String) throws -> JSONValue {
  try JSONValue(parsing: Array(text.utf8), file: "result")
}

@Test func calibrationMakesImportanceThatConvertTakes() throws {
  let folder = TemporaryFolder()
  let imatrix = folder.file("imatrix.gguf")
  let made = calibrate([llama3, "-o", imatrix, "--chunks", "4", "--json"] + settings)
  #expect(made.status == 0, "\(made.error)")
  let result = try json(made.output)
  #expect(result["matrices"]?.int == 42 && result["tokens"]?.int == 512)
  #expect(result["chunkCount"]?.int == 4 && result["chunkSize"]?.int == 128)
  let out = folder.file("out.gguf")
  let options = ["--type", "IQ2_S", "--imatrix", imatrix, "--progress", "none"]
  let converted = Command.run([Command.ingot, "convert", llama3, "-o", out] + options)
  #expect(converted.status == 0, "\(converted.error)")
  #expect(folder.list().sorted() == ["imatrix.gguf", "out.gguf"])

  // Another model is noticed by both.
  let wrong = Command.ingot(
    "convert", Fixtures.path("models/llama2"), "-o", out, "--imatrix", imatrix)
  #expect(wrong.status == 65 && wrong.error.contains("another model"), "\(wrong.error)")
}

/// Groups of chunks that fit a small memory sum up what one group does, but for the rounding of
/// products of another height.
@Test(.disabled(if: Command.isWatched, "a sanitizer takes more memory than the limit"))
func groupsDoNotMatter() throws {
  let folder = TemporaryFolder()
  let common = [llama3, "--chunks", "40", "--threads", "1"] + settings
  let whole = calibrate(common + ["-o", folder.file("whole")])
  #expect(whole.status == 0 && whole.error.contains("one group"), "\(whole)")
  let groups = calibrate(common + ["-o", folder.file("groups"), "--memory-limit", "64M"])
  #expect(groups.status == 0 && !groups.error.contains("one group"), "\(groups)")
  let (a, b) = try (ImportanceSums(folder.file("whole")), ImportanceSums(folder.file("groups")))
  #expect(a.entries.mapValues(\.counts) == b.entries.mapValues(\.counts))
  for (name, entry) in a.entries {
    let others = try #require(b.entries[name]?.sums)
    #expect(zip(entry.sums, others).allSatisfy { abs($0 - $1) <= 1e-5 * $0 }, "\(name)")
  }
}

/// An interrupted calibration goes on where it was, and ends with the same bytes.
@Test(.disabled(if: Command.isWatched, "a sanitizer takes more memory than the limit"))
func resumesAfterAnInterruption() throws {
  let folder = TemporaryFolder()
  let limit = ["--memory-limit", "64M", "--threads", "1", "--chunks", "40"]
  let whole = calibrate([llama3, "-o", folder.file("whole"), "--json"] + settings + limit)
  #expect(whole.status == 0, "\(whole.error)")
  #expect(!whole.error.contains("one group"), "\(whole.error)")
  let peak = try #require(try json(whole.output)["peakResidentBytes"]?.int)
  #expect(peak <= 64_000_000)

  let path = folder.file("part")
  let state = path + ".state"
  let arguments = [llama3, "-o", path] + settings + limit
  let stopped = Command.run(
    [Command.ingot, "calibrate"] + arguments, at: { access(state, F_OK) == 0 }
  ) { kill($0, SIGTERM) }
  #expect(stopped.status == 130 && stopped.error.contains("--resume"), "\(stopped)")
  #expect(folder.list().sorted() == ["part.state", "whole"])

  // Other options: not a part of this run.
  let changed = calibrate(arguments + ["--resume", "--process-output"])
  #expect(changed.status == 65 && changed.error.contains("process-output"), "\(changed.error)")
  #expect(folder.list().sorted() == ["part.state", "whole"])

  let rest = calibrate(arguments + ["--resume", "--json"])
  #expect(rest.status == 0, "\(rest.error)")
  #expect(try json(rest.output)["resumedChunks"]?.int ?? 0 > 0)
  #expect(folder.list().sorted() == ["part", "whole"])
  let bytes = try PositionalFile.readAll(path, limit: 1 << 20)
  #expect(try bytes == PositionalFile.readAll(folder.file("whole"), limit: 1 << 20))
}

/// With all chunks in one group there is nothing to go on from, and that is what is said.
@Test func interruptedInItsOnlyGroup() throws {
  let folder = TemporaryFolder()
  let path = folder.file("whole")
  let arguments = [llama3, "-o", path, "--threads", "1"] + settings
  // The output is opened before anything is computed.
  let stopped = Command.run(
    [Command.ingot, "calibrate"] + arguments, at: { !folder.list().isEmpty }
  ) { kill($0, SIGINT) }
  #expect(stopped.status == 130 && stopped.error.contains("starts again"), "\(stopped)")
  #expect(!stopped.error.contains("--resume") && folder.list().isEmpty, "\(stopped)")
}

@Test func mergingAddsUp() throws {
  let folder = TemporaryFolder()
  let (first, both) = (folder.file("first"), folder.file("both"))
  #expect(calibrate([llama3, "-o", first, "--chunks", "2"] + settings).status == 0)
  #expect(calibrate(["--merge", first, "--merge", first, "-o", both]).status == 0)
  let third = folder.file("third")
  let merged = calibrate([llama3, "-o", third, "--chunks", "2", "--merge", first] + settings)
  #expect(merged.status == 0, "\(merged.error)")
  // Twice the same numbers.
  #expect(
    try PositionalFile.readAll(both, limit: 1 << 20)
      == PositionalFile.readAll(third, limit: 1 << 20))
  let sums = try ImportanceSums(both)
  #expect(sums.chunkCount == 4 && sums.datasets == [text, text])
  #expect(sums.entries["blk.0.attn_q.weight"]?.counts == [512])
  let old = Fixtures.path("models/imatrix/llama2.dat")
  #expect(calibrate(["--merge", old, "-o", folder.file("new")]).status == 0)
}

@Test func calibrationSaysWhatIsWrong() throws {
  let folder = TemporaryFolder()
  let out = folder.file("out.gguf")
  let garbage = folder.write("garbage", "no importance matrix, and long enough to be one")
  let short = folder.write("short.txt", "too short")
  let other = Fixtures.path("models/imatrix/llama2.gguf")
  let own = Fixtures.path("models/imatrix/llama3.gguf")
  let whole = try Fixtures.bytes("models/imatrix/llama3.gguf")
  let cut = folder.write("cut", whole[..<(whole.count / 2)])
  let cases: [([String], Int32)] = [
    ([llama3, "-o", out], 64),
    (["-o", out], 64),
    (["--merge", own, "-o", out, "--text", text], 64),
    (["--merge", own, "-o", out, "--resume"], 64),
    (["--merge", cut, "-o", cut], 65),
    (["--merge", garbage, "-o", out], 65),
    (["--merge", folder.file("none"), "-o", out], 66),
    (["--merge", own, "--merge", other, "-o", out], 65),
    (["--merge", own, "-o", out, "--memory-limit", "100K"], 64),
    ([llama3, "-o", out, "--merge", other] + settings, 65),
    ([llama3, "-o", out, "--chunks", "0"] + settings, 64),
    ([llama3, "-o", out, "--text", text, "--context", "4"], 64),
    ([llama3, "-o", out, "--text", short], 65),
    ([llama3, "-o", out, "--text", own], 65),
    ([llama3, "-o", out, "--text", folder.file("none")], 66),
    ([folder.file("none"), "-o", out] + settings, 66),
    ([llama3, "-o", out, "--memory-limit", "8M"] + settings, 64),
    ([llama3, "-o", short, "--text", short, "--context", "8"], 65),
    ([llama3, "-o", text] + settings, 64),
    ([llama3, "-o", folder.file("none/out")] + settings, 73),
  ]
  for (arguments, status) in cases {
    let result = calibrate(arguments)
    #expect(result.status == status, "\(arguments): \(result)")
    #expect(!result.error.isEmpty, "\(arguments)")
    #expect(folder.list().sorted() == ["cut", "garbage", "short.txt"], "\(arguments)")
  }
  // An input is never replaced.
  let kept = folder.write("kept", try Fixtures.bytes("models/imatrix/llama3.gguf"))
  #expect(calibrate(["--merge", kept, "-o", kept]).status == 64)
  #expect(try PositionalFile.readAll(kept, limit: 1 << 20) == whole)
}

@Test func inspectShowsHowImportanceSpreads() throws {
  for name in ["llama3.gguf", "llama2.dat"] {
    let result = Command.ingot(
      "inspect", Fixtures.path("models/imatrix/\(name)"), "--tensors")
    #expect(result.status == 0, "\(result.error)")
    #expect(result.output.contains("text/calibration.txt"))
    #expect(result.output.contains("blk.3.ffn_down.weight"))
  }
  // Four experts, of which one was never reached.
  let folder = TemporaryFolder()
  let sums = ImportanceSums(
    entries: [
      "blk.0.ffn_up_exps.weight": .init(sums: [1, 1, 4, 0, 0, 0, 2, 2], counts: [1, 2, 0, 1])
    ], datasets: ["a.txt"], chunkCount: 1, chunkSize: 4, file: "")
  let output = try OutputFile(folder.file("experts.gguf"))
  try sums.write(to: output)
  try output.commit()
  let result = Command.ingot("inspect", folder.file("experts.gguf"))
  #expect(result.output.contains("no token reached 1 of 4 experts"), "\(result)")
  let found = try json(Command.ingot("inspect", folder.file("experts.gguf"), "--json").output)
  let use = try #require(found["experts"]?.array?.first)
  #expect(use["unreached"]?.array?.map(\.int) == [2])
  #expect(use["counts"]?.array?.map(\.double) == [1, 2, 0, 1])
  #expect(use["entropy"]?.double == 1.5 && use["evenness"]?.double == 0.75)
  #expect(found["matrices"]?.array?.first?["sum"]?.double == 8)
}
