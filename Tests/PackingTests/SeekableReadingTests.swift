import ByteIO
import Packing
import TestSupport
import Testing

/// A file in the seekable format of Zstandard, made by hand.
private struct SeekableBytes {
  var frames: [(bytes: [UInt8], contentByteCount: UInt32, checksum: UInt32)] = []

  /// An empty frame: one block of no bytes.
  static let empty: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0x20, 0x00, 0x01, 0x00, 0x00]

  /// One block of one byte repeated.
  static func run(of byte: UInt8, count: UInt32) -> [UInt8] {
    let header = 1 | 1 << 1 | count << 3
    return [0x28, 0xB5, 0x2F, 0xFD, 0xA0] + littleEndian(count)
      + littleEndian(header).prefix(3) + [byte]
  }

  static func skippable(_ content: [UInt8], magic: UInt32 = 0x184D_2A53) -> [UInt8] {
    littleEndian(magic) + littleEndian(UInt32(content.count)) + content
  }

  mutating func append(_ bytes: [UInt8], content: [UInt8] = []) {
    let checksum = content.withUnsafeBytes { XXH64Hash.hash($0) }
    frames.append((bytes, UInt32(content.count), UInt32(truncatingIfNeeded: checksum)))
  }

  func bytes(hasChecksums: Bool) -> [UInt8] {
    var entries: [UInt8] = []
    for frame in frames {
      entries += littleEndian(UInt32(frame.bytes.count)) + littleEndian(frame.contentByteCount)
      if hasChecksums { entries += littleEndian(frame.checksum) }
    }
    return frames.flatMap(\.bytes) + littleEndian(SeekableZstd.skippableMagic)
      + littleEndian(UInt32(entries.count + 9)) + entries + littleEndian(UInt32(frames.count))
      + [hasChecksums ? SeekableZstd.checksumFlag : 0] + littleEndian(SeekableZstd.footerMagic)
  }
}

private let content = [UInt8](repeating: 5, count: 300) + [UInt8](repeating: 6, count: 200)

/// Two frames with content between others that have none.
private func sample() -> SeekableBytes {
  var file = SeekableBytes()
  file.append(SeekableBytes.skippable([1, 2, 3, 4, 5]))
  file.append(SeekableBytes.run(of: 5, count: 300), content: Array(content[..<300]))
  file.append(SeekableBytes.empty)
  file.append(SeekableBytes.skippable([]))
  file.append(SeekableBytes.run(of: 6, count: 200), content: Array(content[300...]))
  file.append(SeekableBytes.empty)
  return file
}

@Test(arguments: [true, false]) func framesWithoutContentArePassedOver(_ hasChecksums: Bool) throws
{
  let folder = TemporaryFolder()
  let path = folder.write("x.zst", sample().bytes(hasChecksums: hasChecksums))
  let file = try PositionalFile(path)
  #expect(try file.read(at: 0, count: 500) == content)
  for offset in [0, 1, 299, 300, 301, 499] {
    #expect(try file.read(at: UInt64(offset), count: 1) == [content[offset]])
  }
  _ = try unpack(path, to: folder.file("out"))
  #expect(try PositionalFile.readAll(folder.file("out"), limit: 500) == content)
  let report = try #require(try PackingReport(path))
  #expect(report.frameCount == 6 && report.contentByteCount == 500)
  let zstd = "/usr/bin/zstd"
  guard DirectoryListing.exists(zstd) else { return }
  let result = Command.run([zstd, "-dqf", path, "-o", folder.file("other")])
  #expect(result.status == 0, "\(result.error)")
  #expect(try PositionalFile.readAll(folder.file("other"), limit: 500) == content)
}

/// Stock tools would restore other bytes than those that the table promises.
@Test func framesSaidToBeEmptyAreChecked() throws {
  let folder = TemporaryFolder()
  var longer = SeekableBytes.skippable([1, 2, 3])
  longer[4] = 4
  for (index, bytes) in [
    (2, SeekableBytes.run(of: 5, count: 3)), (2, SeekableBytes.empty + SeekableBytes.empty),
    (2, [1]), (2, SeekableBytes.empty + [UInt8](repeating: 0, count: 70_000)), (3, longer),
    (0, SeekableBytes.skippable([1], magic: 0x184D_2A60)),
  ] {
    var file = sample()
    file.frames[index].bytes = bytes
    let path = folder.write("x.zst", file.bytes(hasChecksums: true))
    // A file that does not begin like Zstandard is no packed file at all.
    #expect(throws: FormatError.self, "\(index): \(bytes)") { try unpack(path, to: nil) }
  }
  // What is larger than any frame, or than one of so few bytes, is refused before it is unpacked.
  for (index, contentByteCount) in [(3, 17 << 20), (1, (3 * 128 << 10) + 1)] {
    var file = sample()
    file.frames[index].contentByteCount = UInt32(contentByteCount)
    #expect(throws: FormatError.self, "\(index)") {
      try PositionalFile(folder.write("y.zst", file.bytes(hasChecksums: false)))
    }
  }
}

/// Places are sums over the entries of the table, of which only some are kept.
@Test func manySeekableFramesAreFound() throws {
  var file = SeekableBytes()
  var expected: [UInt8] = []
  for index in 0..<300 {
    let run = [UInt8](repeating: UInt8(index % 251), count: 1 + index % 7)
    file.append(SeekableBytes.run(of: run[0], count: UInt32(run.count)), content: run)
    expected += run
    if index % 5 == 0 { file.append(SeekableBytes.empty) }
  }
  let folder = TemporaryFolder()
  let path = folder.write("x.zst", file.bytes(hasChecksums: true))
  let packed = try PositionalFile(path)
  #expect(try packed.read(at: 0, count: expected.count) == expected)
  for offset in expected.indices {
    #expect(try packed.read(at: UInt64(offset), count: 1) == [expected[offset]])
  }
  _ = try unpack(path, to: nil)
}
