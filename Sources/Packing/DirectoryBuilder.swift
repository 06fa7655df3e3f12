import ByteIO

/// Makes a directory entry by entry, in the order of names.
struct DirectoryBuilder {
  private(set) var directory: PackedDirectory

  init(kind: PackedDirectory.Kind, rootName: String) {
    directory = PackedDirectory(kind: kind, rootName: rootName)
  }

  mutating func addEmptyFolder(_ name: ExactString) {
    append(name, .emptyFolder, byteCount: 0, firstRegion: directory.regions.count)
  }

  /// Adds a file, whose runs are cut into frames of so much content.
  mutating func add(
    _ name: ExactString, byteCount: UInt64, frameByteCount: Int, runs: [ContentRun]
  ) {
    let firstRegion = directory.regions.count
    var start = directory.contentByteCount
    for run in runs {
      directory.regions.append(
        PackedDirectory.Region(
          contentStart: start, byteCount: run.byteCount, firstFrame: directory.frameCount,
          frameByteCount: frameByteCount, layout: run.layout,
          typeName: run.typeName.map { index(ofType: $0) }))
      start += run.byteCount
    }
    append(name, .file, byteCount: byteCount, firstRegion: firstRegion)
  }

  private mutating func append(
    _ name: ExactString, _ kind: PackedDirectory.EntryKind, byteCount: UInt64, firstRegion: Int
  ) {
    directory.entries.append(
      PackedDirectory.Entry(
        name: name, kind: kind, contentStart: directory.contentByteCount, byteCount: byteCount,
        regions: firstRegion..<directory.regions.count))
  }

  private mutating func index(ofType name: String) -> Int {
    if let index = directory.typeNames.firstIndex(of: name) { return index }
    directory.typeNames.append(name)
    return directory.typeNames.count - 1
  }
}
