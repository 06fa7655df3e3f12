import ByteIO
import ForwardRuns
import Testing

private func groups(
  _ used: UInt64, chunkCount: Int = 40, earlierGroup: Int? = nil
) throws -> ForwardBudget {
  try ForwardBudget(
    chunkCount: chunkCount, limit: 100_000_000, used: used, threadCount: 1,
    earlierGroup: earlierGroup
  ) { $0 * 1_000_000 }
}

/// What was done before a meter began counts for no rate: it would be done in no time.
@Test func ratesAreThoseOfTheirOwnGroups() throws {
  let reports = Guarded<[RunProgress]>([])
  let meter = ForwardMeter(
    groupCount: 4, layerCount: 3, tokenCount: 4_000_000, firstGroup: 2
  ) { progress in reports.withLock { $0.append(progress) } }
  meter.begin(group: 2, layer: 0)
  let start = ContinuousClock.now
  // Long enough that the clock moves.
  while ContinuousClock.now - start < .milliseconds(20) {}
  meter.begin(group: 2, layer: 1)
  let found = reports.withLock { $0 }
  #expect(found.map(\.fraction) == [0.5, 0.5625] && found[0].tokensPerSecond == 0)
  // A sixteenth of the tokens, in 20 ms or more.
  #expect(found[1].tokensPerSecond > 0 && found[1].tokensPerSecond <= 250_000 / 0.02)
}

/// How many pages of a program are resident differs from run to run; what it computes may not.
@Test func groupsDoNotDependOnSomePages() throws {
  let base = UInt64(8 << 20)
  for used in stride(from: base + 1, through: base + (4 << 20), by: 99_999) {
    #expect(try groups(used) == groups(base + 1), "\(used)")
  }
  #expect(try groups(base + (40 << 20)).chunksPerGroup < groups(base).chunksPerGroup)
}

/// A run that goes on has the groups of the run before, though it holds that one's sums, too.
@Test func groupsOfAnEarlierRunAreKept() throws {
  let first = try groups(30 << 20)
  #expect(first.groupCount > 1)
  for more in stride(from: UInt64(0), through: 8 << 20, by: 1 << 20) {
    for left in stride(from: 1, through: 40, by: 3) {
      let next = try groups((30 << 20) + more, chunkCount: left, earlierGroup: first.chunksPerGroup)
      #expect(next.chunksPerGroup == min(left, first.chunksPerGroup), "\(more), \(left)")
      #expect(next.groupCount == (left + first.chunksPerGroup - 1) / first.chunksPerGroup)
    }
  }
  // Far less memory, or a number that no run has written.
  #expect(try groups(60 << 20, earlierGroup: 39).chunksPerGroup < 39)
  #expect(try groups(8 << 20, chunkCount: 5, earlierGroup: .max).chunksPerGroup == 5)
  #expect(try groups(8 << 20, earlierGroup: -1) == groups(8 << 20))
}
