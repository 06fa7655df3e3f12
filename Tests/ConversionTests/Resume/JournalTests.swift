import ByteIO
import Conversion
import TestSupport
import Testing
import Threads

private let head = JournalHead(
  identity: JournalHead.Identity(
    run: ["ingot 1", "input a"], local: ["input a changed 1.2"],
    details: ["--type Q4_K_M", "file a b.json 12ab"]),
  outputs: [JournalHead.Output(path: "out.gguf", byteCount: 4096, share: 0..<4096)],
  share: WorkShare(number: 2, of: 4), command: ["ingot", "convert", "a b", "--part", "2/4"])

private let content = (0..<4096).map { UInt8(truncatingIfNeeded: $0 * 7 + $0 / 256) }

private func open(_ path: String) throws -> LockedFile {
  try #require(try LockedFile(path, creating: true, lock: .exclusive, output: path))
}

/// A journal of eight ranges of 512 bytes, with the end of its share if it is done.
private func write(_ path: String, done: Bool = true) throws {
  let writer = try JournalWriter(try open(path), head: head)
  for start in stride(from: 0, to: content.count, by: 512) {
    try content[start..<start + 512].withUnsafeBytes {
      try writer.record($0, output: 0, at: UInt64(start))
    }
  }
  if done { try writer.recordDone() }
  try writer.sync()
}

/// What a journal of these bytes says is there; `nil` where its head is refused.
private func covered(_ journal: [UInt8], of content: [UInt8] = content) throws -> CoveredRanges? {
  let folder = TemporaryFolder()
  folder.write("journal", journal)
  let file = try open(folder.file("journal"))
  let found: (head: JournalHead, recordsOffset: UInt64)
  do {
    found = try JournalHead.read(file)
  } catch is FormatError {
    return nil
  }
  #expect(found.head == head)
  let ranges = try RecordedRanges(
    [RecordedRanges.Source(file: file, head: found.head, recordsOffset: found.recordsOffset)],
    outputs: [
      { offset, buffer in
        guard offset < UInt64(content.count) else { return 0 }
        let part = content[Int(offset)..<min(content.count, Int(offset) + buffer.count)]
        buffer.copyBytes(from: part)
        return part.count
      }
    ], threadCount: 2, cancellation: CancellationFlag())
  return ranges.covered[0]
}

private func journal() throws -> [UInt8] {
  let folder = TemporaryFolder()
  try write(folder.file("journal"))
  return try PositionalFile.readAll(folder.file("journal"), limit: 1 << 16)
}

@Test func journalComesBack() throws {
  let bytes = try journal()
  #expect(bytes.count == head.bytes.count + 9 * JournalRecord.byteCount)
  #expect(try covered(bytes)?.ranges == [0..<4096])
}

/// Cut anywhere, a journal says what its whole records say, or nothing.
@Test func journalCutAnywhere() throws {
  let bytes = try journal()
  for count in bytes.indices {
    let found = try covered(Array(bytes[..<count]))
    guard count >= head.bytes.count else {
      // The head's padding may be missing.
      #expect(found == nil || found?.ranges == [], "\(count)")
      continue
    }
    let records = min(8, (count - head.bytes.count) / JournalRecord.byteCount)
    #expect(
      found?.ranges == (records == 0 ? [] : [0..<UInt64(records * 512)]), "\(count)")
  }
}

/// With any byte changed, a journal never says more than is true.
@Test func journalWithADamagedByte() throws {
  let bytes = try journal()
  for index in bytes.indices {
    var damaged = bytes
    damaged[index] ^= 0x21
    let found = try covered(damaged)
    if index < head.bytes.count {
      #expect(found == nil || found?.ranges == [0..<4096], "\(index)")
      continue
    }
    let record = (index - head.bytes.count) / JournalRecord.byteCount
    if record < 8 {
      let gap = UInt64(record * 512)
      #expect(found?.contains(gap..<gap + 512) == false, "\(index)")
      #expect(found?.byteCount(in: 0..<4096) == 4096 - 512, "\(index)")
    }
  }
}

/// What was damaged, lost or never reached the disk is not taken for written.
@Test func outputIsReadBack() throws {
  let bytes = try journal()
  for index in stride(from: 0, to: content.count, by: 61) {
    var damaged = content
    damaged[index] &+= 1
    let found = try #require(try covered(bytes, of: damaged))
    let gap = UInt64(index / 512 * 512)
    #expect(!found.contains(gap..<gap + 512) && found.byteCount(in: 0..<4096) == 3584)
    let cut = try covered(bytes, of: Array(content[..<index]))
    #expect(cut?.byteCount(in: 0..<4096) == UInt64(index / 512 * 512))
  }
}

/// Records claim what they like.
@Test func hostileRecords() throws {
  let seed = head.seed
  func record(_ output: UInt32, _ range: Range<UInt64>, _ hash: UInt64 = 0, seed: UInt64 = seed)
    -> [UInt8]
  {
    var bytes: [UInt8] = []
    JournalRecord(output: output, range: range, hash: hash).append(to: &bytes, seed: seed)
    return bytes
  }
  let all = content.withUnsafeBytes { RangeHash.hash64($0) }
  let hostile = [
    record(1, 0..<16), record(.max - 1, 0..<16), record(0, (.max - 16)..<(.max)),
    record(0, 0..<(.max)), record(0, 0..<(1 << 40)), record(0, (1 << 62)..<(1 << 62) + 512),
    record(0, 0..<(1 << 20)), record(0, 4000..<8000), record(0, 5..<5),
    // Another conversion's, of the same bytes.
    record(0, 0..<4096, all, seed: seed &+ 1),
    [UInt8](repeating: 0, count: 32), [UInt8](repeating: 0xFF, count: 32),
  ]
  for record in hostile {
    #expect(try covered(head.bytes + record)?.byteCount(in: 0..<4096) == 0)
  }
  // The same record, honestly: it is what counts that is checked above.
  #expect(try covered(head.bytes + record(0, 0..<4096, all))?.ranges == [0..<4096])
}

/// Heads claim what they like.
@Test func hostileHeads() throws {
  func file(_ text: String, count: Int? = nil, version: UInt32 = 2) -> [UInt8] {
    let body = Array(text.utf8)
    var bytes = Array("ingotjnl".utf8)
    withUnsafeBytes(of: version.littleEndian) { bytes += $0 }
    withUnsafeBytes(of: UInt32(count ?? body.count).littleEndian) { bytes += $0 }
    withUnsafeBytes(of: XXH3.hash64(body).littleEndian) { bytes += $0 }
    return bytes + body
  }
  let outputs = #""outputs": [{"path": "a", "bytes": 10, "from": 0, "to": 10}]"#
  let lists = #""run": [], "local": [], "command": []"#
  let half = #"{"path": "a", "bytes": 4611686018427387904, "from": 0, "to": 0}"#
  let many = String(repeating: "\"\",", count: JournalHead.listLimit) + "\"\""
  let texts = [
    "", "{", "{}", "[]", "null", "{\(lists)}", "{\(outputs)}",
    #"{\#(lists), "outputs": []}"#,
    #"{\#(lists), "outputs": [{"path": "", "bytes": 10, "from": 0, "to": 10}]}"#,
    #"{\#(lists), "outputs": [{"path": "a", "bytes": 10, "from": 0, "to": 11}]}"#,
    #"{\#(lists), "outputs": [{"path": "a", "bytes": 10, "from": 8, "to": 2}]}"#,
    #"{\#(lists), "outputs": [{"path": "a", "bytes": -1, "from": 0, "to": 0}]}"#,
    #"{\#(lists), "outputs": [{"path": "a", "bytes": 99999999999999999999, "from": 0, "to": 0}]}"#,
    #"{\#(lists), \#(outputs), "part": 5, "partCount": 4}"#,
    #"{"run": [1], "local": [], "command": [], \#(outputs)}"#,
    #"{\#(lists), "outputs": [{"path": "../a", "bytes": 10, "from": 0, "to": 10}]}"#,
    #"{\#(lists), "outputs": [{"path": "..", "bytes": 10, "from": 0, "to": 10}]}"#,
    #"{\#(lists), "outputs": [{"path": "b/a", "bytes": 10, "from": 0, "to": 10}]}"#,
    #"{\#(lists), "outputs": [{"path": "a", "bytes": 0, "from": 0, "to": 0}]}"#,
    #"{\#(lists), "outputs": [\#(half), \#(half), \#(half)]}"#,
    // Far more than a plan has.
    #"{"run": [\#(many)], "local": [], "command": [], \#(outputs)}"#,
    #"{\#(lists), \#(outputs), "run": []}"#, "{\(lists), \(outputs)} {}",
  ]
  let good = "{\(lists), \(outputs)}"
  let files =
    texts.map { file($0) }
    + [
      file(good, version: 1), file(good, version: 3), file(good, count: 1 << 30),
      file(good, count: good.utf8.count + 1),
      file(good, count: 0), file(good, count: JournalHead.byteLimit + 1),
      Array("GGUF".utf8) + [UInt8](repeating: 0, count: 64),
    ]
  let folder = TemporaryFolder()
  for (index, bytes) in files.enumerated() {
    folder.write("journal", bytes)
    #expect(throws: FormatError.self, "\(index)") {
      _ = try JournalHead.read(try open(folder.file("journal")))
    }
  }
  folder.write("journal", file(good))
  #expect(try JournalHead.read(try open(folder.file("journal"))).head.outputs.count == 1)
}

/// What no reader would take is not begun.
@Test func headsThatCouldNotBeReadAreRefused() throws {
  func head(_ count: Int, nameByteCount: Int = 10) -> JournalHead {
    let name = String(repeating: "n", count: nameByteCount)
    return JournalHead(
      identity: JournalHead.Identity(
        run: Array(repeating: name, count: count), local: []), outputs: [], share: nil, command: [])
  }
  #expect(throws: Never.self) { try head(1000).checkSize("x.gguf") }
  #expect(throws: OutputError.self) { try head(JournalHead.listLimit + 1).checkSize("x.gguf") }
  #expect(throws: OutputError.self) {
    try head(100, nameByteCount: JournalHead.byteLimit / 100).checkSize("x.gguf")
  }
}

/// A folder that cannot be listed is not one without journals.
@Test func journalsAreSeenOrMissed() throws {
  let folder = TemporaryFolder()
  let base = folder.file("out.gguf")
  #expect(try PartialNames.journals(of: base).isEmpty)
  #expect(try PartialNames.journals(of: folder.file("none/out.gguf")).isEmpty)
  folder.write("file", "no folder")
  #expect(throws: FormatError.self) { try PartialNames.journals(of: folder.file("file/out.gguf")) }
  for name in [
    ".out.gguf.ingot.journal", ".out.gguf.ingot.part-2-of-3.journal",
    ".out.gguf.ingot.part-1-of-3.journal",
    // Names that nobody gives.
    ".out.gguf.ingot.part-4-of-3.journal", ".out.gguf.ingot.part-01-of-3.journal",
    ".out.gguf.ingot.part-1-of-3-of-4.journal", ".other.gguf.ingot.journal", "out.gguf",
  ] {
    folder.write(name, "")
  }
  let found = try PartialNames.journals(of: base)
  #expect(found.map { $0.share?.number } == [nil, 1, 2])
}

/// A run that goes on writes behind the last whole record.
@Test func journalGoesOnBehindATornRecord() throws {
  let bytes = try journal()
  let folder = TemporaryFolder()
  let path = folder.write("journal", bytes[..<(head.bytes.count + 3 * 32 + 17)])
  let file = try open(path)
  let writer = try JournalWriter(
    file, head: head, recordsOffset: try JournalHead.read(file).recordsOffset)
  #expect(writer.hasRecords)
  try content[1536..<4096].withUnsafeBytes { try writer.record($0, output: 0, at: 1536) }
  try writer.sync()
  writer.close()
  #expect(try covered(PositionalFile.readAll(path, limit: 1 << 16))?.ranges == [0..<4096])
}

/// What is recorded of large pieces is cut, so that checking takes little memory.
@Test func largeRangesAreCut() throws {
  let folder = TemporaryFolder()
  let large = [UInt8](repeating: 3, count: 2_500_000)
  let writer = try JournalWriter(try open(folder.file("journal")), head: head)
  try large.withUnsafeBytes { try writer.record($0, output: 0, at: 7) }
  try writer.sync()
  let count = try PositionalFile(folder.file("journal")).byteCount
  #expect(count == UInt64(head.bytes.count + 3 * JournalRecord.byteCount))
}

/// Nobody opens what another one has locked, and nobody keeps what was renamed away.
@Test func lockedFilesAreOnesOwn() throws {
  let folder = TemporaryFolder()
  let path = folder.file("file")
  let first = try open(path)
  let refused = #expect(throws: OutputError.self) { _ = try open(path) }
  #expect(refused?.step == .lock)
  first.close()
  let (a, b) = try (
    #require(try LockedFile(path, creating: false, lock: .shared, output: path)),
    #require(try LockedFile(path, creating: false, lock: .shared, output: path))
  )
  #expect(!a.becomeExclusive())
  b.close()
  #expect(a.becomeExclusive())
  try a.rename(to: folder.file("renamed"))
  #expect(try LockedFile(path, creating: false, lock: .exclusive, output: path) == nil)
  folder.link("link", to: folder.file("renamed"))
  #expect(throws: OutputError.self) { _ = try open(folder.file("link")) }
  folder.makeFolder("folder")
  #expect(throws: OutputError.self) { _ = try open(folder.file("folder")) }
}

/// The page draws what the code writes.
@Test func journalPageMatches() throws {
  let rows = try MarkdownTable(
    page: "journal.md", columns: ["offset", "bytes", "field"], after: "## Records"
  ).rows
  #expect(rows.compactMap { $0["offset"].flatMap { Int($0) } } == [0, 4, 8, 16, 24])
  #expect(
    rows.compactMap { $0["bytes"].flatMap { Int($0) } }.reduce(0, +) == JournalRecord.byteCount)
  let prefix = try MarkdownTable(
    page: "journal.md", columns: ["offset", "bytes", "field"], after: "## Head"
  ).rows
  let sizes = prefix.compactMap { $0["bytes"].flatMap { Int($0) } }
  #expect(sizes.reduce(0, +) == JournalHead.prefixByteCount)
  let members = try MarkdownTable(
    page: "journal.md", columns: ["member", "value"], after: "### Members of the head"
  ).rows.compactMap { $0["member"]?.replacing("`", with: "") }
  let text = String(decoding: head.bytes.dropFirst(24), as: UTF8.self)
  for member in members { #expect(!text.ranges(of: "\"\(member)\": ").isEmpty, "\(member)") }
  #expect(members.count == 8)
}

/// A difference that bytes depend on is named with the option and the file that it comes from.
@Test func differencesNameOptionsAndFiles() {
  typealias Identity = JournalHead.Identity
  func difference(_ old: [String], _ new: [String], run: String = "types b") -> String? {
    Identity.difference(
      Identity(run: ["ingot 1", "types a"], local: ["input w changed 1.2"], details: old),
      Identity(run: ["ingot 1", run], local: ["input w changed 3.4"], details: new))
  }
  // Where bytes depend on nothing that differs, neither does the conversion.
  #expect(difference(["--type A"], ["--type B"], run: "types a") == nil)
  let end = ": it had 'types a', this one has 'types b'"
  let cases: [([String], [String], String)] = [
    (["--type A"], ["--type B"], "--type was A and is B now"),
    (["--type A"], ["--type A", "--pure"], "--pure was not given"),
    (["--pure", "--type A"], ["--type A"], "--pure is no longer given"),
    (["--keep a=b", "--keep c=d"], ["--keep c=d"], "--keep was a=b c=d and is c=d now"),
    (["file a b.json 1", "file c 2"], ["file a b.json 3", "file c 2"], "a b.json was changed"),
    (["file a 1", "--type A"], ["--type A"], "a is no longer there"),
    (["--type A"], ["file a 1", "--type A"], "a was not there"),
    (["file --imatrix 1"], ["file --imatrix 2"], "--imatrix has another file"),
  ]
  for (old, new, text) in cases { #expect(difference(old, new) == text + end) }
  // Nothing is known of it.
  #expect(difference(["--type A"], ["--type A"]) == "it had 'types a', this one has 'types b'")
  // An input's date tells of weights, not of types; parts may be of copies with other dates.
  for (run, text) in [
    ("input w of 3 bytes", "input w has another date: "),
    ("weights samples 1", "input w has another date: "),
    ("in 4 parts", ""),
  ] {
    #expect(
      difference(["file README.md 1"], ["file README.md 2"], run: run)
        == text + "it had 'types a', this one has '\(run)'")
  }
  let many = difference(["--x"], (1...6).map { "file \($0) 1" }) ?? ""
  #expect(
    many.hasPrefix("1 was not there, 2 was not there, ") && many.contains(" and 3 more: it had"))
}

/// Whatever is in a name, a shell takes the word for that name and nothing else.
@Test func wordsAreQuotedForAShell() {
  for word in [
    "plain-name_1.gguf", "", "a b", "it's", "x'\u{300}; exit 3 #", "$HOME `x` \\ \"", "é", "-",
  ] {
    let result = Command.run(["/bin/sh", "-c", "printf %s " + shellWord(word)])
    #expect(result.status == 0 && Array(result.output.utf8) == Array(word.utf8), "\(word)")
  }
}
