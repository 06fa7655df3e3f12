import Planning
import TestSupport
import Testing

private typealias Units = [[AllocationChoice]]

/// The least harm by trying everything.
private func leastHarm(_ units: Units, byteCount: Int) -> Double? {
  var states: [(bytes: Int, harm: Double)] = [(0, 0)]
  for unit in units {
    states = states.flatMap { state in
      unit.map { (state.bytes + $0.byteCount, state.harm + $0.harm) }
    }
  }
  return states.filter { $0.bytes <= byteCount }.map(\.harm).min()
}

private func randomUnits(_ count: Int, choices: Int, _ random: inout SplitMix64) -> Units {
  (0..<count).map { _ in
    let weight = Double.random(in: 0.1...10, using: &random)
    let size = Int.random(in: 1...40, using: &random)
    return (0..<choices).map { _ in
      let bits = Int.random(in: 2...32, using: &random)
      let noise = Double.random(in: 0.5...2, using: &random)
      return AllocationChoice(byteCount: bits * size, harm: weight * noise / Double(bits * bits))
    }
  }
}

/// Small problems are solved exactly, and the bound is one.
@Test func allocationIsBest() throws {
  var random = SplitMix64(seed: 7)
  for _ in 0..<400 {
    let units = randomUnits(
      Int.random(in: 1...7, using: &random), choices: Int.random(in: 1...5, using: &random),
      &random)
    let smallest = units.reduce(0) { $0 + ($1.map(\.byteCount).min() ?? 0) }
    let largest = units.reduce(0) { $0 + ($1.map(\.byteCount).max() ?? 0) }
    let limit = Int.random(in: smallest...largest + 10, using: &random)
    let allocation = try Allocation(units, byteCount: limit)
    let least = try #require(leastHarm(units, byteCount: limit))
    #expect(allocation.byteCount <= limit)
    #expect(abs(allocation.harm - least) <= 1e-12 * least, "\(units) \(limit)")
    #expect(allocation.harmBound <= allocation.harm)
    #expect(allocation.harmBound <= least * (1 + 1e-12))
  }
}

@Test func allocationNamesTheSmallest() {
  let units: Units = [
    [AllocationChoice(byteCount: 10, harm: 1), AllocationChoice(byteCount: 7, harm: 3)],
    [AllocationChoice(byteCount: 5, harm: 1)],
  ]
  #expect(throws: Allocation.TooSmall(byteCount: 11, smallest: 12)) {
    try Allocation(units, byteCount: 11)
  }
}

/// Many units: close to the bound, the bytes are used, and the time grows with the units.
@Test func allocationOfManyUnits() throws {
  var random = SplitMix64(seed: 8)
  let units = randomUnits(100_000, choices: 12, &random)
  let smallest = units.reduce(0) { $0 + ($1.map(\.byteCount).min() ?? 0) }
  let limit = smallest * 2
  var found: Allocation?
  let time = try processorTime { found = try Allocation(units, byteCount: limit) }
  let allocation = try #require(found)
  #expect(isOfOrder(time, of: 1), "\(time)")
  #expect(allocation.byteCount <= limit && limit - allocation.byteCount < limit / 1_000)
  #expect(allocation.gap < 1e-6, "\(allocation.gap)")
}
