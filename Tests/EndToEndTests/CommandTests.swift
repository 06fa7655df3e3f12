import Ingot
import StrictJSON
import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

private let llama3 = Fixtures.path("models/llama3")

@Test func convertsChecksAndInspects() throws {
  let folder = TemporaryFolder()
  let path = folder.file("out.gguf")
  let converted = Command.ingot("convert", llama3, "-o", path, "--type", "Q4_K_M", "--json")
  #expect(converted.status == 0, "\(converted.error)")
  let summary = try JSONValue(parsing: Array(converted.output.utf8), file: "stdout")
  #expect(summary["tensors"]?.int == 58)
  #expect(folder.list() == ["out.gguf"])
  let checked = Command.ingot("check", path)
  #expect(checked.status == 0, "\(checked.output)\(checked.error)")
  let inspected = Command.ingot("inspect", path, "--json", "--metadata", "--tensors")
  let document = try JSONValue(parsing: Array(inspected.output.utf8), file: "stdout")
  #expect(document["metadata"]?["ingot.recipe"]?.string == "Q4_K_M")
  #expect(document["tensors"]?.array?.count == 58)
}

@Test func tokenizesTextsOfCheckpointsAndArchives() throws {
  let folder = TemporaryFolder()
  let archive = folder.file("out.gguf")
  #expect(Command.ingot("convert", llama3, "-o", archive, "--type", "Q8_0").status == 0)
  let file = folder.write("text.txt", "a<|eot_id|>\n\nb")
  for model in [llama3, archive] {
    let json = Command.ingot("tokenize", model, "--text", "a<|eot_id|>", "--json")
    let document = try JSONValue(parsing: Array(json.output.utf8), file: "stdout")
    #expect(document["tokens"]?.array?.compactMap(\.int) == [2040, 64, 2045])
    #expect(
      document["pieces"]?.array?.compactMap(\.string) == ["<|begin_of_text|>", "a", "<|eot_id|>"])
    let table = Command.ingot("tokenize", model, "--file", file, "--no-bos")
    #expect(table.output.hasPrefix("  64  \"a\"\n2045  \"<|eot_id|>\"\n"))
    #expect(table.output.hasSuffix("  65  \"b\"\n"))
    let lines = Command.ingot("tokenize", model, "--file", file, "--lines", "--no-bos")
    let documents = try lines.output.split(separator: "\n").map {
      try JSONValue(parsing: Array($0.utf8), file: "stdout")["tokens"]?.array?.compactMap(\.int)
    }
    #expect(documents == [[64, 2045], [], [65]])
    let plain = Command.ingot(
      "tokenize", model, "--file", file, "--lines", "--no-bos", "--no-special")
    #expect(!plain.output.contains("2045"))
  }
  #expect(Command.ingot("tokenize", llama3).status == 64)
  #expect(Command.ingot("tokenize", llama3, "--text", "a", "--file", file).status == 64)
  #expect(Command.ingot("tokenize", llama3, "--text", "a", "--lines").status == 64)
  #expect(Command.ingot("tokenize", folder.file("none"), "--text", "a").status == 66)
  #expect(Command.ingot("tokenize", folder.path, "--text", "a").status == 65)
  #expect(Command.ingot("tokenize", file, "--text", "a").status == 65)
}

/// A misspelt option is named, whatever else is wrong without it.
@Test func unknownOptionsAreNamed() throws {
  for arguments in [
    ["tokenize", llama3, "--txt", "a"], ["tokenize", llama3, "--lines", "--fil", "a"],
    ["verify", llama3, "--txt", "a"], ["check", llama3, "--threads", "0", "--txt"],
    ["convert", llama3, "-o", "x", "--threads", "0", "--txt"],
  ] {
    let result = Command.run([Command.ingot] + arguments)
    #expect(result.status == 64, "\(result)")
    let says = arguments.contains("--txt") ? "Unknown option '--txt'" : "Unknown option '--fil'"
    #expect(!result.error.ranges(of: says).isEmpty, "\(arguments): \(result.error)")
  }
  #expect(Command.ingot("check", llama3, "--threads", "0").status == 64)
}

@Test func tokenizesStandardInput() throws {
  let folder = TemporaryFolder()
  let file = folder.write("text.txt", "a<|eot_id|>\n\nb")
  let command = "\(Command.ingot) tokenize \(llama3) --file"
  for options in ["", " --lines", " --json"] {
    let piped = Command.run(["/bin/sh", "-c", "cat \(file) | \(command) -\(options)"])
    let named = Command.run(["/bin/sh", "-c", "\(command) \(file)\(options)"])
    #expect(piped.status == 0 && piped.output == named.output, "\(piped)")
    #expect(!named.output.isEmpty)
  }
  let endless = Command.run(["/bin/sh", "-c", "\(command) - < /dev/zero"])
  #expect(endless.status == 65 && !endless.error.ranges(of: "at most").isEmpty, "\(endless.error)")
}

@Test func dryRunWritesNothing() throws {
  let folder = TemporaryFolder()
  let result = Command.ingot(
    "convert", llama3, "-o", folder.file("out.gguf"), "--dry-run", "--json")
  #expect(result.status == 0)
  let plan = try JSONValue(parsing: Array(result.output.utf8), file: "stdout")
  #expect(plan["totalBytes"]?.int ?? 0 > 3_500_000)
  #expect(plan["tensors"]?.array?.count == 58)
  #expect(folder.list().isEmpty)
}

@Test func exitStatusesSayWhatWentWrong() throws {
  let folder = TemporaryFolder()
  let out = folder.file("out.gguf")
  let garbage = folder.write("garbage.gguf", "no model at all, and long enough to be one")
  let cut = folder.write("cut.gguf", Array("GGUF".utf8) + [3, 0, 0, 0, 9])
  let cases: [([String], Int32)] = [
    (["convert"], 64),
    (["convert", llama3, "-o", out, "--type", "Q9_X"], 64),
    (["convert", llama3, "-o", out, "--threads", "0"], 64),
    (["convert", llama3, "-o", out, "--memory-limit", "1M"], 64),
    (["convert", llama3, "-o", out, "--tensor-type", "("], 64),
    (["convert", llama3, "-o", out, "--override-kv", "x"], 64),
    (["convert", llama3, "-o", out, "--type", "Q2_K_S"], 64),
    (["convert", llama3, "-o", out, "--type", "copy"], 64),
    (["convert", folder.file("none"), "-o", out], 66),
    (["convert", garbage, "-o", out], 65),
    (["convert", cut, "-o", out], 65),
    (["convert", llama3, "-o", out, "--imatrix", garbage], 65),
    (["convert", llama3, "-o", out, "--imatrix", folder.file("none")], 66),
    (["convert", llama3, "-o", folder.file("none/out.gguf")], 73),
    (["convert", llama3, "-o", folder.path], 73),
    (["inspect", folder.file("none")], 66),
    (["inspect", garbage], 65),
    (["check", cut], 65),
  ]
  for (arguments, status) in cases {
    let result = Command.run([Command.ingot] + arguments)
    #expect(result.status == status, "\(arguments): \(result.error)")
    #expect(!result.error.isEmpty, "\(arguments)")
    #expect(folder.list() == ["cut.gguf", "garbage.gguf"], "\(arguments)")
  }
}

@Test func fullDiskLeavesTheOldFile() throws {
  let folder = TemporaryFolder()
  let out = folder.write("out.gguf", "old")
  // A limit on file sizes makes writes fail as a full disk does; 512-byte blocks.
  let result = Command.run([
    "/bin/sh", "-c", "ulimit -f 1000; exec \"$0\" \"$@\"", Command.ingot, "convert", llama3, "-o",
    out,
  ])
  #expect(result.status == 74, "\(result.error)")
  #expect(try PositionalFile.readAll(out, limit: 100) == Array("old".utf8))
  #expect(folder.list() == ["out.gguf"])
}

@Test func outputIsNeverAnInput() throws {
  let folder = TemporaryFolder()
  let path = folder.file("out.gguf")
  #expect(Command.ingot("convert", llama3, "-o", path, "--type", "Q8_0").status == 0)
  let before = try PositionalFile.readAll(path, limit: 64 << 20)
  folder.link("link.gguf", to: path)
  for output in [path, folder.file("link.gguf")] {
    #expect(Command.ingot("convert", path, "-o", output, "--type", "copy").status == 64)
  }
  #expect(try PositionalFile.readAll(path, limit: 64 << 20) == before)
}

@Test func interruptionLeavesNothingOrWhatResumeNeeds() throws {
  let folder = TemporaryFolder()
  let left = [".out.gguf.ingot.journal", ".out.gguf.ingot.partial"]
  // At any moment: before, while and after the data is written; status 130 or done.
  for delay in stride(from: UInt32(5_000), through: 100_000, by: 12_000) {
    let out = folder.file("out.gguf")
    let result = Command.run(
      [Command.ingot, "convert", llama3, "-o", out, "--threads", "1", "--type", "Q3_K_M"],
      signalAfter: (SIGINT, delay))
    switch result.status {
    case 0: #expect(folder.list() == ["out.gguf"])
    case 130:
      let isKept = result.error.contains("--resume goes on")
      #expect(folder.list() == (isKept ? left : []), "\(result.error)")
    // Before the handler was there.
    case 128 + SIGINT: #expect(folder.list().isEmpty)
    default: Issue.record("status \(result.status): \(result.error)")
    }
    for name in folder.list() { unlink(folder.file(name)) }
  }
}

@Test func modelfileNamesArchiveTemplateAndStops() throws {
  let folder = TemporaryFolder()
  let (out, modelfile) = (folder.file("out.gguf"), folder.file("Modelfile"))
  let result = Command.ingot("convert", llama3, "-o", out, "--modelfile", modelfile)
  #expect(result.status == 0, "\(result.error)")
  #expect(folder.list() == ["Modelfile", "out.gguf"])
  let bytes = try PositionalFile.readAll(modelfile, limit: 1 << 16)
  let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
  #expect(lines.contains("FROM ./out.gguf"))
  #expect(
    lines.contains { $0.hasPrefix("TEMPLATE \"\"\"{{- range .Messages }}<|start_header_id|>") })
  #expect(lines.contains("PARAMETER stop \"<|eot_id|>\""))
  #expect(lines.contains("PARAMETER stop \"<|end_of_text|>\""))
  // A Modelfile elsewhere names the archive from the root.
  folder.write("deploy/keep", "")
  let elsewhere = folder.file("deploy/Modelfile")
  #expect(Command.ingot("convert", llama3, "-o", out, "--modelfile", elsewhere).status == 0)
  let text = String(decoding: try PositionalFile.readAll(elsewhere, limit: 1 << 16), as: UTF8.self)
  #expect(
    text.split(separator: "\n").contains { $0.hasPrefix("FROM /") && $0.hasSuffix("/out.gguf") })
  #expect(
    Command.ingot("convert", llama3, "-o", out, "--modelfile", modelfile, "--split-max-size", "1M")
      .status == 64)
}

@Test func leftoversOfKilledRunsAreRemoved() throws {
  let folder = TemporaryFolder()
  folder.write(".out.gguf.ingot-abc.partial", "left by a killed run")
  folder.write(".other.gguf.ingot-abc.partial", "another output's")
  #expect(Command.ingot("convert", llama3, "-o", folder.file("out.gguf")).status == 0)
  #expect(folder.list() == [".other.gguf.ingot-abc.partial", "out.gguf"])
}

@Test func ignoredSignalsStayIgnored() throws {
  let folder = TemporaryFolder()
  let result = Command.run([
    "/bin/sh", "-c", "trap '' HUP; \"$0\" \"$@\" & sleep 0.02; kill -HUP $!; wait $!",
    Command.ingot, "convert", llama3, "-o", folder.file("out.gguf"), "--threads", "1",
  ])
  #expect(result.status == 0, "\(result.error)")
  #expect(folder.list() == ["out.gguf"])
}

@Test func everyMixThatHelpOffersIsWritten() {
  let help = Command.ingot("convert", "--help").output
  for mix in Converter.mixNames { #expect(!help.ranges(of: mix).isEmpty, "\(mix)") }
  #expect(Converter.mixNames.count == 35)
}

@Test func kernelsAreForcedByTheEnvironment() throws {
  let folder = TemporaryFolder()
  var files: [[UInt8]] = []
  for (index, kernels) in ["", "scalar"].enumerated() {
    let out = folder.file("\(index).gguf")
    let result = Command.run([
      "/usr/bin/env", "INGOT_KERNELS=\(kernels)", Command.ingot, "convert", llama3, "-o", out,
    ])
    #expect(result.status == 0, "\(result.error)")
    files.append(try PositionalFile.readAll(out, limit: 64 << 20))
  }
  #expect(files[0] == files[1])
  // The variable is looked at: a name that no kernels have is refused.
  let refused = Command.run([
    "/usr/bin/env", "INGOT_KERNELS=sse", Command.ingot, "convert", llama3, "-o",
    folder.file("x.gguf"),
  ])
  #expect(refused.status == 64)
  #expect(refused.error.hasPrefix("error: INGOT_KERNELS is 'sse'"), "\(refused.error)")
}
