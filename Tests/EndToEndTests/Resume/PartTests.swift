import ByteIO
import Conversion
import GGUF
import Ingot
import StrictJSON
import TestSupport
import Testing
import Threads

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

private let llama3 = Fixtures.path("models/llama3")

private func ingot(_ arguments: [String]) -> CommandResult {
  Command.run([Command.ingot] + arguments)
}

/// Bytes of every file of a folder by name.
private func contents(_ folder: TemporaryFolder, except others: [String] = []) throws -> [String:
  [UInt8]]
{
  var result: [String: [UInt8]] = [:]
  for name in folder.list() where !others.contains(name) {
    result[name] = try PositionalFile.readAll(folder.file(name), limit: 64 << 20)
  }
  return result
}

private func arguments(_ folder: TemporaryFolder, split: Bool = false) -> [String] {
  ["convert", llama3, "-o", folder.file("out.gguf"), "--progress", "none"]
    + (split ? ["--split-max-size", "1M"] : [])
}

/// However many parts, and with all of them at once, the bytes are those of one machine.
@Test(arguments: [1, 2, 4, 9], [false, true])
func partsEqualTheWhole(_ count: Int, _ isSplit: Bool) throws {
  let reference = TemporaryFolder()
  #expect(ingot(arguments(reference, split: isSplit)).status == 0)
  let folder = TemporaryFolder()
  let failed = Guarded<[String]>([])
  WorkerThreads.run(count: count) { index in
    let result = ingot(arguments(folder, split: isSplit) + ["--part", "\(index + 1)/\(count)"])
    if result.status != 0 { failed.withLock { $0.append(result.error) } }
  }
  #expect(failed.withLock { $0 } == [])
  #expect(!folder.list().contains { !$0.hasPrefix(".") }, "\(folder.list())")
  let finished = ingot(["finish", folder.file("out.gguf"), "--json"])
  #expect(finished.status == 0, "\(finished)")
  #expect(try contents(folder) == contents(reference))
  // Nothing is left to do, and that is no failure.
  let again = ingot(["finish", folder.file("out.gguf")])
  #expect(again.status == 0 && again.output.contains("nothing to finish"), "\(again)")
}

/// What is missing or damaged is named with the command that writes it.
@Test func finishNamesWhatIsMissing() throws {
  let reference = TemporaryFolder()
  #expect(ingot(arguments(reference)).status == 0)
  let folder = TemporaryFolder()
  let out = folder.file("out.gguf")
  func part(_ number: Int) -> [String] { arguments(folder) + ["--part", "\(number)/3"] }
  let nothing = ingot(["finish", out])
  #expect(nothing.status == 66 && nothing.error.contains("--part"), "\(nothing)")

  #expect(ingot(part(3)).status == 0)
  // The second part is killed.
  var converter = try Converter(checkpoint: llama3, output: out, memoryLimit: testMemoryLimit)
  converter.start = .share(try #require(WorkShare("2/3")))
  converter.command = [Command.ingot] + part(2)
  converter.threadCount = 1
  let flag = CancellationFlag()
  let stopped = #expect(throws: ConversionCancelled.self) {
    _ = try converter.run(cancellation: flag) { progress in
      if progress.finishedByteCount > 300_000 { flag.cancel() }
    }
  }
  #expect(stopped?.kept?.text.contains("part 2 of 3") == true)
  let missing = ingot(["finish", out, "--json"])
  #expect(missing.status == 1, "\(missing)")
  let document = try JSONValue(parsing: Array(missing.output.utf8), file: "stdout")
  let parts = try #require(document["parts"]?.array)
  #expect(parts.map { $0["part"]?.int } == [1, 2])
  #expect(parts.map { $0["state"]?.string } == ["notBegun", "stopped"])
  let lines = missing.error.split(separator: "\n")
  #expect(lines.count == 2 && lines[0].hasSuffix("--part 1/3"), "\(missing.error)")

  // The commands that it names complete the set.
  for part in parts {
    let command = try #require(part["command"]?.array).compactMap(\.string)
    let result = Command.run(command)
    #expect(result.status == 0, "\(result)")
  }
  let partial = folder.file(".out.gguf.ingot.partial")
  let descriptor = open(partial, O_RDWR)
  var byte: UInt8 = 0
  _ = pread(descriptor, &byte, 1, 3_000_000)
  byte ^= 1
  _ = pwrite(descriptor, &byte, 1, 3_000_000)
  close(descriptor)
  let damaged = ingot(["finish", out])
  #expect(damaged.status == 1 && damaged.error.contains("part 3 of 3"), "\(damaged)")
  #expect(damaged.error.contains("is damaged"), "\(damaged)")
  // Written, but not as it was: nothing of it is missing.
  let answer = ingot(["finish", out, "--json"])
  let found = try JSONValue(parsing: Array(answer.output.utf8), file: "stdout")["parts"]?.array?
    .first
  #expect(found?["state"]?.string == "damaged" && found?["missingBytes"]?.int == 0, "\(answer)")
  #expect(try #require(found?["damagedBytes"]?.int) > 0, "\(answer)")
  #expect(ingot(part(3)).status == 0)
  #expect(ingot(["finish", out]).status == 0)
  #expect(try contents(folder) == contents(reference))
}

/// Parts of another conversion are refused, and so is what would replace them.
@Test func partsOfDifferentConversionsAreRefused() throws {
  let folder = TemporaryFolder()
  let common = arguments(folder)
  #expect(ingot(common + ["--part", "1/2"]).status == 0)
  let before = try contents(folder)
  let cases: [([String], Int32, String)] = [
    (["--part", "2/2", "--type", "Q5_K_M"], 65, "recipe Q4_K_M"),
    (["--part", "1/2", "--type", "Q5_K_M"], 65, "recipe Q4_K_M"),
    (["--part", "2/3"], 65, "in 2 parts"),
    ([], 73, "in parts"),
    (["--resume"], 73, "in parts"),
    (["--part", "3/2"], 64, "--part takes K/N"),
  ]
  for (options, status, text) in cases {
    let result = ingot(common + options)
    #expect(result.status == status && result.error.contains(text), "\(options): \(result)")
    #expect(try contents(folder) == before, "\(options)")
  }
  // What the other options are, and how all parts get the same.
  let other = ingot(common + ["--part", "2/2", "--type", "Q5_K_M"])
  #expect(other.error.contains("--type was Q4_K_M and is Q5_K_M now"), "\(other)")
  #expect(other.error.contains("'ingot plan … -o recipe.json'"), "\(other)")
  #expect(other.error.contains("give every part --recipe recipe.json"), "\(other)")
  // Nobody completes a set of which a part is missing.
  let whole = ingot(common)
  #expect(whole.error.contains("part 2 of 2 is not done, or still being written: run "), "\(whole)")
  #expect(whole.error.contains("--part 2/2, and when all are done, 'ingot finish "), "\(whole)")
  #expect(!whole.error.contains("completes"), "\(whole)")
  #expect(ingot(common + ["--part", "2/2"]).status == 0)
  let complete = ingot(common)
  #expect(complete.status == 73 && complete.error.contains("all its parts are done"), "\(complete)")
  #expect(ingot(["finish", folder.file("out.gguf"), "--discard"]).status == 0)
  #expect(folder.list().isEmpty)
}

/// Parts that were begun at once on two machines with different options are found by `finish`.
@Test func finishNamesTheOptionThatDiffers() throws {
  let folder = TemporaryFolder()
  let elsewhere = TemporaryFolder()
  let out = folder.file("out.gguf")
  #expect(ingot(arguments(folder) + ["--part", "1/2"]).status == 0)
  let other = arguments(elsewhere) + ["--part", "2/2", "--output-tensor-type", "Q8_0"]
  #expect(ingot(other).status == 0)
  let name = ".out.gguf.ingot.part-2-of-2.journal"
  folder.write(name, try PositionalFile.readAll(elsewhere.file(name), limit: 64 << 20))
  let result = ingot(["finish", out])
  #expect(result.status == 65, "\(result)")
  #expect(result.error.contains("of another conversion than part 1"), "\(result)")
  #expect(result.error.contains("--output-tensor-type Q8_0 was not given"), "\(result)")
  #expect(result.error.contains("'ingot plan … -o recipe.json'"), "\(result)")
}

/// A file that is no archive is not taken for one that is missing.
@Test func finishTellsMissingFromDamagedOutputs() throws {
  let folder = TemporaryFolder()
  let none = ingot(["finish", folder.file("none.gguf")])
  #expect(none.status == 66 && none.error.contains("no such file"), "\(none)")
  let text = ingot(["finish", folder.write("text.gguf", "this is no archive")])
  #expect(text.status == 65 && text.error.contains("not a GGUF file"), "\(text)")
  // A split that lacks a file.
  let split = TemporaryFolder()
  #expect(ingot(arguments(split, split: true)).status == 0)
  let lost = split.file(try #require(split.list().last))
  unlink(lost)
  let incomplete = ingot(["finish", split.file("out.gguf")])
  #expect(incomplete.status == 66 && incomplete.error.contains(lost), "\(incomplete)")
}

/// A finish that was killed between renames is finished by the next one.
@Test func finishGoesOnBetweenRenames() throws {
  let reference = TemporaryFolder()
  #expect(ingot(arguments(reference, split: true)).status == 0)
  let folder = TemporaryFolder()
  for number in 1...2 {
    #expect(ingot(arguments(folder, split: true) + ["--part", "\(number)/2"]).status == 0)
  }
  let name = try #require(reference.list().last)
  #expect(rename(folder.file(".\(name).ingot.partial"), folder.file(name)) == 0)
  let part = ingot(arguments(folder, split: true) + ["--part", "2/2"])
  #expect(part.status == 0, "\(part)")
  #expect(ingot(["finish", folder.file("out.gguf")]).status == 0)
  #expect(try contents(folder) == contents(reference))
}

/// A finish that was killed while it removed journals is finished by the next one.
@Test func finishGoesOnBetweenJournals() throws {
  let folder = TemporaryFolder()
  let out = folder.file("out.gguf")
  for number in 1...3 { #expect(ingot(arguments(folder) + ["--part", "\(number)/3"]).status == 0) }
  let journals = folder.list().filter { $0.hasSuffix(".journal") }
  for name in journals { #expect(link(folder.file(name), folder.file("kept" + name)) == 0) }
  #expect(ingot(["finish", out]).status == 0)
  let whole = try PositionalFile.readAll(out, limit: 64 << 20)
  for count in 1...2 {
    for name in journals.suffix(count) {
      #expect(link(folder.file("kept" + name), folder.file(name)) == 0)
    }
    let again = ingot(["finish", out])
    #expect(again.status == 0, "\(again)")
    #expect(try PositionalFile.readAll(out, limit: 64 << 20) == whole)
    #expect(!folder.list().contains { $0.hasPrefix(".") })
  }
}

/// A part whose input is bad leaves nothing of its own, and the others' work alone.
@Test func badPartLeavesTheOthers() throws {
  let folder = TemporaryFolder()
  folder.makeFolder("model")
  for name in try DirectoryListing.names(in: llama3) {
    var bytes = try Fixtures.bytes("models/llama3/" + name)
    if name.hasPrefix("model-00002") {
      bytes.replaceSubrange((bytes.count - 2)..., with: [0xC0, 0x7F])
    }
    folder.write("model/" + name, bytes)
  }
  let common = ["convert", folder.file("model"), "-o", folder.file("out.gguf")]
  let results = (1...3).map { ingot(common + ["--part", "\($0)/3"]) }
  #expect(results.filter { $0.status == 65 }.count == 1, "\(results)")
  #expect(results.filter { $0.status == 0 }.count == 2, "\(results)")
  #expect(folder.list().filter { $0.hasSuffix(".journal") }.count == 2)
  #expect(folder.list().contains(".out.gguf.ingot.partial"))
}

/// A part that is run again when all is finished is refused, and leaves nothing.
@Test func partsOfAFinishedSetAreRefused() throws {
  let folder = TemporaryFolder()
  let model = try ownModel(in: folder)
  let out = folder.file("out.gguf")
  func part(_ number: Int, _ options: [String] = []) -> CommandResult {
    ingot(
      ["convert", model, "-o", out, "--progress", "none", "--part", "\(number)/2"] + options)
  }
  func finish() -> CommandResult { ingot(["finish", out]) }
  for number in 1...2 { #expect(part(number).status == 0) }
  #expect(finish().status == 0)
  let archive = try PositionalFile.readAll(out, limit: 64 << 20)
  for number in 1...2 {
    let again = part(number)
    #expect(again.status == 73 && again.error.contains("there already, finished"), "\(again)")
    #expect(again.error.contains("remove it first"), "\(again)")
    #expect(folder.list() == ["model", "out.gguf"], "\(folder.list())")
  }
  #expect(finish().status == 0)

  // Other options make another archive, which begins; that the old one is there is said.
  #expect(part(1, ["--type", "Q5_K_M"]).status == 0)
  let missing = finish()
  #expect(missing.status == 1 && missing.error.contains("--part 2/2"), "\(missing)")
  #expect(!missing.error.contains("itself is there"), "\(missing)")
  #expect(ingot(["finish", out, "--discard"]).status == 0)

  #expect(folder.list() == ["model", "out.gguf"])
  #expect(try PositionalFile.readAll(out, limit: 64 << 20) == archive)
}

/// A journal that this version cannot read is another part's all the same.
@Test func partsOfAnotherVersionAreRefused() throws {
  let folder = TemporaryFolder()
  let out = folder.file("out.gguf")
  func part(_ number: Int) -> CommandResult {
    ingot(["convert", llama3, "-o", out, "--progress", "none", "--part", "\(number)/2"])
  }
  #expect(part(1).status == 0)
  let name = try #require(folder.list().first { $0.hasSuffix(".journal") })
  var journal = try PositionalFile.readAll(folder.file(name), limit: 64 << 20)
  journal[8] = 1
  folder.write(name, journal)
  let refused = part(2)
  #expect(refused.status == 65 && refused.error.contains("journal.version"), "\(refused)")
  #expect(refused.error.contains("--discard"), "\(refused)")
  // Of one that is only being begun nothing is known yet.
  folder.write(name, Array(journal[..<20]))
  #expect(part(2).status == 0)
}

/// A copy of the checkpoint.
private func ownModel(in folder: TemporaryFolder) throws -> String {
  folder.makeFolder("model")
  for name in try DirectoryListing.names(in: llama3) {
    folder.write("model/" + name, try Fixtures.bytes("models/llama3/" + name))
  }
  return folder.file("model")
}

/// All bytes are there, but nobody said that the inputs had stayed as they were.
@Test func finishAsksForTheEnd() throws {
  let folder = TemporaryFolder()
  let out = folder.file("out.gguf")
  var converter = try Converter(checkpoint: llama3, output: out, memoryLimit: testMemoryLimit)
  converter.start = .share(try #require(WorkShare("1/1")))
  converter.command = [Command.ingot] + arguments(folder) + ["--part", "1/1"]
  let flag = CancellationFlag()
  let total = converter.plan.tensorByteCount
  #expect(throws: ConversionCancelled.self) {
    _ = try converter.run(cancellation: flag) { progress in
      if progress.finishedByteCount == total { flag.cancel() }
    }
  }
  let result = ingot(["finish", out])
  #expect(result.status == 1 && result.error.contains("did not come to its end"), "\(result)")
  #expect(!folder.list().contains("out.gguf"))
  #expect(Command.run(converter.command).status == 0)
  #expect(ingot(["finish", out]).status == 0)
  #expect(folder.list() == ["out.gguf"])
}

/// While a part is being written, nothing is finished or removed.
@Test func finishWaitsForNobody() throws {
  let folder = TemporaryFolder()
  let out = folder.file("out.gguf")
  for number in 1...2 { #expect(ingot(arguments(folder) + ["--part", "\(number)/2"]).status == 0) }
  let before = try contents(folder)
  for (name, lock, says) in [
    (".out.gguf.ingot.part-2-of-2.journal", LockedFile.Lock.exclusive, "part 2 of 2"),
    (".out.gguf.ingot.partial", .shared, "another process"),
  ] {
    let held = try LockedFile(folder.file(name), creating: false, lock: lock, output: out)
    let result = ingot(["finish", out])
    #expect(result.status == 73 && result.error.contains(says), "\(result)")
    if lock == .exclusive { #expect(ingot(["finish", out, "--discard"]).status == 73) }
    #expect(try contents(folder) == before)
    held?.close()
  }
  #expect(ingot(["finish", out]).status == 0)
}

/// Parts of one name that are to become other files do not go together.
@Test func partsWithOtherOutputsAreRefused() throws {
  let folder = TemporaryFolder()
  let out = folder.file("out.gguf")
  #expect(ingot(arguments(folder) + ["--part", "1/2"]).status == 0)
  let file = try #require(
    try LockedFile(
      folder.file(".out.gguf.ingot.part-1-of-2.journal"), creating: false, lock: .exclusive,
      output: out))
  var (head, _) = try JournalHead.read(file)
  head.outputs[0].path = "renamed.gguf"
  try JournalWriter(file, head: head).close()
  let result = ingot(arguments(folder) + ["--part", "2/2"])
  #expect(result.status == 65 && result.error.contains("other outputs"), "\(result)")
}

/// A manifest comes with the end of the parts, and not before.
@Test(arguments: [false, true]) func finishWritesTheManifest(_ isSplit: Bool) throws {
  let folder = TemporaryFolder()
  let out = folder.file("out.gguf")
  folder.makeFolder("m")
  let early = ingot(
    arguments(folder) + ["--part", "1/2", "--manifest", folder.file("m/early.json")])
  #expect(early.status == 64 && early.error.contains("'ingot finish'"), "\(early)")
  for number in 1...2 {
    #expect(ingot(arguments(folder, split: isSplit) + ["--part", "\(number)/2"]).status == 0)
  }
  let before = try contents(folder, except: ["m"])
  let names = isSplit ? (1...4).map { "out-0000\($0)-of-00004.gguf" } : ["out.gguf"]
  for (path, status) in [(names[names.count - 1], Int32(64)), ("none/m.json", 73)] {
    let refused = ingot(["finish", out, "--manifest", folder.file(path)])
    #expect(refused.status == status, "\(refused)")
    #expect(try contents(folder, except: ["m"]) == before)
  }
  let made = ingot(["finish", out, "--manifest", folder.file("m/first.json")])
  #expect(made.status == 0, "\(made)")
  #expect(made.output.contains("wrote its manifest \(folder.file("m/first.json"))"), "\(made)")
  #expect(folder.list() == ["m"] + names)
  // Run again, it is made again, and that is said.
  let again = ingot(["finish", out, "--manifest", folder.file("m/again.json")])
  #expect(again.status == 0 && again.output.contains("wrote its manifest"), "\(again)")
  let document = ingot(["finish", out, "--manifest", folder.file("m/again.json"), "--json"])
  #expect(
    try JSONValue(parsing: Array(document.output.utf8), file: "stdout")["manifest"]?.string
      == folder.file("m/again.json"))
  #expect(!ingot(["finish", out]).output.contains("manifest"))
  let first = try PositionalFile.readAll(folder.file("m/first.json"), limit: 1 << 20)
  #expect(try PositionalFile.readAll(folder.file("m/again.json"), limit: 1 << 20) == first)
  #expect(Array(ingot(["manifest", folder.file(names[0])]).output.utf8) == first)
  #expect(ingot(["finish", out, "--discard", "--manifest", folder.file("m/no.json")]).status == 64)
  // What is written over a part of the archive would be its end.
  for name in names {
    let refused = ingot(["manifest", folder.file(names[0]), "-o", folder.file(name)])
    #expect(refused.status == 64 && refused.error.contains("also the archive"), "\(refused)")
  }
  #expect(folder.list("m").sorted() == ["again.json", "first.json"])
}
