import ByteIO
import Packing
import TestSupport
import Testing

/// The archive that formats/packed-archive.md shows byte for byte.
private func exampleArchive() -> (archive: ArchiveBytes, content: [UInt8]) {
  // 1.0, −2.0, 0.5, 3.0 in BF16.
  let content: [UInt8] = [0x80, 0x3F, 0x00, 0xC0, 0x00, 0x3F, 0x40, 0x40]
  var archive = ArchiveBytes(file: content, name: "w.bin")
  archive.typeNames = ["BF16"]
  archive.entries[0].regions[0].layout = 0x12
  archive.entries[0].regions[0].type = 1
  archive.entries[0].regions[0].frameByteCount = 262_144
  archive.frames = [
    ArchiveBytes.stored([[0x00, 0x01, 0x00, 0x80], [0x7F, 0x80, 0x7E, 0x80]], content: content)
  ]
  return (archive, content)
}

@Test func exampleOfTheFormatPageIsRead() throws {
  let page = try PositionalFile.readAll(
    Fixtures.root + "/formats/packed-archive.md", limit: 1 << 20)
  let rows = try MarkdownTable(
    page: "packed-archive.md", columns: ["offset", "bytes in hexadecimal"], after: "## Example"
  ).rows
  #expect(!page.isEmpty)
  var bytes: [UInt8] = []
  for row in rows {
    let offset = try #require(Int(row["offset"] ?? ""))
    // Zeros are left out.
    bytes += [UInt8](repeating: 0, count: offset - bytes.count)
    let text = try #require(row["bytes in hexadecimal"]).filter { $0 != "`" }
    bytes += try text.split(separator: " ").map { try #require(UInt8($0, radix: 16)) }
  }
  let (archive, content) = exampleArchive()
  if bytes != archive.bytes {
    var offset = 0
    var lines = ""
    let expected = archive.bytes
    while offset < expected.count {
      let row = expected[offset..<min(offset + 16, expected.count)]
      if row.contains(where: { $0 != 0 }) {
        lines +=
          "| \(offset) | `"
          + row.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
          + "` |\n"
      }
      offset += 16
    }
    Issue.record("the page should show:\n\(lines)")
  }
  let folder = TemporaryFolder()
  let file = try PositionalFile(folder.write("w.ingot", archive.bytes))
  #expect(file.byteCount == 8)
  #expect(try file.read(at: 0, count: 8) == content)
  #expect(try file.read(at: 3, count: 4) == Array(content[3..<7]))
}

@Test func filesOfPackedFoldersAreReadByPath() throws {
  let folder = TemporaryFolder()
  let path = folder.write(
    "m.ingot",
    ArchiveBytes(folder: [("a.txt", [1, 2, 3]), ("b/c.txt", []), ("b/d/e.txt", [4])]).bytes)
  #expect(try PositionalFile(path + "/a.txt").read(at: 1, count: 2) == [2, 3])
  #expect(try PositionalFile(path + "/b/./d/../d/e.txt").read(at: 0, count: 1) == [4])
  #expect(try PositionalFile(path + "/b/c.txt").byteCount == 0)
  #expect(try DirectoryListing.names(in: path) == ["a.txt", "b"])
  #expect(try DirectoryListing.names(in: path + "/") == ["a.txt", "b"])
  #expect(try DirectoryListing.names(in: path + "/b") == ["c.txt", "d"])
  #expect(DirectoryListing.isFolder(path) && DirectoryListing.isFolder(path + "/b/d"))
  #expect(!DirectoryListing.isFolder(path + "/a.txt"))
  #expect(DirectoryListing.exists(path + "/b/d/e.txt") && !DirectoryListing.exists(path + "/x"))
  for missing in ["/x", "/b/x", "/a.txt/x", "/../x"] {
    #expect(throws: FormatError.self, "\(missing)") { try PositionalFile(path + missing) }
    do { _ = try PositionalFile(path + missing) } catch { #expect(error.reason == .fileNotFound) }
  }
  for place in [path, path + "/b"] {
    #expect(throws: FormatError.self) { try PositionalFile(place) }
  }
  #expect(OutputFile.isSameFile(path, path + "/a.txt"))
  let file = try PositionalFile(path + "/a.txt")
  try file.checkUnchanged()
  folder.write("m.ingot", [UInt8](repeating: 0, count: 10))
  #expect(throws: FormatError.self) { try file.checkUnchanged() }
}

/// Refused with an error that names a field, and the archive that is not changed is accepted.
private func expectRefusal(
  _ field: String, _ base: ArchiveBytes = ArchiveBytes(file: Array("some content".utf8)),
  sourceLocation: SourceLocation = #_sourceLocation, _ change: (inout ArchiveBytes) -> Void
) throws {
  let folder = TemporaryFolder()
  try readAll(folder.write("sound", base.bytes))
  var archive = base
  change(&archive)
  let path = folder.write("hostile", archive.bytes)
  do {
    try readAll(path)
    Issue.record("accepted", sourceLocation: sourceLocation)
  } catch {
    #expect(error.field.contains(field), "\(error)", sourceLocation: sourceLocation)
    #expect(error.file == path, sourceLocation: sourceLocation)
  }
}

/// Reads everything in a packed file or folder.
@discardableResult
private func readAll(_ path: String) throws(FormatError) -> [UInt8] {
  if let packed = try PackedPath(path) {
    var all: [UInt8] = []
    for entry in packed.archive.directory.entries where entry.kind == .file {
      all += try PositionalFile.readAll(path + "/" + entry.name.string, limit: 1 << 24)
    }
    return all
  }
  return try PositionalFile.readAll(path, limit: 1 << 24)
}

@Test func lyingHeadersAndTrailersAreRefused() throws {
  try expectRefusal("header.version") { $0.version = 2 }
  try expectRefusal("header.flags") { $0.flags = 1 }
  try expectRefusal("directory.frame count") { $0.frameCount = 2 }
  try expectRefusal("trailer.frame table") { $0.frameCount = .max }
  try expectRefusal("trailer.frame table") { $0.frameCount = .max / 16 }
  try expectRefusal("trailer.frame table") { $0.frameTableOffset = 0 }
  try expectRefusal("trailer.frame table") { $0.frameTableOffset = .max }
  try expectRefusal("trailer.directory") { $0.directoryByteCount = .max }
  try expectRefusal("trailer.directory") { $0.directoryByteCount = 1 }
  try expectRefusal("trailer.directory") { $0.afterDirectory = [0] }
  try expectRefusal("directory.checksum") { $0.corruptsDirectoryChecksum = true }
  try expectRefusal("directory.content byte count") { $0.contentByteCount = 11 }
}

@Test func lyingDirectoriesAreRefused() throws {
  try expectRefusal("kind") { $0.kind = 2 }
  try expectRefusal("entry[0].kind") { $0.entries[0].kind = 2 }
  try expectRefusal("entry count") { $0.entryCount = .max }
  try expectRefusal("directory.end") { $0.entryCount = 0 }
  try expectRefusal("entry[0].byte count") { $0.entries[0].regions = [] }
  try expectRefusal("byte count") { $0.entries[0].byteCount = .max }
  try expectRefusal("byte count") { $0.entries[0].byteCount = 13 }
  try expectRefusal("region[0].byte count") { $0.entries[0].regions[0].byteCount = 0 }
  try expectRefusal("region[0].byte count") { $0.entries[0].regions[0].byteCount = .max }
  try expectRefusal("frame byte count") { $0.entries[0].regions[0].frameByteCount = 0 }
  try expectRefusal("frame byte count") { $0.entries[0].regions[0].frameByteCount = 1 << 21 }
  try expectRefusal("frame byte count") {
    $0.entries[0].regions[0].layout = 4
    $0.entries[0].regions[0].frameByteCount = 1022
  }
  try expectRefusal("frame count") { $0.entries[0].regions[0].frameByteCount = 1 }
  try expectRefusal("layout") { $0.entries[0].regions[0].layout = 3 }
  try expectRefusal("layout") { $0.entries[0].regions[0].layout = 0 }
  try expectRefusal("region[0].byte count") { $0.entries[0].regions[0].layout = 8 }
  try expectRefusal("type") { $0.entries[0].regions[0].type = 1 }
  try expectRefusal("reserved") { $0.entries[0].regions[0].reserved = 1 }
  try expectRefusal("type name") { $0.typeNames = ["\u{1B}["] }
  try expectRefusal("root name") { $0.rootName = Array("a/b".utf8) }
}

@Test func contentOfImpossibleSizeIsRefused() throws {
  // Frames of one byte each would be more than memory could list.
  try expectRefusal("frame count") {
    $0.entries[0].byteCount = 1 << 62
    $0.entries[0].regions[0].byteCount = 1 << 62
    $0.entries[0].regions[0].frameByteCount = 1
  }
  try expectRefusal(
    "entry[1].byte count", ArchiveBytes(folder: [("a", [1]), ("b", [2])])
  ) {
    for index in 0...1 {
      $0.entries[index].byteCount = 1 << 62
      $0.entries[index].regions[0].byteCount = 1 << 62
    }
  }
}

@Test func namesThatLeaveTheFolderAreRefused() throws {
  let base = ArchiveBytes(folder: [("a", [1]), ("b", [2])])
  let names: [[UInt8]] =
    [
      "../x", "x/../../y", "..", ".", "/etc/x", "x//y", "x/", "", "x\0y",
      String(repeating: "n", count: 256), String(repeating: "d/", count: 64) + "x",
    ].map { Array($0.utf8) } + [[0x62, 0xFF]]
  for name in names { try expectRefusal("entry[1].name", base) { $0.entries[1].name = name } }
  try expectRefusal("entry[1].name", base) { $0.entries[1].name = Array("a".utf8) }
  try expectRefusal("entry[1].name", base) { $0.entries[0].name = Array("c".utf8) }
  // A file that is a folder too, also where another name stands between.
  let files = ArchiveBytes(folder: [("a", [1]), ("a-b", [3]), ("c", [2])])
  try expectRefusal("entry[0].name", files) { $0.entries[2].name = Array("a/b".utf8) }
  try expectRefusal("entry") { $0.entries[0].name = Array("a/b".utf8) }
}

@Test func lyingFrameTablesAreRefused() throws {
  let base = ArchiveBytes(folder: [("a", Array(1...20)), ("b", Array(21...40))])
  try expectRefusal("page[0].checksum", base) { $0.corruptsPageChecksum = true }
  try expectRefusal("page[0].start", base) { $0.firstFrameStart = 0 }
  try expectRefusal("page[0].start", base) { $0.firstFrameStart = 20 }
  // Overlapping, out of order, empty, behind the frames, larger than its content could be.
  try expectRefusal("frame[0].end", base) { $0.frameEnds = [0: 41] }
  try expectRefusal("frame[0].end", base) { $0.frameEnds = [0: 64] }
  try expectRefusal("frame[1].end", base) { $0.frameEnds = [0: 39, 1: 38] }
  try expectRefusal("frame[0].end", base) { $0.frameEnds = [0: 16] }
  try expectRefusal("frame[0].end", base) { $0.frameEnds = [0: .max] }
  try expectRefusal("frame[1].end", base) { $0.frameEnds = [1: 65] }
  try expectRefusal("page[0].end", base) { $0.frameEnds = [1: 63] }
}

@Test func framesOverSeveralPagesAreChecked() throws {
  var archive = ArchiveBytes(file: [])
  let content = (0..<600).map { UInt8(truncatingIfNeeded: $0 &* 7) }
  archive.entries[0].byteCount = 600
  archive.entries[0].regions = [.init(byteCount: 600, frameByteCount: 1)]
  archive.frames = content.map { ArchiveBytes.stored([[$0]], content: [$0]) }
  let folder = TemporaryFolder()
  #expect(try readAll(folder.write("sound", archive.bytes)) == content)
  // The end of the first page and the start of the second disagree.
  for start: UInt64 in [16 + 255 * 5 - 1, 16 + 255 * 5 + 1, 16, .max] {
    try expectRefusal("page[1].start", archive) { $0.pageStarts = [1: start] }
  }
}

/// Pages are compared with the one before, so two of them may lie about a third that nobody reads.
@Test func pagesOutOfOrderAreNoReport() throws {
  let pages = 5
  var archive = ArchiveBytes(file: [])
  let content = [UInt8](repeating: 7, count: pages * 255)
  archive.entries[0].byteCount = UInt64(content.count)
  // The first and last region have a page each; what lies between begins and ends with a page.
  archive.entries[0].regions = [1, pages - 2, 1].map {
    .init(byteCount: UInt64($0 * 255), frameByteCount: 1)
  }
  archive.frames = content.map { ArchiveBytes.stored([[$0]], content: [$0]) }
  let folder = TemporaryFolder()
  let sound = try #require(try PackingReport(folder.write("sound", archive.bytes)))
  #expect(sound.frameCount == content.count && sound.lookedAtFrameCount == content.count)
  #expect(sound.shares.map(\.byteCount) == [UInt64(content.count) * 5])
  // The third page ends where the first began, and the fourth goes on from there.
  archive.frameEnds[3 * 255 - 1] = 16
  for index in 0..<255 { archive.frameEnds[3 * 255 + index] = UInt64(16 + index + 1) }
  do {
    _ = try PackingReport(folder.write("hostile", archive.bytes))
    Issue.record("reported")
  } catch {
    #expect(
      error.field == "frame table" && "\(error)".contains("end before they begin"), "\(error)")
  }
}

/// A million regions take little more memory than their 16 MiB in the file.
@Test func directoriesTakeMemoryInProportion() throws {
  let count = (16 << 20) / 16 - 16
  var archive = ArchiveBytes(file: [])
  archive.entries[0].byteCount = UInt64(count)
  archive.entries[0].regions = Array(
    repeating: .init(byteCount: 1, frameByteCount: 1), count: count)
  // The frames are missing, which is found when all regions have been read.
  let folder = TemporaryFolder()
  let path = folder.write("hostile", archive.bytes)
  #if os(Linux)
    for command in ["inspect", "unpack"] {
      let arguments = command == "unpack" ? [path, "--test"] : [path]
      let result = Command.ingot(addressSpace: 128, [command] + arguments)
      #expect(result.status == 65 && result.error.contains("frame count"), "\(result.error)")
    }
  #endif
}

@Test func lyingFramesAreRefused() throws {
  let base = exampleArchive().archive
  try expectRefusal("frame[0]", base) { $0.frames[0].checksum ^= 1 }
  try expectRefusal("plane[0].codec", base) { $0.frames[0].bytes[3] = 0xC0 }
  try expectRefusal("plane[0].byte count", base) { $0.frames[0].bytes[0] = 3 }
  try expectRefusal("plane[0].byte count", base) { $0.frames[0].bytes[0] = 5 }
  try expectRefusal("plane[0].byte count", base) { $0.frames[0].bytes[3] = 0x40 }
  try expectRefusal("plane[0].byte count", base) { $0.frames[0].bytes[3] = 0x80 }
  // One byte more than planes that are stored may take.
  try expectRefusal("frame[0].end", base) { $0.frames[0].bytes.append(0) }
  try expectRefusal("plane[1].byte count", base) { $0.frames[0].bytes.removeLast() }
  try expectRefusal("planes", base) { $0.frames[0].bytes = [0, 0, 0] }
  // LZ4 and Zstandard that are neither.
  for codec: UInt8 in [0x40, 0x80] {
    try expectRefusal("plane[0]", base) {
      $0.frames[0].bytes = [3, 0, 0, codec, 4, 0, 0, 0, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4]
    }
  }
}

/// Frames of Zstandard made by hand (RFC 8878): one block of one byte repeated.
private enum ZstdBytes {
  static func run(
    of byte: UInt8, count: UInt32, declared: UInt64? = nil, window: UInt8? = nil
  ) -> [UInt8] {
    var bytes: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD]
    let size = declared ?? UInt64(count)
    if let window {
      bytes += [0xC0, window] + littleEndian(size)
    } else {
      bytes += [0xE0] + littleEndian(size)
    }
    let header = 1 | 1 << 1 | count << 3  // last block, of one byte repeated
    return bytes + littleEndian(header).prefix(3) + [byte]
  }
}

@Test func bombsAreRefusedBeforeTheyGrow() throws {
  let content = [UInt8](repeating: 7, count: 50_000)
  func frame(_ plane: [UInt8]) -> ArchiveBytes.Frame {
    .init(
      bytes: littleEndian(UInt32(plane.count) | 1 << 30) + plane,
      checksum: XXH3.hash64(content))
  }
  var base = ArchiveBytes(file: content)
  base.frames = [frame(ZstdBytes.run(of: 7, count: 50_000))]
  // Declares little and holds much, declares much, holds less than is declared, two frames in one.
  try expectRefusal("plane[0]", base) {
    $0.frames = [frame(ZstdBytes.run(of: 7, count: 100_000, declared: 50_000))]
  }
  try expectRefusal("plane[0]", base) {
    $0.frames = [frame(ZstdBytes.run(of: 7, count: 50_000, declared: 1 << 50))]
  }
  try expectRefusal("plane[0]", base) {
    $0.frames = [frame(ZstdBytes.run(of: 7, count: 40_000, declared: 50_000))]
  }
  try expectRefusal("plane[0]", base) {
    $0.frames = [
      frame(ZstdBytes.run(of: 7, count: 50_000) + ZstdBytes.run(of: 7, count: 50_000))
    ]
  }
  // A window of 128 MiB is as far as it goes, though nothing would be allocated for a larger one.
  base.frames = [frame(ZstdBytes.run(of: 7, count: 50_000, window: 17 << 3))]
  try expectRefusal("plane[0]", base) {
    $0.frames = [frame(ZstdBytes.run(of: 7, count: 50_000, window: 17 << 3 | 1))]
  }
  try expectRefusal("plane[0]", base) {
    $0.frames = [frame(ZstdBytes.run(of: 7, count: 50_000, window: 31 << 3))]
  }
}

/// Every truncation and every flipped byte: refused, or the same content; never other content.
@Test func damageNeverChangesContent() throws {
  let folder = TemporaryFolder()
  let content = Array("text and text and text and text, which repeats itself".utf8)
  var archive = ArchiveBytes(folder: [("a.txt", content), ("b.bin", Array(0...99))])
  archive.frames[0] = ArchiveBytes.Frame(
    bytes: littleEndian(UInt32(content.count)) + content, checksum: XXH3.hash64(content))
  let sound = archive.bytes
  let expected = try readAll(folder.write("sound", sound))
  // Of the unused part of the page, which is zero, some bytes stand for all.
  let unused = sound.count - 4_000..<sound.count - 300
  // Without its magic it is some other file.
  for count in 8..<sound.count where !unused.contains(count) || count % 31 == 0 {
    let path = folder.write("short", sound[..<count])
    #expect(throws: FormatError.self, "\(count) bytes") { try readAll(path) }
  }
  var unnoticed = 0
  for index in 8..<sound.count where !unused.contains(index) || index % 31 == 0 {
    var damaged = sound
    damaged[index] ^= 1 << UInt8(index % 8)
    let path = folder.write("damaged", damaged)
    do {
      #expect(try readAll(path) == expected, "byte \(index)")
      unnoticed += 1
    } catch {
      #expect(error.file.hasPrefix(path), "\(error)")
    }
  }
  // All bytes are checked, not only those that are needed.
  #expect(unnoticed == 0)
}
