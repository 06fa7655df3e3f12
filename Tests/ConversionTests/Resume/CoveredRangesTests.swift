import Conversion
import TestSupport
import Testing

/// Ranges in any order cover what a list of marks says.
@Test func coveredRangesEqualMarks() {
  var generator = SplitMix64(seed: 11)
  for _ in 0..<300 {
    var ranges = CoveredRanges()
    var marks = [Bool](repeating: false, count: 64)
    for _ in 0..<Int(generator.next() % 12) {
      let start = Int(generator.next() % 64)
      let end = min(64, start + Int(generator.next() % 12))
      ranges.insert(UInt64(start)..<UInt64(end))
      for index in start..<end { marks[index] = true }
    }
    for pair in zip(ranges.ranges, ranges.ranges.dropFirst()) {
      #expect(pair.0.upperBound < pair.1.lowerBound)
    }
    for start in 0...64 {
      for end in start...64 {
        let part = marks[start..<end]
        let range = UInt64(start)..<UInt64(end)
        #expect(ranges.contains(range) == part.allSatisfy { $0 })
        #expect(ranges.byteCount(in: range) == UInt64(part.count { $0 }))
        #expect(ranges.firstGap(in: range) == part.firstIndex(of: false).map { UInt64($0) })
      }
    }
  }
}
