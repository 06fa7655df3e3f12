import ByteIO
import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

@Test func cursorReadsLittleEndianFieldsAcrossWindows() throws {
  let folder = TemporaryFolder()
  let path = folder.write("a", (0..<64).map { UInt8($0) })
  var cursor = FileCursor(try PositionalFile(path), windowByteCount: 5)
  #expect(try cursor.readInteger("x", as: UInt16.self) == 0x0100)
  #expect(try cursor.readInteger("x", as: UInt32.self) == 0x0504_0302)
  #expect(try cursor.readInteger("x", as: UInt64.self) == 0x0D0C_0B0A_0908_0706)
  #expect(try cursor.readBytes(20, "x") == (14..<34).map { UInt8($0) })
  try cursor.skip(29, "x")
  #expect(cursor.bytesLeft == 1)
  let error = #expect(throws: FormatError.self) { try cursor.readInteger("y", as: UInt16.self) }
  #expect(error?.reason == .truncated(needed: 2, available: 1))
  #expect(error?.fileOffset == 63)
  #expect(error?.field == "y")
}

@Test func hugeCountsAreRefusedBeforeAllocation() throws {
  let folder = TemporaryFolder()
  var cursor = FileCursor(try PositionalFile(folder.write("a", [1, 2, 3])))
  #expect(throws: FormatError.self) { try cursor.readBytes(.max, "x") }
  #expect(throws: FormatError.self) { try cursor.skip(.max, "x") }
  let file = try PositionalFile(folder.file("a"))
  #expect(throws: FormatError.self) { try file.read(at: .max, count: 3) }
  #expect(throws: FormatError.self) { try file.read(at: 0, count: .max) }
}

@Test func onlyRegularFilesAreOpened() throws {
  let folder = TemporaryFolder()
  #expect(mkfifo(folder.file("pipe"), 0o600) == 0)
  for path in [folder.path, folder.file("pipe"), "/dev/zero"] {
    let error = #expect(throws: FormatError.self) { _ = try PositionalFile(path) }
    guard case .unsupported = error?.reason else {
      Issue.record("\(path): \(String(describing: error))")
      continue
    }
  }
  let missing = #expect(throws: FormatError.self) { _ = try PositionalFile(folder.file("none")) }
  #expect(missing?.reason == .fileNotFound)
}

@Test func changesWhileReadingAreNoticed() throws {
  let folder = TemporaryFolder()
  let path = folder.write("a", [UInt8](repeating: 7, count: 100))
  let file = try PositionalFile(path)
  try file.checkUnchanged()
  #expect(truncate(path, 50) == 0)
  #expect(throws: FormatError.self) { try file.checkUnchanged() }
  // Reading past the new end is an error, not a signal.
  #expect(throws: FormatError.self) { try file.read(at: 40, count: 30) }
}

@Test func outputAppearsOnlyWhenCommitted() throws {
  let folder = TemporaryFolder()
  let path = folder.write("out", "old")
  let output = try OutputFile(path)
  try [UInt8]("new!".utf8).withUnsafeBytes { bytes in try output.write(bytes, at: 2) }
  #expect(try PositionalFile.readAll(path, limit: 100) == Array("old".utf8))
  #expect(folder.list().count == 2)
  try output.commit()
  #expect(try PositionalFile.readAll(path, limit: 100) == [0, 0] + Array("new!".utf8))
  #expect(folder.list() == ["out"])
}

@Test func discardedOutputLeavesNothing() throws {
  let folder = TemporaryFolder()
  let path = folder.write("out", "old")
  do {
    let output = try OutputFile(path)
    try output.setByteCount(1000)
    output.discard()
    output.discard()
  }
  do { _ = try OutputFile(path) }
  #expect(try PositionalFile.readAll(path, limit: 100) == Array("old".utf8))
  #expect(folder.list() == ["out"])
}

@Test func outputRefusesFoldersAndMissingPlaces() throws {
  let folder = TemporaryFolder()
  #expect(throws: OutputError.self) { _ = try OutputFile(folder.path) }
  #expect(throws: OutputError.self) { _ = try OutputFile(folder.file("none/out")) }
  #expect(throws: OutputError.self) { _ = try OutputFile("/dev/full") }
}

@Test func exactStringsCompareBytes() {
  #expect("\u{e9}" == "e\u{301}")
  #expect(ExactString("\u{e9}") != ExactString("e\u{301}"))
  #expect(Set([ExactString("\u{e9}"), ExactString("e\u{301}")]).count == 2)
  #expect(ExactString(utf8: [0xFF]) == nil)
  #expect(ExactString("a") < ExactString("b"))
}

@Test func printableTextIsOneHarmlessLine() {
  #expect(printable("a\nb\u{1b}[31m") == "a\\u{a}b\\u{1b}[31m")
  #expect(printable(String(repeating: "x", count: 1000)).count == 401)
}

/// The folder of a run that is not over stays, whatever machine it runs on: its lock tells.
@Test func foldersOfOtherRunsAreLeftAlone() throws {
  let folder = TemporaryFolder()
  let others = ".out.ingot-999999-abc.partial"
  folder.makeFolder(others)
  folder.write(others + "/file", "what it has written")
  let held = open(folder.file(others), O_RDONLY)
  #expect(flock(held, LOCK_SH | LOCK_NB) == 0)
  do {
    let output = try OutputFolder(folder.file("out"))
    #expect(folder.list(others) == ["file"])
    // This one's own is seen by the next run in the same way.
    let second = try OutputFolder(folder.file("out"))
    #expect(DirectoryListing.isFolder(output.temporaryPath))
    withExtendedLifetime((output, second)) {}
  }
  close(held)
  _ = try OutputFolder(folder.file("out"))
  #expect(folder.list().isEmpty, "\(folder.list())")
}

/// Files may have any date, also one that no arithmetic can bear.
@Test func onlyFilesThatAreOldAreSettled() throws {
  let folder = TemporaryFolder()
  var identity = try PositionalFile(folder.write("a", [1])).identity
  #expect(!identity.isSettled)
  for (seconds, isSettled) in [
    (Int64.min, true), (0, true), (identity.modifiedSeconds - 100, true),
    (identity.modifiedSeconds + 100, false), (Int64.max, false),
  ] {
    identity.modifiedSeconds = seconds
    #expect(identity.isSettled == isSettled, "\(seconds)")
  }
}
