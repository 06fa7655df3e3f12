import ByteIO
import Conversion
import GGUF
import Ingot
import StrictJSON
import Synchronization
import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

private let llama3 = Fixtures.path("models/llama3")

/// What is converted, to several outputs in some cases.
private enum Work: CaseIterable {
  case whole, split, experts, projector

  /// The checkpoint, and what has to live as long as it is used.
  func input() throws -> (path: String, owner: RandomCheckpoint?) {
    let model: String
    switch self {
    case .whole, .split: return (llama3, nil)
    case .experts: model = "mixtral"
    case .projector: model = "llama4-16-experts"
    }
    let owner = try RandomCheckpoint(model)
    return (owner.path, owner)
  }

  /// A conversion of `input` to outputs in `folder`.
  func converter(in folder: String, from input: String = llama3) throws -> Converter {
    var recipe = Recipe()
    recipe.type = self == .whole || self == .split ? "Q4_K_M" : "Q8_0"
    if self == .split { recipe.splitByteCount = 1_000_000 }
    if self == .experts { recipe.expertStorage = .split }
    return try Converter(
      checkpoint: input, output: folder + "/out.gguf",
      projector: self == .projector ? ProjectorOutput(path: folder + "/tower.gguf") : nil,
      recipe: recipe, memoryLimit: testMemoryLimit)
  }
}

/// Bytes of every file of a folder by name.
private func contents(_ folder: TemporaryFolder) throws -> [String: [UInt8]] {
  var result: [String: [UInt8]] = [:]
  for name in folder.list() where !DirectoryListing.isFolder(folder.file(name)) {
    result[name] = try PositionalFile.readAll(folder.file(name), limit: 64 << 20)
  }
  return result
}

/// Runs until so many bytes are done.
private func run(_ converter: Converter, until byteCount: UInt64) throws -> ConversionSummary {
  let flag = CancellationFlag()
  return try converter.run(cancellation: flag) { progress in
    if progress.finishedByteCount >= byteCount { flag.cancel() }
  }
}

/// Stopped at any point, as often as one likes, a conversion ends with the same bytes; with other
/// threads and other chunks, too.
@Test(arguments: Work.allCases)
fileprivate func resumedConversionsHaveTheSameBytes(_ work: Work) throws {
  let reference = TemporaryFolder()
  let input = try work.input()
  let whole = try work.converter(in: reference.path, from: input.path)
  #expect(try whole.run().resumedByteCount == 0)
  let expected = try contents(reference)
  let total = whole.plan.tensorByteCount
  let folder = TemporaryFolder()
  for stops in [[1], [50], [99], [20, 40, 60, 80], [5, 5, 5]] {
    var previous: UInt64 = 0
    for (index, stop) in stops.enumerated() {
      var converter = try work.converter(in: folder.path, from: input.path)
      converter.start = .resume
      converter.threadCount = 1 + index % 3
      converter.weightsPerChunk = 4096 << (index % 3)
      let error = #expect(throws: ConversionCancelled.self) {
        _ = try run(converter, until: total / 100 * UInt64(stop))
      }
      let kept = try #require(error?.kept)
      // Not known where it was stopped while it was reading back.
      if let finished = kept.finished {
        #expect(finished.byteCount >= previous)
        previous = finished.byteCount
      }
      #expect(folder.list().allSatisfy { $0.contains(".ingot.") }, "\(folder.list())")
    }
    var converter = try work.converter(in: folder.path, from: input.path)
    converter.start = .resume
    let notes = Guarded<[String]>([])
    let done = try converter.run(note: { text in notes.withLock { $0.append(text) } })
    #expect(done.resumedByteCount == previous)
    #expect(notes.withLock { $0 }.contains { $0.hasPrefix("going on after") })
    #expect(try contents(folder) == expected, "\(stops)")
    for name in folder.list() { unlink(folder.file(name)) }
  }
}

/// Without `--resume`, what was left is replaced; without anything left, `--resume` begins.
@Test func beginsAnewWhenAsked() throws {
  let folder = TemporaryFolder()
  #expect(throws: ConversionCancelled.self) {
    try run(Work.whole.converter(in: folder.path), until: 1_000_000)
  }
  let left = folder.list()
  #expect(left == [".out.gguf.ingot.journal", ".out.gguf.ingot.partial"])
  let again = Command.ingot("convert", llama3, "-o", folder.file("out.gguf"), "--json")
  #expect(again.status == 0 && again.error.contains("--resume would have"), "\(again.error)")
  #expect(again.output.contains("\"resumedBytes\": 0"))
  #expect(folder.list() == ["out.gguf"])
  let resumed = Command.ingot("convert", llama3, "-o", folder.file("out.gguf"), "--resume")
  #expect(resumed.status == 0 && resumed.error.contains("nothing to resume"), "\(resumed.error)")
  #expect(folder.list() == ["out.gguf"])
}

/// Damage and loss of what was left cost time, not bytes.
@Test func damageIsRepaired() throws {
  let reference = TemporaryFolder()
  _ = try Work.split.converter(in: reference.path).run()
  let expected = try contents(reference)
  let first = "." + (try #require(expected.keys.min())) + ".ingot.partial"
  let journal = ".out.gguf.ingot.journal"
  // What of the work is still of use then.
  enum Use { case none, some, all }
  let damages: [(String, Use, (TemporaryFolder) -> Void)] = [
    ("nothing", .all, { _ in }),
    ("a byte of an output", .some, { flip($0.file(first), at: 700_000) }),
    ("a cut output", .some, { truncate($0.file(first), 600_000) }),
    ("a grown output", .all, { truncate($0.file(first), 60_000_000) }),
    ("an empty output", .some, { truncate($0.file(first), 0) }),
    ("no output", .some, { unlink($0.file(first)) }),
    ("no journal", .none, { unlink($0.file(journal)) }),
    ("an empty journal", .none, { truncate($0.file(journal), 0) }),
    ("a cut head", .none, { truncate($0.file(journal), 300) }),
    ("a damaged head", .none, { flip($0.file(journal), at: 100) }),
    ("a damaged record", .some, { flip($0.file(journal), at: recordsEnd($0.file(journal)) - 5) }),
    (
      "a torn record", .some,
      { truncate($0.file(journal), off_t(recordsEnd($0.file(journal)) - 5)) }
    ),
    ("another file's journal", .none, { $0.write(journal, "no journal") }),
  ]
  for (name, use, damage) in damages {
    let folder = TemporaryFolder()
    let stopped = #expect(throws: ConversionCancelled.self) {
      var converter = try Work.split.converter(in: folder.path)
      converter.weightsPerChunk = 8192
      _ = try run(converter, until: 2_500_000)
    }
    let done = try #require(stopped?.kept?.finished?.byteCount)
    #expect(folder.list().contains(first) && folder.list().contains(journal))
    damage(folder)
    var converter = try Work.split.converter(in: folder.path)
    converter.start = .resume
    let resumed = try converter.run().resumedByteCount
    switch use {
    case .none: #expect(resumed == 0, "\(name)")
    case .some: #expect(resumed > 0 && resumed < done, "\(name): \(resumed) of \(done)")
    case .all: #expect(resumed == done, "\(name): \(resumed) of \(done)")
    }
    #expect(try contents(folder) == expected, "\(name)")
  }
}

/// The end of a journal's last whole record.
private func recordsEnd(_ path: String) -> Int {
  let count = Int((try? PositionalFile(path))?.byteCount ?? 0)
  return count / JournalRecord.byteCount * JournalRecord.byteCount
}

private func flip(_ path: String, at offset: Int) {
  let descriptor = open(path, O_RDWR)
  var byte: UInt8 = 0
  _ = pread(descriptor, &byte, 1, off_t(offset))
  byte ^= 0x5A
  _ = pwrite(descriptor, &byte, 1, off_t(offset))
  close(descriptor)
}

/// Killed between the renames of a set, it has no first part, and the rest gets its names later.
@Test(arguments: 0...4)
func killedBetweenRenames(_ renamed: Int) throws {
  let reference = TemporaryFolder()
  _ = try Work.split.converter(in: reference.path).run()
  let expected = try contents(reference)
  let folder = TemporaryFolder()
  let flag = CancellationFlag()
  let converter = try Work.split.converter(in: folder.path)
  // Everything is there when it is stopped.
  let total = converter.plan.tensorByteCount
  let error = #expect(throws: ConversionCancelled.self) {
    _ = try converter.run(cancellation: flag) { progress in
      if progress.finishedByteCount == total { flag.cancel() }
    }
  }
  #expect(error?.kept?.finished?.byteCount == total)
  #expect(expected.count == 4)
  for name in expected.keys.sorted().reversed().prefix(renamed) {
    #expect(rename(folder.file(".\(name).ingot.partial"), folder.file(name)) == 0)
  }
  var again = try Work.split.converter(in: folder.path)
  again.start = .resume
  #expect(try again.run().resumedByteCount == total)
  #expect(try contents(folder) == expected)
}

/// A file of an older conversion that has an output's name is not taken for a part of this one.
@Test func olderFilesAreReplaced() throws {
  let folder = TemporaryFolder()
  var recipe = Recipe()
  recipe.splitByteCount = 1_000_000
  recipe.modelName = "older"
  _ = try Converter(
    checkpoint: Fixtures.path("models/llama3"), output: folder.file("out.gguf"), recipe: recipe,
    memoryLimit: testMemoryLimit
  ).run()
  #expect(throws: ConversionCancelled.self) {
    try run(Work.split.converter(in: folder.path), until: 1_000_000)
  }
  unlink(folder.file(".out-00002-of-00004.gguf.ingot.partial"))
  var converter = try Work.split.converter(in: folder.path)
  converter.start = .resume
  _ = try converter.run()
  let reference = TemporaryFolder()
  _ = try Work.split.converter(in: reference.path).run()
  #expect(try contents(folder) == contents(reference))
}

/// Another input, other options and another date are refused by their name.
@Test func otherConversionsAreRefused() throws {
  let folder = TemporaryFolder()
  let model = folder.file("model")
  mkdir(model, 0o755)
  for name in try DirectoryListing.names(in: llama3) {
    folder.write("model/" + name, try Fixtures.bytes("models/llama3/" + name))
  }
  let out = folder.file("out.gguf")
  let arguments = [Command.ingot, "convert", model, "-o", out, "--progress", "none"]
  #expect(throws: ConversionCancelled.self) {
    _ = try run(
      Converter(checkpoint: model, output: out, memoryLimit: testMemoryLimit), until: 1_000_000)
  }
  let left = try contents(folder).filter { $0.key.hasPrefix(".") }
  let imatrix = Fixtures.path("models/imatrix/llama3.gguf")
  let cases: [([String], String)] = [
    (["--type", "Q3_K_M"], "--type was Q4_K_M and is Q3_K_M now"),
    (["--output-tensor-type", "Q8_0"], "--output-tensor-type Q8_0 was not given"),
    (["--imatrix", imatrix], "--imatrix was not given"),
    (["--model-name", "x"], "--model-name x was not given"),
    (["--allow-nonfinite"], "--allow-nonfinite was not given"),
    (["--no-provenance"], "--no-provenance was not given"),
    (["--type", "Q3_K_M"], "recipe Q4_K_M"),
    (["--output-tensor-type", "Q8_0"], "types "),
    (["--imatrix", imatrix], "importance none"),
    (["--model-name", "x"], "metadata and tokenizer"),
    (["--allow-nonfinite"], "weights that are not finite"),
    (["--part", "1/2"], "without --part"),
  ]
  for (options, text) in cases {
    let result = Command.run(arguments + ["--resume"] + options)
    #expect(result.status == (options[0] == "--part" ? 73 : 65), "\(options): \(result)")
    #expect(result.error.contains(text), "\(options): \(result.error)")
    #expect(try contents(folder).filter { $0.key.hasPrefix(".") } == left, "\(options)")
  }
  // A file beside the weights is named.
  for (name, old, new) in [
    ("config.json", "2048", "1024"),
    ("tokenizer_config.json", "{{- bos_token }}", "{{- bos_token}}"),
  ] {
    let sound = try Fixtures.bytes("models/llama3/" + name)
    let text = String(decoding: sound, as: UTF8.self)
    let changed = text.replacing(old, with: new, maxReplacements: 1)
    #expect(changed != text)
    folder.write("model/" + name, changed)
    let result = Command.run(arguments + ["--resume"])
    #expect(result.status == 65, "\(name): \(result)")
    #expect(result.error.contains(": \(name) was changed: it had"), "\(result.error)")
    folder.write("model/" + name, sound)
  }
  let weights = model + "/model-00002-of-00002.safetensors"
  var times = Array(repeating: timespec(tv_sec: 1_000_000_000, tv_nsec: 0), count: 2)
  utimensat(AT_FDCWD, weights, &times, 0)
  let touched = Command.run(arguments + ["--resume"])
  #expect(touched.status == 65 && touched.error.contains("input was changed"), "\(touched.error)")
  // Trained on: other weights behind the same header, nothing else.
  let byteCount = try PositionalFile(weights).byteCount
  for offset in stride(from: 100_000, to: Int(byteCount), by: 1000) { flip(weights, at: offset) }
  let trained = Command.run(arguments + ["--resume"])
  #expect(trained.status == 65 && trained.error.contains("samples"), "\(trained.error)")
  #expect(try contents(folder).filter { $0.key.hasPrefix(".") } == left)
  // Another version's.
  let journal = folder.file(".out.gguf.ingot.journal")
  let file = try #require(
    try LockedFile(journal, creating: false, lock: .exclusive, output: out))
  var (head, _) = try JournalHead.read(file)
  head.identity.run[0] = "ingot 0.0.9"
  try JournalWriter(file, head: head).close()
  let older = Command.run(arguments + ["--resume"])
  #expect(older.status == 65 && older.error.contains("it had 'ingot 0.0.9'"), "\(older.error)")
  // It says so before, too.
  let plan = Command.run(arguments + ["--dry-run"])
  #expect(plan.status == 0 && plan.error.contains("is unfinished"), "\(plan.error)")
  #expect(Command.ingot("finish", out, "--discard").status == 0)
  #expect(folder.list() == ["model"])
}

/// Whoever begins once more what was finished, and stops, is told that the whole one is still there.
@Test func finishNamesTheOutputThatIsThere() throws {
  let folder = TemporaryFolder()
  let out = folder.file("out.gguf")
  _ = try Work.whole.converter(in: folder.path).run()
  let whole = try PositionalFile.readAll(out, limit: 64 << 20)
  #expect(throws: ConversionCancelled.self) {
    try run(Work.whole.converter(in: folder.path), until: 1_000_000)
  }
  let result = Command.ingot("finish", out)
  #expect(result.status == 1, "\(result)")
  #expect(result.error.contains("\(out) itself is there"), "\(result.error)")
  #expect(Command.ingot("finish", out, "--discard").status == 0)
  #expect(folder.list() == ["out.gguf"])
  #expect(try PositionalFile.readAll(out, limit: 64 << 20) == whole)
}

/// Whoever holds an unfinished output alone keeps every other process from it.
@Test func lockedOutputsAreLeftAlone() throws {
  let folder = TemporaryFolder()
  let out = folder.file("out.gguf")
  let partial = folder.file(".out.gguf.ingot.partial")
  let held = try #require(
    try LockedFile(partial, creating: true, lock: .exclusive, output: out))
  try held.write([1, 2, 3], at: 0)
  for options in [[], ["--resume"], ["--part", "1/2"]] {
    let result = Command.run([Command.ingot, "convert", llama3, "-o", out] + options)
    #expect(result.status == 73 && result.error.contains("another process"), "\(result)")
    #expect(folder.list() == [".out.gguf.ingot.partial"], "\(options)")
    #expect(try PositionalFile.readAll(partial, limit: 10) == [1, 2, 3])
  }
  // Left without a journal, it tells nothing; nothing is left of it in the end.
  held.close()
  let finished = Command.ingot("finish", out)
  #expect(finished.status == 65 && finished.error.contains("--discard"), "\(finished)")
  let discarded = Command.ingot("finish", out, "--discard")
  #expect(discarded.status == 0 && discarded.error.contains("removed"), "\(discarded)")
  #expect(folder.list().isEmpty)
  let again = Command.ingot("finish", out, "--discard")
  #expect(again.status == 0 && again.error.contains("nothing unfinished"), "\(again)")
}

/// Journals that nobody wrote: no file is cut, renamed or removed for them but unfinished outputs.
@Test func madeUpJournalsChangeNothing() throws {
  let folder = TemporaryFolder()
  let out = folder.file("out.gguf")
  folder.makeFolder("other")
  let victims = [
    folder.write("other/victim.gguf", "somebody's"), folder.write("victim.gguf", "somebody's"),
    folder.write("other/.victim.gguf.ingot.partial", "somebody's"),
    folder.write(".out.gguf.ingot.partial", "what was written"),
  ]
  func journal(_ outputs: [(String, UInt64)], share: WorkShare? = nil, records: [JournalRecord])
    throws
  {
    let head = JournalHead(
      identity: JournalHead.Identity(run: ["ingot"], local: []),
      outputs: outputs.map {
        JournalHead.Output(path: $0.0, byteCount: $0.1, share: 0..<$0.1)
      }, share: share, command: ["ingot"])
    var bytes = head.bytes
    for record in records { record.append(to: &bytes, seed: head.seed) }
    folder.write(".out.gguf.ingot.journal", bytes)
  }
  let done = JournalRecord(output: JournalRecord.done, range: 0..<0, hash: 0)
  let sealed = JournalRecord(output: JournalRecord.sealed, range: 0..<0, hash: 0)
  let one = Array("w".utf8).withUnsafeBytes { RangeHash.hash64($0) }
  let cases: [([(String, UInt64)], [JournalRecord], Int32)] = [
    // Shorter than what was written, and nothing of it recorded; or recorded as something else.
    ([("out.gguf", 4)], [done], 1),
    ([("out.gguf", 4)], [done, JournalRecord(output: 0, range: 0..<4, hash: 1)], 1),
    ([("out.gguf", 4)], [done, sealed], 1),
    // Right as far as it goes, without the end of the run.
    ([("out.gguf", 1)], [JournalRecord(output: 0, range: 0..<1, hash: one)], 1),
    ([(folder.file("other/victim.gguf"), 4)], [done, sealed], 65),
    ([("out.gguf", 1), (folder.file("other/victim.gguf"), 4)], [done, sealed], 65),
    ([("out.gguf", 1 << 62), ("b.gguf", 1 << 62)], [done, sealed], 65),
    ([("../other/victim.gguf", 4)], [done, sealed], 65),
    ([("other", 4)], [done, sealed], 73),
  ]
  for (index, (outputs, records, status)) in cases.enumerated() {
    try journal(outputs, records: records)
    let result = Command.ingot("finish", out)
    #expect(result.status == status, "\(index): \(result)")
    for victim in victims {
      let text = String(decoding: try PositionalFile.readAll(victim, limit: 100), as: UTF8.self)
      #expect(text == (victim == victims[3] ? "what was written" : "somebody's"), "\(index)")
    }
  }
  // A journal that was given another part's name is that part's nevertheless.
  unlink(folder.file(".out.gguf.ingot.journal"))
  try journal([("out.gguf", 4)], share: WorkShare(number: 1, of: 2), records: [done])
  #expect(Command.ingot("finish", out).status == 65)
}

/// Two conversions to one output: the second one is refused, the first one is left alone.
@Test func secondConversionIsRefused() throws {
  let folder = TemporaryFolder()
  let out = folder.file("out.gguf")
  let journal = folder.file(".out.gguf.ingot.journal")
  let held = try LockedFile(journal, creating: true, lock: .exclusive, output: out)
  for options in [[], ["--resume"]] {
    let result = Command.run([Command.ingot, "convert", llama3, "-o", out] + options)
    #expect(result.status == 73 && result.error.contains("another process"), "\(result)")
    #expect(folder.list() == [".out.gguf.ingot.journal"])
  }
  #expect(Command.ingot("finish", out).status == 73)
  #expect(Command.ingot("finish", out, "--discard").status == 73)
  held?.close()
  #expect(Command.ingot("convert", llama3, "-o", out).status == 0)
  #expect(folder.list() == ["out.gguf"])
}

/// An input that turns out bad takes what was made from it along.
@Test func badInputLeavesNothing() throws {
  let folder = TemporaryFolder()
  let model = folder.file("model")
  mkdir(model, 0o755)
  for name in try DirectoryListing.names(in: llama3) {
    var bytes = try Fixtures.bytes("models/llama3/" + name)
    // The last weight becomes NaN.
    if name.hasPrefix("model-00002") {
      bytes.replaceSubrange((bytes.count - 2)..., with: [0xC0, 0x7F])
    }
    folder.write("model/" + name, bytes)
  }
  let out = folder.file("out.gguf")
  #expect(throws: ConversionCancelled.self) {
    _ = try run(
      Converter(checkpoint: model, output: out, memoryLimit: testMemoryLimit), until: 1_000)
  }
  #expect(folder.list().count == 3)
  let result = Command.ingot("convert", model, "-o", out, "--resume")
  #expect(result.status == 65 && result.error.contains("nan"), "\(result)")
  #expect(folder.list() == ["model"])
}

/// A full disk keeps what was written; the same command with `--resume` goes on.
@Test func writeErrorKeepsWhatIsDone() throws {
  let folder = TemporaryFolder()
  let out = folder.file("out.gguf")
  #expect(throws: ConversionCancelled.self) {
    try run(Work.whole.converter(in: folder.path), until: 1_000_000)
  }
  // A folder in the output's place stands against the rename, and is seen when that comes.
  let flag = Atomic(false)
  var converter = try Work.whole.converter(in: folder.path)
  converter.start = .resume
  let error = #expect(throws: OutputError.self) {
    _ = try converter.run { _ in
      if flag.exchange(true, ordering: .relaxed) == false { mkdir(out, 0o755) }
    }
  }
  #expect(error?.step == .rename && error?.advice?.contains("--resume") == true, "\(error as Any)")
  #expect(folder.list().count == 3)
  rmdir(out)
  #expect(try converter.run().resumedByteCount == converter.plan.tensorByteCount)
  #expect(folder.list() == ["out.gguf"])
}
