import ByteIO
import Packing
import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// What a compressor is said to take is what it takes, at every level and for every size.
@Test(arguments: [nil, 1, 3, 4, 7, 9, 12, 13, 16, 19, 22] as [Int?])
func compressorsTakeWhatIsReserved(_ level: Int?) throws {
  let mode: ZstdCompressor.Mode = level.map { .level($0) } ?? .entropyOnly
  var generator = SplitMix64(seed: 4)
  let content = (0..<(2 << 20)).map { _ in UInt8.random(in: 0...31, using: &generator) }
  var target = [UInt8](repeating: 0, count: 3 << 20)
  for limit in [0, 1, 1000, 16 << 10, 100 << 10, 256 << 10, 1 << 20, 2 << 20] {
    let compressor = try ZstdCompressor(mode)
    let reserved = ZstdCompressor.byteCount(mode, contentByteLimit: limit)
    var most = 0
    let sizes = [limit, limit / 2, limit / 8, 256 << 10, 128 << 10, 16 << 10, 1]
    for size in sizes where size <= limit {
      _ = try content.withUnsafeBytes { content in
        try target.withUnsafeMutableBytes { target in
          try compressor.compress(.init(rebasing: content[..<size]), into: target)
        }
      }
      most = max(most, compressor.byteCount)
    }
    #expect(most <= reserved, "\(limit) bytes: \(most), reserved \(reserved)")
    // Nor more than it could be.
    if limit >= 1000 { #expect(reserved <= 2 * most, "\(limit) bytes: \(most)") }
  }
}

@Test func levelsAndThreadsTakeMemory() throws {
  let folder = TemporaryFolder()
  let input = folder.write("input", [UInt8](repeating: 7, count: 1 << 20))
  func byteCount(_ level: Int?, _ format: PackingOptions.Format, _ threads: Int) throws -> Int {
    var options = PackingOptions()
    options.level = level
    options.format = format
    return try Packer(
      input, output: folder.file("out"), options: options, threadCount: 1,
      memoryLimit: testMemoryLimit
    ).byteCount(threads: threads)
  }
  for format in PackingOptions.Format.allCases {
    let usual = try byteCount(nil, format, 1)
    #expect(try byteCount(22, format, 1) > usual)
    // What does not depend on threads is counted once.
    let another = try byteCount(nil, format, 2) - usual
    #expect(try byteCount(nil, format, 64) - usual == 63 * another)
  }
  // Frames of 1 MiB ask for tables that fit them.
  #expect(try byteCount(9, .seekableZstd, 1) > 12 << 20)
  #expect(try byteCount(22, .seekableZstd, 1) > 17 << 20)
}

@Test func largeFilesGetLargeSeekableFrames() throws {
  var options = PackingOptions()
  options.format = .seekableZstd
  let tebibyte: UInt64 = 1 << 40
  for (byteCount, frame) in [
    (0, 1), (1 << 20, 1), (2 * tebibyte, 1), (2 * tebibyte + 1, 2), (4 * tebibyte + 1, 4),
    (32 * tebibyte, 16), (32 * tebibyte + 1, nil), (.max, nil),
  ] as [(UInt64, Int?)] {
    #expect(options.frameByteCount(contentByteCount: byteCount) == frame.map { $0 << 20 })
  }
  options.format = .ingot
  #expect(options.frameByteCount(contentByteCount: .max) == 256 << 10)
  // A sparse file: nothing of it is read before packing begins.
  let folder = TemporaryFolder()
  let input = folder.write("sparse", "")
  guard truncate(input, Int(3 * tebibyte)) == 0 else { return }
  options.format = .seekableZstd
  let packer = try Packer(
    input, output: folder.file("out"), options: options, threadCount: 1,
    memoryLimit: testMemoryLimit)
  #expect(packer.frameCount == 3 << 19)
}

/// Directories are read once while nobody changes the file, and again as soon as somebody did.
@Test func packedFoldersAreHeldWhileTheyStay() throws {
  let folder = TemporaryFolder()
  let path = folder.file("m.ingot")
  func write(_ byte: UInt8) {
    folder.write("m.ingot", ArchiveBytes(folder: [("a", [byte]), ("b", [byte, byte])]).bytes)
  }
  func number() throws -> UInt64 {
    try #require(try PackedPath(path + "/a")).archive.archiveNumber
  }
  // Written just now: the clock of the file system may not have moved between two writes.
  for byte in 0..<50 as Range<UInt8> {
    write(byte)
    #expect(try PositionalFile.readAll(path + "/b", limit: 2) == [byte, byte])
  }
  let times = [
    timespec(tv_sec: 1_000_000_000, tv_nsec: 0), timespec(tv_sec: 1_000_000_000, tv_nsec: 0),
  ]
  #expect(utimensat(AT_FDCWD, path, times, 0) == 0)
  let first = try number()
  for _ in 0..<3 { #expect(try number() == first) }
  #expect(DirectoryListing.exists(path + "/b") && DirectoryListing.isFolder(path))
  #expect(try number() == first)
  write(99)
  #expect(try number() != first)
  #expect(try PositionalFile.readAll(path + "/b", limit: 2) == [99, 99])
}
