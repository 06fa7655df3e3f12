import ByteIO
import Packing
import TestSupport
import Testing
import Threads

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Names and bytes of all files below a folder; folders end with a slash.
private func contents(_ folder: String, _ prefix: String = "") throws -> [String: [UInt8]] {
  var result: [String: [UInt8]] = [:]
  for name in try DirectoryListing.names(in: folder) {
    let path = DirectoryListing.join(folder, name)
    var status = stat()
    stat(path, &status)
    if status.st_mode & S_IFMT == S_IFDIR {
      result[prefix + name + "/"] = []
      try result.merge(contents(path, prefix + name + "/")) { a, _ in a }
    } else {
      let file = try PositionalFile(plain: path)
      result[prefix + name] = try file.read(at: 0, count: Int(file.byteCount))
    }
  }
  return result
}

/// What is damaged is said with the file whose content it is.
@Test func damagedFramesNameTheirFile() throws {
  let folder = TemporaryFolder()
  let input = folder.makeFolder("in")
  var generator = SplitMix64(seed: 1)
  for name in ["a.bin", "b.bin", "c.bin"] {
    folder.write(
      "in/" + name, (0..<300_000).map { _ in UInt8.random(in: 0...255, using: &generator) })
  }
  let packed = folder.file("in.ingot")
  _ = try pack(input, to: packed)
  var bytes = try PositionalFile(plain: packed).read(
    at: 0, count: Int(PositionalFile(plain: packed).byteCount))
  // Of what cannot be made smaller every byte is content.
  bytes[450_000] ^= 1
  folder.write("damaged.ingot", bytes)
  let damaged = folder.file("damaged.ingot")
  let content = #expect(throws: FormatError.self) {
    _ = try PositionalFile.readAll(damaged + "/b.bin", limit: 1 << 20)
  }
  let all = #expect(throws: FormatError.self) { _ = try unpack(damaged, to: nil) }
  for error in [content, all] {
    #expect(error?.file == damaged && error?.fileOffset != nil)
    #expect(error?.field.hasSuffix(" of damaged.ingot/b.bin") == true, "\(error?.field ?? "")")
  }
  #expect(throws: Never.self) { _ = try PositionalFile.readAll(damaged + "/a.bin", limit: 1 << 20) }
}

@Test func foldersAreRestoredWithNamesAndBytes() throws {
  let folder = TemporaryFolder()
  let input = folder.makeFolder("in")
  folder.write("in/config.json", "{}")
  folder.write("in/empty", "")
  folder.write("in/deep/er/é.txt", "text")
  folder.write("in/deep/e\u{301}.txt", "other text")
  folder.makeFolder("in/nothing/in/here")
  folder.write("blob", [UInt8](repeating: 5, count: 600_000))
  folder.link("in/linked.bin", to: "../blob")
  folder.makeFolder("elsewhere")
  folder.write("elsewhere/x", "x")
  folder.link("in/folder", to: "../elsewhere")
  // A packed file inside stays packed.
  _ = try pack(folder.file("blob"), to: folder.file("in/blob.ingot"))
  let packed = folder.file("in.ingot")
  let summary = try pack(input, to: packed)
  #expect(summary.fileCount == 7)
  let report = try #require(try PackingReport(packed))
  #expect(report.fileCount == 7 && report.frameCount == summary.frameCount)
  _ = try unpack(packed, to: folder.file("out"))
  #expect(try contents(folder.file("out")) == contents(input))
  #expect(folder.list().filter { $0.hasPrefix(".") }.isEmpty)
  // An empty folder is filled, no other.
  folder.makeFolder("out2")
  _ = try unpack(packed, to: folder.file("out2/"))
  #expect(try contents(folder.file("out2")) == contents(input))
  #expect(throws: OutputError.self) { try unpack(packed, to: folder.file("out2")) }
  #expect(throws: OutputError.self) { try unpack(packed, to: folder.file("blob")) }
  // Packed again with other settings, straight from the packed folder.
  _ = try pack(packed, to: folder.file("again.ingot")) { $0.codec = .lz4 }
  _ = try unpack(folder.file("again.ingot"), to: folder.file("out3"))
  #expect(try contents(folder.file("out3")) == contents(input))
}

@Test func whatCannotBePackedIsRefused() throws {
  let folder = TemporaryFolder()
  folder.write("loop/a/file", "x")
  folder.link("loop/a/back", to: "..")
  folder.write("dangling/file", "x")
  folder.link("dangling/link", to: "nowhere")
  folder.write("pipe/file", "x")
  mkfifo(folder.file("pipe/fifo"), 0o600)
  folder.write("bytes/file", "x")
  let name: [CChar] = Array((folder.file("bytes") + "/").utf8CString.dropLast()) + [-1, 0]
  close(open(name, O_CREAT | O_WRONLY, 0o600))
  for input in ["loop", "dangling", "pipe", "bytes"] {
    #expect(throws: FormatError.self, "\(input)") {
      try pack(folder.file(input), to: folder.file("out"))
    }
  }
  #expect(throws: FormatError.self) { try pack(folder.file("none"), to: folder.file("out")) }
  folder.write("good/file", "x")
  // The output would be part of the input, or replace it.
  for output in ["good/out", "good/deep/../out"] {
    folder.makeFolder("good/deep")
    #expect(throws: PackingRefusal.self) { try pack(folder.file("good"), to: folder.file(output)) }
  }
  #expect(throws: PackingRefusal.self) {
    try pack(folder.file("good/file"), to: folder.file("good/file"))
  }
  #expect(throws: PackingRefusal.self) {
    try pack(folder.file("good"), to: folder.file("out")) { $0.format = .seekableZstd }
  }
  for level in [0, -1, 23] {
    #expect(throws: PackingRefusal.self) {
      try pack(folder.file("good"), to: folder.file("out")) { $0.level = level }
    }
  }
  #expect(!folder.list().contains("out"))
}

@Test func filesThatChangeWhileTheyArePackedAreNoticed() throws {
  let folder = TemporaryFolder()
  folder.write("in/a", [UInt8](repeating: 1, count: 100_000))
  folder.write("in/b", [UInt8](repeating: 2, count: 100_000))
  for (number, change) in [
    { folder.write("in/b", [UInt8](repeating: 3, count: 100_001)) },
    { folder.write("in/a", [UInt8](repeating: 3, count: 10)) },
    {
      folder.file("in/b").withCString { _ = unlink($0) }; return ""
    },
  ].enumerated() as EnumeratedSequence<[() -> String]> {
    let packer = try Packer(
      folder.file("in"), output: folder.file("out"), options: PackingOptions(), threadCount: 2,
      memoryLimit: testMemoryLimit)
    _ = change()
    #expect(throws: FormatError.self, "change \(number)") { try packer.run() }
    #expect(folder.list() == ["in"])
  }
}

@Test func cancelledRunsLeaveNothing() throws {
  let folder = TemporaryFolder()
  folder.write("in/a", [UInt8](repeating: 1, count: 3_000_000))
  _ = try pack(folder.file("in"), to: folder.file("packed"))
  let cancellation = CancellationFlag()
  #expect(throws: PackingCancelled.self) {
    try Packer(
      folder.file("in"), output: folder.file("out"), options: PackingOptions(), threadCount: 2,
      memoryLimit: testMemoryLimit
    ).run(cancellation: cancellation) { _ in cancellation.cancel() }
  }
  #expect(throws: PackingCancelled.self) {
    try Unpacker(folder.file("packed"), threadCount: 2, memoryLimit: testMemoryLimit).run(
      to: folder.file("out"), cancellation: cancellation)
  }
  #expect(folder.list() == ["in", "packed"])
}

@Test func damagedArchivesUnpackToNothing() throws {
  let folder = TemporaryFolder()
  var generator = SplitMix64(seed: 3)
  folder.write("in/model.safetensors", manyTypes(&generator))
  folder.write("in/config.json", "{}")
  _ = try pack(folder.file("in"), to: folder.file("packed"))
  let file = try PositionalFile(plain: folder.file("packed"))
  var bytes = try file.read(at: 0, count: Int(file.byteCount))
  bytes[bytes.count / 2] ^= 1
  let damaged = folder.write("damaged", bytes)
  #expect(throws: FormatError.self) { try unpack(damaged, to: nil) }
  #expect(throws: FormatError.self) { try unpack(damaged, to: folder.file("out")) }
  #expect(folder.list() == ["damaged", "in", "packed"])
}

@Test func foldersOfKilledRunsAreRemoved() throws {
  let folder = TemporaryFolder()
  folder.write("in/a", "text")
  _ = try pack(folder.file("in"), to: folder.file("packed"))
  // Whoever makes one holds a lock on it, and as long as that lasts only.
  folder.write(".out.ingot-x.partial/deep/file", "rest")
  folder.write("kept", "text")
  folder.link(".out.ingot-x.partial/link", to: folder.path)
  let living = ".out.ingot-y.partial"
  folder.write(living + "/file", "not mine")
  let lock = open(folder.file(living), O_RDONLY)
  #expect(flock(lock, LOCK_SH | LOCK_NB) == 0)
  defer { close(lock) }
  _ = try unpack(folder.file("packed"), to: folder.file("out"))
  #expect(folder.list() == [living, "in", "kept", "out", "packed"].sorted())
}
