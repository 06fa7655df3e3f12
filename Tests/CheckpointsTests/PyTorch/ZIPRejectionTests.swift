import ByteIO
import Checkpoints
import TestSupport
import Testing

private func open(_ bytes: [UInt8]) throws -> PyTorchFile {
  let folder = TemporaryFolder()
  return try PyTorchFile(folder.write("model.pt", bytes))
}

private func failure(_ bytes: [UInt8]) throws -> FormatError? {
  do {
    _ = try open(bytes)
    return nil
  } catch let error as FormatError {
    return error
  }
}

/// An archive in which something is wrong, and what the error has to say.
private struct BadArchive: Sendable, CustomTestStringConvertible {
  var name: String
  var says: String
  var bytes: [UInt8]
  var testDescription: String { name }

  init(_ name: String, says: String, _ change: (inout ZIPBytes) -> Void) {
    self.name = name
    self.says = says
    bytes = ZIPBytes.torch(.plain(), change).bytes
  }
}

private let archives: [BadArchive] = [
  BadArchive("name twice", says: "duplicate entry archive/data.pkl") {
    $0.entries.append($0.entries[0])
  },
  BadArchive("one entry listed twice", says: "duplicate entry archive/data.pkl") {
    $0.directoryOrder = [0, 0, 1, 2, 3]
  },
  BadArchive("two data.pkl", says: "duplicate data.pkl") {
    $0.entries.append(.init("other/data.pkl", $0.entries[0].data))
  },
  BadArchive("two names of one record", says: "overlaps") {
    $0.entries.append(.init("archive/data/1", floats(6)))
    $0.directoryOrder = [0, 1, 2, 3, 4]
    $0.entries[4].headerOffset = 0
  },
  BadArchive("other local name", says: "differ in the name") {
    $0.entries[0].localName = "archive/data.txt"
  },
  BadArchive("local name with an end inside", says: "differ in the name") {
    $0.entries[0].localName = "archive/data\0pkl"
  },
  BadArchive("other local flags", says: "differ in the flags") { $0.entries[0].localFlags = 0 },
  BadArchive("other local method", says: "differ in the method") { $0.entries[2].localMethod = 8 },
  BadArchive("other local size", says: "differ in the size") { $0.entries[2].localByteCount = 20 },
  BadArchive("local size of nothing", says: "differ in the size") {
    $0.entries[2].localByteCount = 0
  },
  BadArchive("other local checksum", says: "differ in the checksum") {
    $0.entries[2].localCRC = 1
  },
  BadArchive("no local header", says: "no local header") { $0.entries[1].localSignature = 0 },
  BadArchive("encrypted", says: "an encrypted entry") { $0.entries[0].flags = 0x0801 },
  BadArchive("encrypted record", says: "an encrypted entry") { $0.entries[2].flags = 1 },
  BadArchive("masked directory", says: "flags 0x2000") { $0.entries[0].flags = 0x2000 },
  BadArchive("patched data", says: "flags 0x20") { $0.entries[0].flags = 0x20 },
  BadArchive("deflated", says: "compression method 8") { $0.entries[2].method = 8 },
  BadArchive("zstd", says: "compression method 93") { $0.entries[0].method = 93 },
  BadArchive("hole", says: "leaves a hole") { $0.entries[1].gap = [1, 2, 3] },
  BadArchive("bytes before", says: "") { $0.entries[0].gap = Array("#!/bin/sh\n".utf8) },
  BadArchive("hole before the directory", says: "the entries before it end at") {
    $0.entries[3].descriptor = [0]
  },
  BadArchive("bytes behind", says: "was appended") { $0.trailing = [0] },
  BadArchive("end record in the comment", says: "duplicate end record") {
    $0.comment =
      littleEndian(UInt32(0x0605_4B50)) + [UInt8](repeating: 0, count: 16)
      + littleEndian(UInt16(2)) + [7, 7]
  },
  BadArchive("fewer entries than there are", says: "are left behind") { $0.entryCount = 3 },
  BadArchive("more entries than there are", says: "allowed at most") { $0.entryCount = 60_000 },
  BadArchive("one entry too many", says: "needs") { $0.entryCount = 5 },
  BadArchive("directory elsewhere", says: "does not end at") { $0.directoryOffset = 10 },
  BadArchive("directory beyond the file", says: "does not end at") { $0.directoryOffset = .max },
  BadArchive("directory of another length", says: "does not end at") {
    $0.directoryByteCount = 46
  },
  BadArchive("record beyond the file", says: "overlap") {
    $0.entries[2].byteCount = 1 << 30
    $0.entries[2].localByteCount = 1 << 30
  },
  BadArchive("record that swallows the next", says: "overlap") {
    $0.entries[2].byteCount = 80
    $0.entries[2].localByteCount = 80
  },
  BadArchive("header beyond the file", says: "hole") { $0.entries[2].headerOffset = 1 << 31 },
  BadArchive("on another disk", says: "disk 1") { $0.entries[2].disk = 1 },
  BadArchive("name that is no text", says: "UTF-8") { $0.entries[3].name = "" },
  BadArchive("name with NUL", says: "UTF-8") {
    $0.entries[3].name = "archive/a\0b"
  },
  BadArchive("64-bit size that is not there", says: "zip64 field") {
    $0.entries[2].byteCount = .max
  },
  BadArchive("extra field that lies", says: "needs 200 bytes") {
    $0.entries[2].extra = [1, 0, 200, 0, 0]
  },
  BadArchive("two zip64 fields", says: "duplicate zip64") {
    $0.entries[2].extra = [1, 0, 0, 0, 1, 0, 0, 0]
  },
  BadArchive("other descriptor", says: "descriptor") {
    $0.entries[2].flags = 0x0808
    $0.entries[2].descriptor = [UInt8](repeating: 0, count: 16)
  },
  BadArchive("zip64 record that says other counts", says: "two end records differ") {
    $0.hasZip64End = true
    $0.zip64EntryCount = 3
  },
  BadArchive("zip64 record elsewhere", says: "zip64") {
    $0.hasZip64End = true
    $0.zip64Offset = 0
  },
  BadArchive("zip64 record beyond the file", says: "zip64.locator.offset") {
    $0.hasZip64End = true
    $0.zip64Offset = .max
  },
  BadArchive("flipped pickle", says: "checksum") { $0.entries[0].crc = 1 },
  BadArchive("flipped byte order", says: "checksum") { $0.entries[1].crc = 1 },
  BadArchive("big-endian", says: #""big""#) { $0.entries[1].data = Array("big".utf8) },
  BadArchive("unknown byte order", says: "little") {
    $0.entries[1].data = Array("little and big".utf8)
  },
  BadArchive("no data.pkl", says: "missing NAME/data.pkl") {
    $0.entries.removeFirst()
  },
  BadArchive("data.pkl deeper", says: "missing NAME/data.pkl") {
    $0.entries[0].name = "a/b/data.pkl"
  },
  BadArchive("TorchScript", says: "TorchScript") {
    $0.entries.append(.init("archive/constants.pkl", []))
  },
  BadArchive("record missing", says: "missing entry archive/data/0") {
    $0.entries.remove(at: 2)
  },
  BadArchive("record of another name", says: "missing entry archive/data/0") {
    $0.entries[2].name = "archive/data/../data/0"
  },
  BadArchive("record too short", says: "holds 20 bytes") { $0.entries[2].data = floats(5) },
  BadArchive("record too long", says: "holds 28 bytes") { $0.entries[2].data = floats(7) },
  BadArchive("no entries", says: "missing NAME/data.pkl") { $0.entries = [] },
]

@Test(arguments: archives)
private func refusesArchive(_ bad: BadArchive) throws {
  let error = try #require(try failure(bad.bytes))
  #expect("\(error)".contains(bad.says), "\(error)")
}

@Test func refusesAnArchiveThatContainsItself() throws {
  let inner = ZIPBytes.torch().bytes
  // Complete: a reader that looks for the last end record finds the outer archive only.
  let outer = ZIPBytes(entries: [.init("archive/data/0", inner)])
  #expect("\(try #require(try failure(outer.bytes)))".contains("data.pkl"))
  // Two archives one after the other.
  #expect("\(try #require(try failure(inner + inner)))".contains("does not end at"))
}

@Test func refusesAHugePickle() throws {
  let archive = ZIPBytes.torch(
    PickleBytes().then([UInt8](repeating: 0x4E, count: (64 << 20) + 1)))
  #expect("\(try #require(try failure(archive.bytes)))".contains("at most 67108864"))
}

private func expectSame(_ zip: ZIPBytes, _ comment: Comment) throws {
  let file = try open(zip.bytes)
  var bytes = [UInt8](repeating: 0, count: 24)
  try bytes.withUnsafeMutableBytes { try file.read(file.tensors[0], at: 0, into: $0) }
  #expect(bytes == floats(6), comment)
}

@Test func acceptsUnusualArchives() throws {
  func change(_ change: (inout ZIPBytes) -> Void) -> ZIPBytes { .torch(.plain(), change) }
  try expectSame(change { _ in }, "plain")
  try expectSame(change { $0.comment = Array("a comment".utf8) }, "comment")
  try expectSame(
    change { $0.comment = littleEndian(UInt32(0x0605_4B50)) }, "signature in the comment")
  try expectSame(change { $0.hasZip64End = true }, "zip64")
  try expectSame(change { $0.directoryOrder = [3, 2, 1, 0] }, "directory in another order")
  try expectSame(
    change { zip in for index in zip.entries.indices { zip.entries[index].crc = 0 } },
    "no checksums")
  try expectSame(change { $0.entries[2].flags = 0 }, "no UTF-8 flag")
  try expectSame(change { $0.entries[3].comment = "why not" }, "comment of an entry")
  try expectSame(
    change { $0.entries[2].localExtra = [0x46, 0x42, 3, 0, 90, 90, 90] }, "padding")
  try expectSame(
    change { $0.entries[2].localExtra = [0, 0, 0] }, "padding that is no field")
  try expectSame(change { $0.entries.remove(at: 1) }, "no byte order")
  try expectSame(change { $0.entries.append(.init("archive/data/7", [1])) }, "record without use")
  for hasSignature in [true, false] {
    for isWide in [true, false] {
      let zip = change { zip in
        for index in zip.entries.indices {
          let entry = zip.entries[index]
          let count = entry.data.count
          let counts = isWide ? littleEndian(UInt64(count)) : littleEndian(UInt32(count))
          zip.entries[index].flags = 0x0808
          zip.entries[index].localCRC = 0
          zip.entries[index].localByteCount = 0
          zip.entries[index].descriptor =
            (hasSignature ? littleEndian(UInt32(0x0807_4B50)) : [])
            + littleEndian(entry.trueCRC) + counts + counts
        }
      }
      try expectSame(zip, "descriptors")
    }
  }
  let wide = change { zip in
    zip.entries[2].byteCount = .max
    zip.entries[2].localByteCount = .max
    let numbers = littleEndian(UInt64(24)) + littleEndian(UInt64(24))
    zip.entries[2].extra = [1, 0, 16, 0] + numbers
    zip.entries[2].localExtra = [1, 0, 16, 0] + numbers
  }
  try expectSame(wide, "64-bit sizes")
}

// MARK: The legacy form

@Test func readsTheLegacyForm() throws {
  let file = try open(LegacyBytes.file())
  #expect(file.tensors.map(\.name) == ["t"])
  var bytes = [UInt8](repeating: 0, count: 24)
  try bytes.withUnsafeMutableBytes { try file.read(file.tensors[0], at: 0, into: $0) }
  #expect(bytes == floats(6))
}

@Test(arguments: [
  ("magic number", "magic number", PickleBytes().int(7).op(.STOP).bytes),
  (
    "protocol", "protocol",
    LegacyBytes.magic.bytes + PickleBytes().int(1000).op(.STOP).bytes
  ),
  (
    "system info", "system info",
    LegacyBytes.magic.bytes + LegacyBytes.version.bytes
      + LegacyBytes.info(littleEndian: false).bytes
  ),
  (
    "keys that are no list", "storage keys",
    Array(LegacyBytes.file().dropLast(LegacyBytes.keys(["0"]).bytes.count + 32))
      + PickleBytes().int(1).op(.STOP).bytes
  ),
  ("storage without a tensor", "no tensor uses", LegacyBytes.file(keys: ["1"])),
  ("storage missing", "missing storage 0", LegacyBytes.file(keys: [], storages: [])),
  (
    "storage twice", "duplicate storage key",
    LegacyBytes.file(
      keys: ["0", "0"],
      storages: littleEndian(UInt64(6)) + floats(6) + littleEndian(UInt64(6)) + floats(6))
  ),
  (
    "other count", "holds 5 elements",
    LegacyBytes.file(storages: littleEndian(UInt64(5)) + floats(5))
  ),
  (
    "huge count", "holds 18446744073709551615 elements",
    LegacyBytes.file(storages: littleEndian(UInt64.max) + floats(6))
  ),
  (
    "bytes behind", "1 bytes follow",
    LegacyBytes.file(storages: littleEndian(UInt64(6)) + floats(6) + [0])
  ),
  ("cut short", "needs", Array(LegacyBytes.file().dropLast())),
])
func refusesLegacyFile(_ name: String, _ says: String, _ bytes: [UInt8]) throws {
  let error = try #require(try failure(bytes), "\(name)")
  #expect("\(error)".contains(says), "\(error)")
}

@Test func refusesTheTarForm() throws {
  var bytes = [UInt8](repeating: 0, count: 1_024)
  bytes.replaceSubrange(0..<8, with: Array("storages".utf8))
  bytes.replaceSubrange(257..<262, with: Array("ustar".utf8))
  let error = try #require(try failure(bytes))
  #expect("\(error)".contains("tar archive"))
  #expect("\(error)".contains("save it again"))
}

@Test(arguments: ["", "P", "<!DOCTYPE html>", "GGUF\u{3}\0\0\0", "PK\u{5}\u{6}"])
func refusesWhatIsNoPyTorchFile(_ text: String) throws {
  #expect(try failure(Array(text.utf8)) != nil)
}

@Test func recognisesGitPointersInPlaceOfPyTorchFiles() throws {
  let error = try #require(
    try failure(Array("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".utf8)))
  #expect("\(error)".contains("git lfs pull"))
}

/// A checksum of 0 means none only where all of them are 0.
@Test func refusesOneMissingChecksum() throws {
  let pickle = try #require(try failure(ZIPBytes.torch(.plain()) { $0.entries[0].crc = 0 }.bytes))
  #expect("\(pickle)".contains("checksum"), "\(pickle)")
  let folder = TemporaryFolder()
  let file = try PyTorchFile(
    folder.write("model.pt", ZIPBytes.torch(.plain()) { $0.entries[2].crc = 0 }.bytes))
  var bytes = [UInt8](repeating: 0, count: 24)
  try bytes.withUnsafeMutableBytes { try file.read(file.tensors[0], at: 0, into: $0) }
  let record = try #require(throws: FormatError.self) { try file.checkUnchanged() }
  #expect("\(record)".contains("checksum"), "\(record)")
}

// MARK: Every byte

/// A file with descriptors, padding and a zip64 end, as torch writes them.
private func small(_ form: String) throws -> [UInt8] {
  switch form {
  case "legacy": LegacyBytes.file()
  case "torch": try Fixtures.bytes("golden/pytorch/no-crc.pt")
  default:
    ZIPBytes.torch(.plain()) { $0.hasZip64End = true }.bytes
  }
}

@Test(arguments: ["zip", "torch", "legacy"])
func refusesTruncationAtEveryByte(_ form: String) throws {
  let folder = TemporaryFolder()
  let whole = try small(form)
  for count in 0..<whole.count {
    let path = folder.write("model.pt", whole[..<count])
    #expect(throws: FormatError.self, "first \(count) bytes") { try PyTorchFile(path) }
  }
}

/// Whatever single byte changes, the file is read or refused, and every tensor can be read.
@Test(arguments: ["zip", "torch", "legacy"])
func survivesEveryChangedByteOf(_ form: String) throws {
  let folder = TemporaryFolder()
  let whole = try small(form)
  var accepted = 0
  var refused = 0
  for position in whole.indices {
    for replacement in [0, 1, 0x7F, 0x80, 0xFF, whole[position] ^ 1, whole[position] &+ 1]
    where replacement != whole[position] {
      var bytes = whole
      bytes[position] = replacement
      let path = folder.write("model.pt", bytes)
      do {
        let file = try PyTorchFile(path)
        accepted += 1
        for tensor in file.tensors where tensor.byteCount < 1 << 16 {
          var buffer = [UInt8](repeating: 0, count: tensor.byteCount)
          try buffer.withUnsafeMutableBytes { try file.read(tensor, at: 0, into: $0) }
        }
        try file.checkUnchanged()
      } catch let error as FormatError {
        refused += 1
        let text = "\(error)"
        #expect(text.hasPrefix(path), "\(text)")
        #expect(!text.contains("\n") && text.utf8.count < 2_000)
      }
    }
  }
  #expect(accepted > 0 && refused > 0)
}
