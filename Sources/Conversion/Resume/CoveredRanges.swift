/// Byte ranges of one file that are known to be as they should be, merged where they touch.
package struct CoveredRanges: Hashable, Sendable {
  /// In order, neither empty nor touching.
  package private(set) var ranges: [Range<UInt64>] = []

  /// Far more than conversions make; what a made-up journal has beyond is done again.
  static let countLimit = 1 << 20

  package init() {}

  package mutating func insert(_ range: Range<UInt64>) {
    guard !range.isEmpty else { return }
    // Ranges nearly always come in order.
    let first =
      ranges.last.map { $0.upperBound < range.lowerBound } ?? true
      ? ranges.count : index { $0.upperBound >= range.lowerBound }
    var end = first
    var merged = range
    while end < ranges.count, ranges[end].lowerBound <= range.upperBound {
      merged =
        min(
          merged.lowerBound, ranges[end].lowerBound)..<max(
          merged.upperBound, ranges[end].upperBound)
      end += 1
    }
    if first == end, ranges.count >= Self.countLimit { return }
    ranges.replaceSubrange(first..<end, with: [merged])
  }

  package mutating func formUnion(_ other: CoveredRanges) {
    for range in other.ranges { insert(range) }
  }

  package func contains(_ range: Range<UInt64>) -> Bool {
    if range.isEmpty { return true }
    let index = index { $0.upperBound >= range.upperBound }
    return index < ranges.count && ranges[index].lowerBound <= range.lowerBound
  }

  /// How many bytes of `range` are covered.
  package func byteCount(in range: Range<UInt64>) -> UInt64 {
    var count: UInt64 = 0
    for covered in ranges[index(where: { $0.upperBound > range.lowerBound })...] {
      guard covered.lowerBound < range.upperBound else { break }
      count +=
        min(covered.upperBound, range.upperBound) - max(covered.lowerBound, range.lowerBound)
    }
    return count
  }

  /// Where the first byte of `range` is that is not covered.
  package func firstGap(in range: Range<UInt64>) -> UInt64? {
    let index = index { $0.upperBound > range.lowerBound }
    guard index < ranges.count, ranges[index].lowerBound <= range.lowerBound else {
      return range.isEmpty ? nil : range.lowerBound
    }
    return ranges[index].upperBound < range.upperBound ? ranges[index].upperBound : nil
  }

  /// Index of the first range for which `condition`, false and then true along the list, is true.
  private func index(where condition: (Range<UInt64>) -> Bool) -> Int {
    var (low, high) = (0, ranges.count)
    while low < high {
      let middle = (low + high) / 2
      if condition(ranges[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
