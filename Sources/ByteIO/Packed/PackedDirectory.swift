/// The files of a packed archive, and the regions that their contents are cut into.
///
///     bytes  field
///         1  kind: 0 one file, 1 a folder
///         2  length of the root name, then the name
///         1  number of type names; each: length (1 byte), ASCII
///         4  number of entries; each, in the order of the bytes of their names:
///              1  kind: 0 file, 1 empty folder
///              2  length of the name, then the name
///              8  content byte count
///              4  number of regions; each, in the order of the content:
///                   8  byte count, not 0
///                   4  byte count of a frame; the last one of a region may be shorter
///                   1  layout
///                   1  type name, counted from 1; 0: none
///                   2  zero
///
/// Frames are numbered through all regions of all entries.
package struct PackedDirectory: Sendable {
  package enum Kind: UInt8, Sendable { case file, folder }
  package enum EntryKind: UInt8, Sendable { case file, emptyFolder }

  package struct Entry: Sendable {
    package var name: ExactString
    package var kind: EntryKind
    /// Within the contents of all entries, one behind the other.
    package var contentStart: UInt64
    package var byteCount: UInt64
    /// Indices into `regions`.
    package var regions: Range<Int>

    package init(
      name: ExactString, kind: EntryKind, contentStart: UInt64, byteCount: UInt64,
      regions: Range<Int>
    ) {
      self.name = name
      self.kind = kind
      self.contentStart = contentStart
      self.byteCount = byteCount
      self.regions = regions
    }
  }

  /// A run of content whose frames have one size and one layout.
  package struct Region: Sendable {
    package var contentStart: UInt64
    package var byteCount: UInt64
    package var firstFrame: Int
    package var frameByteCount: Int
    package var layout: PackedLayout
    /// Index into `typeNames`.
    package var typeName: Int?

    package init(
      contentStart: UInt64, byteCount: UInt64, firstFrame: Int, frameByteCount: Int,
      layout: PackedLayout, typeName: Int?
    ) {
      self.contentStart = contentStart
      self.byteCount = byteCount
      self.firstFrame = firstFrame
      self.frameByteCount = frameByteCount
      self.layout = layout
      self.typeName = typeName
    }

    package var frameCount: Int {
      Int((byteCount - 1) / UInt64(frameByteCount)) + 1
    }

    package var contentEnd: UInt64 { contentStart + byteCount }

    /// The content of a frame, counted in the archive's.
    package func content(of frame: Int) -> Range<UInt64> {
      let start = contentStart + UInt64(frame - firstFrame) * UInt64(frameByteCount)
      return start..<min(start + UInt64(frameByteCount), contentEnd)
    }
  }

  package var kind: Kind
  /// Last component of what was packed.
  package var rootName: String
  /// Of elements and blocks, for people: `BF16`, `Q4_K`.
  package var typeNames: [String]
  package var entries: [Entry]
  package var regions = RegionTable()

  /// A directory without entries.
  package init(kind: Kind, rootName: String) {
    self.kind = kind
    self.rootName = rootName
    typeNames = []
    entries = []
  }

  package var contentByteCount: UInt64 {
    entries.last.map { $0.contentStart + $0.byteCount } ?? 0
  }
  package var frameCount: Int { regions.frameCount }

  /// The region that a byte of the content lies in.
  ///
  /// - Precondition: the byte is there.
  package func region(holding contentOffset: UInt64) -> Region {
    regions.region(holding: contentOffset)
  }

  /// The region of a frame.
  package func region(ofFrame frame: Int) -> Region { regions.region(ofFrame: frame) }

  /// Index of the first entry whose name is not before `name`.
  func firstEntry(from name: ExactString) -> Int {
    var low = 0
    var high = entries.count
    while low < high {
      let middle = (low + high) / 2
      if entries[middle].name < name { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Index of the entry that a byte of the content belongs to.
  ///
  /// - Precondition: the byte is there.
  package func indexOfEntry(holding contentOffset: UInt64) -> Int {
    var low = 0
    var high = entries.count - 1
    while low < high {
      let middle = (low + high + 1) / 2
      // Empty entries stand before the one that begins where they do.
      if entries[middle].contentStart <= contentOffset { low = middle } else { high = middle - 1 }
    }
    return low
  }

  package func entry(named name: ExactString) -> Entry? {
    let index = firstEntry(from: name)
    return index < entries.count && entries[index].name == name ? entries[index] : nil
  }

  /// The bytes of the directory.
  package var bytes: [UInt8] {
    var bytes: [UInt8] = [kind.rawValue]
    Self.append(rootName, to: &bytes)
    bytes.append(UInt8(typeNames.count))
    for name in typeNames { bytes += [UInt8(name.utf8.count)] + Array(name.utf8) }
    bytes += littleEndian(UInt32(entries.count))
    for entry in entries {
      bytes.append(entry.kind.rawValue)
      Self.append(entry.name.string, to: &bytes)
      bytes += littleEndian(entry.byteCount) + littleEndian(UInt32(entry.regions.count))
      for region in regions[entry.regions] {
        bytes += littleEndian(region.byteCount) + littleEndian(UInt32(region.frameByteCount))
        bytes += [region.layout.rawValue, UInt8(region.typeName.map { $0 + 1 } ?? 0), 0, 0]
      }
    }
    return bytes
  }

  private static func append(_ name: String, to bytes: inout [UInt8]) {
    bytes += littleEndian(UInt16(name.utf8.count)) + Array(name.utf8)
  }
}
