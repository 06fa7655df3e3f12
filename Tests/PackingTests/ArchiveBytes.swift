import ByteIO

/// A packed archive built by hand after formats/packed-archive.md, each part of which can lie.
struct ArchiveBytes {
  struct Region {
    var byteCount: UInt64
    var frameByteCount: UInt32
    var layout: UInt8 = 1
    var type: UInt8 = 0
    var reserved: UInt16 = 0
  }
  struct Entry {
    var kind: UInt8 = 0
    var name: [UInt8]
    var byteCount: UInt64
    var regions: [Region]
  }
  struct Frame {
    var bytes: [UInt8]
    var checksum: UInt64
  }

  var version: UInt32 = 1
  var flags: UInt32 = 0
  var kind: UInt8 = 0
  var rootName = Array("root".utf8)
  var typeNames: [String] = []
  var entries: [Entry] = []
  var entryCount: UInt32?
  var frames: [Frame] = []
  /// Replaces where a frame ends.
  var frameEnds: [Int: UInt64] = [:]
  var firstFrameStart: UInt64 = 16
  /// Replaces where a page says that its first frame begins.
  var pageStarts: [Int: UInt64] = [:]
  var frameCount: UInt64?
  var contentByteCount: UInt64?
  var frameTableOffset: UInt64?
  var directoryByteCount: UInt64?
  var afterDirectory: [UInt8] = []
  var corruptsPageChecksum = false
  var corruptsDirectoryChecksum = false

  /// A frame whose planes are stored.
  static func stored(_ planes: [[UInt8]], content: [UInt8]) -> Frame {
    Frame(
      bytes: planes.flatMap { littleEndian(UInt32($0.count)) } + planes.flatMap { $0 },
      checksum: XXH3.hash64(content))
  }

  /// One file whose bytes are stored in one frame.
  init(file content: [UInt8], name: String = "file.bin") {
    rootName = Array(name.utf8)
    entries = [
      Entry(
        name: Array(name.utf8), byteCount: UInt64(content.count),
        regions: content.isEmpty
          ? [] : [Region(byteCount: UInt64(content.count), frameByteCount: 1 << 16)])
    ]
    if !content.isEmpty { frames = [Self.stored([content], content: content)] }
  }

  /// A folder of stored files.
  init(folder files: [(name: String, content: [UInt8])]) {
    kind = 1
    for (name, content) in files {
      let one = ArchiveBytes(file: content, name: name)
      entries += one.entries
      frames += one.frames
    }
  }

  var directory: [UInt8] {
    var bytes = [kind] + littleEndian(UInt16(rootName.count)) + rootName
    bytes.append(UInt8(typeNames.count))
    for name in typeNames { bytes += [UInt8(name.utf8.count)] + Array(name.utf8) }
    bytes += littleEndian(entryCount ?? UInt32(entries.count))
    for entry in entries {
      bytes += [entry.kind] + littleEndian(UInt16(entry.name.count)) + entry.name
      bytes += littleEndian(entry.byteCount) + littleEndian(UInt32(entry.regions.count))
      for region in entry.regions {
        bytes += littleEndian(region.byteCount) + littleEndian(region.frameByteCount)
        bytes += [region.layout, region.type] + littleEndian(region.reserved)
      }
    }
    return bytes
  }

  var bytes: [UInt8] {
    let header: [UInt8] =
      [0x89, 0x49, 0x4E, 0x47, 0x4F, 0x54, 0x0D, 0x0A] + littleEndian(version)
      + littleEndian(flags)
    var bytes = header
    var ends: [UInt64] = []
    for (index, frame) in frames.enumerated() {
      bytes += frame.bytes
      ends.append(frameEnds[index] ?? UInt64(bytes.count))
    }
    let tableOffset = UInt64(bytes.count)
    var start = firstFrameStart
    for first in stride(from: 0, to: frames.count, by: 255) {
      var page = littleEndian(pageStarts[first / 255] ?? start)
      for index in first..<min(first + 255, frames.count) {
        page += littleEndian(ends[index]) + littleEndian(frames[index].checksum)
        start = ends[index]
      }
      page += [UInt8](repeating: 0, count: 4088 - page.count)
      page += littleEndian(XXH3.hash64(page) &+ (corruptsPageChecksum ? 1 : 0))
      bytes += page
    }
    let directory = directory
    let directoryOffset = UInt64(bytes.count)
    bytes += directory + afterDirectory
    let content = entries.reduce(UInt64(0)) { $0 &+ $1.byteCount }
    var trailer = littleEndian(frameTableOffset ?? tableOffset)
    trailer += littleEndian(frameCount ?? UInt64(frames.count))
    trailer += littleEndian(directoryOffset)
    trailer += littleEndian(directoryByteCount ?? UInt64(directory.count))
    trailer += littleEndian(contentByteCount ?? content)
    trailer += littleEndian(XXH3.hash64(directory) &+ (corruptsDirectoryChecksum ? 1 : 0))
    trailer += littleEndian(XXH3.hash64(header + trailer)) + Array("INGOTEND".utf8)
    return bytes + trailer
  }
}
