import ByteIO
import Conversion
import Planning
import Tensors
import TestSupport
import Testing

/// A plan whose files have tensors of these many rows of 512 weights.
private func plan(_ files: [[Int]]) -> ConversionPlan {
  var plan = ConversionPlan(tensors: [], recipe: "test")
  for (output, rows) in files.enumerated() {
    var offset: UInt64 = 96
    for rows in rows {
      let byteCount = rows * 288
      plan.tensors.append(
        ConversionPlan.Tensor(
          name: "t", shape: Shape([rows, 512]), source: .input(0), sourceName: nil,
          sourceType: .bf16, type: .q4_K, transform: .identity, byteCount: byteCount,
          output: output, fileOffset: offset))
      offset += UInt64(byteCount)
    }
    plan.outputs.append(
      ConversionPlan.Output(
        path: "/\(output)", header: [UInt8](repeating: 1, count: 96), byteCount: offset))
  }
  return plan
}

private let plans = [
  plan([[1]]), plan([[10_000]]), plan([[5000, 1, 700, 4000, 9000]]),
  plan([[3000], [3000, 100], [2900], [3100]]), plan([[10], [50_000], [10]]),
]

/// Every byte of every file is one share's, whatever the number of shares.
@Test(arguments: plans.indices, [1, 2, 3, 4, 7, 64])
func sharesCoverEveryFile(_ index: Int, _ count: Int) throws {
  let plan = plans[index]
  var covered = plan.outputs.map { _ in CoveredRanges() }
  var byteCount: UInt64 = 0
  for number in 1...count {
    let share = try #require(WorkShare(number: number, of: count))
    let ranges = ShareRanges(plan, share: share).ranges
    for (output, range) in ranges.enumerated() where !range.isEmpty {
      covered[output].insert(range)
      byteCount += range.upperBound - range.lowerBound
      #expect(range.lowerBound % 65536 == 0)
      #expect(range.upperBound % 65536 == 0 || range.upperBound == plan.outputs[output].byteCount)
    }
  }
  #expect(byteCount == plan.totalByteCount)
  for (output, covered) in zip(plan.outputs, covered) {
    #expect(covered.contains(0..<output.byteCount))
  }
}

@Test func sharesAreWholeFilesWhereThatIsFair() throws {
  // Four files of nearly one size for four, two and one machines; not for three.
  for (count, isWhole) in [(4, true), (2, true), (1, true), (3, false)] {
    let ranges = try (1...count).map { number in
      ShareRanges(plans[3], share: try #require(WorkShare(number: number, of: count))).ranges
    }
    let whole = ranges.allSatisfy { ranges in
      zip(ranges, plans[3].outputs).allSatisfy { $0.isEmpty || $0 == 0..<$1.byteCount }
    }
    #expect(whole == isWhole, "\(count)")
  }
}

@Test func sharesAreBalanced() throws {
  let plan = plans[2]
  for count in [2, 3, 5] {
    for number in 1...count {
      let ranges = ShareRanges(plan, share: try #require(WorkShare(number: number, of: count)))
      let byteCount = Double(ranges.ranges.reduce(0) { $0 + $1.count })
      #expect(abs(byteCount - Double(plan.totalByteCount) / Double(count)) <= 2 * 65536)
    }
  }
}

@Test func sharesAreReadStrictly() {
  #expect(WorkShare("2/8") == WorkShare(number: 2, of: 8))
  for text in ["", "2", "0/4", "5/4", "-1/4", "1/0", "1/2/3", "a/b", "1/99999", "1/", "/1"] {
    #expect(WorkShare(text) == nil, "\(text)")
  }
}
