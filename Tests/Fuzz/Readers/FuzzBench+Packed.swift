import ByteIO
import Packing
import TestSupport

extension FuzzBench {
  func readPacked(_ bytes: [UInt8]) throws(FormatError) {
    do {
      try readPackedFiles(folder.write("packed", bytes))
    } catch {
      guard let repaired = repairedPacked(bytes) else { throw error }
      try readPackedFiles(folder.write("packed", repaired))
    }
  }

  /// Reads both ends of every file, and one place in its middle; reports on the whole and unpacks it.
  private func readPackedFiles(_ path: String) throws(FormatError) {
    defer { reportAndUnpack(path) }
    guard let packed = try PackedPath(path) else {
      readEnds(of: try PositionalFile(path))
      return
    }
    for name in packed.names { _ = DirectoryListing.isFolder(path + "/" + name) }
    for entry in packed.archive.directory.entries.prefix(64) where entry.kind == .file {
      readEnds(of: try PositionalFile(path + "/" + entry.name.string))
    }
  }

  /// A refusal is as good as a success.
  private func reportAndUnpack(_ path: String) {
    if let report = try? PackingReport(path) {
      _ = report.text
      _ = report.json
    }
    // Few bytes may stand for many that repeat, which takes time alone.
    guard let unpacker = try? Unpacker(path, threadCount: 1, memoryLimit: .max),
      unpacker.contentByteCount <= 4 << 20
    else { return }
    _ = try? unpacker.run(to: nil)
  }

  private func readEnds(of file: PositionalFile) {
    let count = Int(min(file.byteCount, 4096))
    for offset in [0, file.byteCount / 2, file.byteCount - UInt64(count)] {
      file.prefetch(at: offset, byteCount: count)
      // A refusal is as good as a success.
      _ = try? file.read(at: offset, count: min(count, Int(file.byteCount - offset)))
    }
  }
}

/// The same archive with checksums of pages, directory and trailer, and places of tables, that fit, so
/// that a change behind them is not refused for the checksum alone.
///
/// - Returns: `nil` where the bytes are too few for an archive.
private func repairedPacked(_ bytes: [UInt8]) -> [UInt8]? {
  let headerByteCount = Int(PackedFormat.headerByteCount)
  let trailerByteCount = Int(PackedFormat.trailerByteCount)
  guard bytes.count >= headerByteCount + trailerByteCount,
    bytes.starts(with: PackedFormat.magic.prefix(4))
  else { return nil }
  let end = bytes.count - trailerByteCount
  func number(_ index: Int) -> UInt64 { integer(bytes, at: end + 8 * index, as: UInt64.self) }
  var result = Array(PackedTrailer.header + bytes[headerByteCount...])
  let directoryByteCount = Int(min(number(3), UInt64(end - headerByteCount)))
  let directoryStart = end - directoryByteCount
  let room = (directoryStart - headerByteCount) / PackedFormat.pageByteCount
  let frameCount = number(1) % UInt64(PackedFormat.framesPerPage * max(1, room) + 1)
  let pages = Int(frameCount + UInt64(PackedFormat.framesPerPage) - 1) / PackedFormat.framesPerPage
  guard pages <= room else { return nil }
  let tableStart = directoryStart - pages * PackedFormat.pageByteCount
  for page in 0..<pages {
    let start = tableStart + page * PackedFormat.pageByteCount
    let sum = start + PackedFormat.pageChecksumOffset
    result.replaceSubrange(
      sum..<sum + 8, with: littleEndianBytes(XXH3.hash64(Array(result[start..<sum]))))
  }
  let trailer = PackedTrailer(
    frameTableOffset: UInt64(tableStart), frameCount: frameCount,
    directoryOffset: UInt64(directoryStart), directoryByteCount: UInt64(directoryByteCount),
    contentByteCount: number(4),
    directoryChecksum: XXH3.hash64(Array(result[directoryStart..<end])))
  return Array(result[..<end]) + trailer.bytes
}

private func littleEndianBytes(_ number: UInt64) -> [UInt8] {
  (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
}
