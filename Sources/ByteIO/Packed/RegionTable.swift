/// The regions of a packed archive, one behind the other without gaps, in 24 bytes each.
///
/// An archive of many small tensors may have a million of them, at 16 bytes each in its directory.
package struct RegionTable: RandomAccessCollection, Sendable {
  private struct Row: Sendable {
    var contentStart: UInt64
    var firstFrame: Int
    var frameByteCount: UInt32
    var layout: PackedLayout
    /// Index into the type names plus 1; 0: none.
    var type: UInt8
  }
  private var rows: [Row] = []
  private var contentByteCount: UInt64 = 0
  /// Frames of all regions.
  package private(set) var frameCount = 0

  package init() {}

  package var startIndex: Int { 0 }
  package var endIndex: Int { rows.count }

  package subscript(index: Int) -> PackedDirectory.Region {
    let row = rows[index]
    let end = index + 1 < rows.count ? rows[index + 1].contentStart : contentByteCount
    return PackedDirectory.Region(
      contentStart: row.contentStart, byteCount: end - row.contentStart,
      firstFrame: row.firstFrame, frameByteCount: Int(row.frameByteCount), layout: row.layout,
      typeName: row.type > 0 ? Int(row.type) - 1 : nil)
  }

  package mutating func reserveCapacity(_ count: Int) { rows.reserveCapacity(count) }

  /// Adds a region.
  ///
  /// - Precondition: it begins where the last one ends, and its sizes are those that the format allows.
  package mutating func append(_ region: PackedDirectory.Region) {
    precondition(
      region.contentStart == contentByteCount && region.firstFrame == frameCount
        && region.byteCount > 0, "regions leave no gap")
    rows.append(
      Row(
        contentStart: region.contentStart, firstFrame: region.firstFrame,
        frameByteCount: UInt32(region.frameByteCount), layout: region.layout,
        type: UInt8(region.typeName.map { $0 + 1 } ?? 0)))
    contentByteCount += region.byteCount
    frameCount += region.frameCount
  }

  /// The region that a byte of the content lies in.
  ///
  /// - Precondition: the byte is there.
  func region(holding contentOffset: UInt64) -> PackedDirectory.Region {
    self[last { $0.contentStart <= contentOffset }]
  }

  /// The region of a frame.
  func region(ofFrame frame: Int) -> PackedDirectory.Region {
    self[last { $0.firstFrame <= frame }]
  }

  /// Index of the last row that is not behind what is looked for.
  private func last(where isNotBehind: (Row) -> Bool) -> Int {
    var low = 0
    var high = rows.count - 1
    while low < high {
      let middle = (low + high + 1) / 2
      if isNotBehind(rows[middle]) { low = middle } else { high = middle - 1 }
    }
    return low
  }
}
