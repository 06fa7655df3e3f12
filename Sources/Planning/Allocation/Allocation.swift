/// A way to store one unit, a tensor or an expert's matrix: what it costs and what it spoils.
package struct AllocationChoice: Hashable, Sendable {
  /// Bytes in the file.
  package var byteCount: Int
  /// Expected harm to the model's output, of any unit that is the same everywhere; finite.
  package var harm: Double

  package init(byteCount: Int, harm: Double) {
    self.byteCount = byteCount
    self.harm = harm
  }
}

/// One choice per unit, so that the least harm is done within a number of bytes.
package struct Allocation: Hashable, Sendable {
  /// Index of the choice, per unit.
  package var choices: [Int]
  package var byteCount: Int
  package var harm: Double
  /// No allocation within the bytes has less harm than this.
  package var harmBound: Double

  /// How much of the harm a better allocation could save at most, 0 to 1; 0 where it is proved best.
  package var gap: Double { harm > 0 ? max(0, harm - harmBound) / harm : 0 }

  /// The bytes are too few for any allocation.
  package struct TooSmall: Error, Hashable, Sendable {
    package var byteCount: Int
    /// The fewest that are possible.
    package var smallest: Int

    package init(byteCount: Int, smallest: Int) {
      self.byteCount = byteCount
      self.smallest = smallest
    }
  }
}

extension Allocation {
  /// Chooses for every unit.
  ///
  /// The problem is the multiple-choice knapsack. Its continuous form, in which a unit may be
  /// stored partly one way and partly another, is solved exactly by taking the steps of all units'
  /// lower convex hulls in the order of harm saved per byte; that gives the bound, and a choice
  /// that leaves a few bytes over. `AllocationRefinement` then fills them.
  ///
  /// - Parameters:
  ///   - units: each with at least one choice, in any order.
  ///   - byteCount: most bytes of all together.
  /// - Throws: `TooSmall`.
  package init(_ units: [[AllocationChoice]], byteCount limit: Int) throws(TooSmall) {
    let hulls = units.map(AllocationHull.init)
    let smallest = hulls.reduce(0) { $0 + $1.steps[0].byteCount }
    guard smallest <= limit else { throw TooSmall(byteCount: limit, smallest: smallest) }

    var steps: [Step] = []
    for (unit, hull) in hulls.enumerated() {
      for index in hull.steps.indices.dropFirst() {
        let (from, to) = (hull.steps[index - 1], hull.steps[index])
        let bytes = to.byteCount - from.byteCount
        steps.append(
          Step(unit: unit, index: index, saving: (from.harm - to.harm) / Double(bytes)))
      }
    }
    // Ties by position: the same allocation on every machine.
    steps.sort { ($1.saving, $0.unit, $0.index) < ($0.saving, $1.unit, $1.index) }

    var taken = Array(repeating: 0, count: units.count)
    var left = limit - smallest
    var harm = hulls.reduce(0) { $0 + $1.steps[0].harm }
    var bound = harm
    var slope = 0.0
    for step in steps {
      let (from, to) = (hulls[step.unit].steps[step.index - 1], hulls[step.unit].steps[step.index])
      let bytes = to.byteCount - from.byteCount
      if slope == 0 {
        guard bytes <= left else {
          // The first that does not fit, taken in part, ends the continuous solution.
          bound = harm - step.saving * Double(left)
          slope = step.saving
          continue
        }
        bound = harm - (from.harm - to.harm)
      }
      // Those behind it fill up, unless a step of the unit before was left out.
      guard bytes <= left, taken[step.unit] == step.index - 1 else { continue }
      taken[step.unit] = step.index
      left -= bytes
      harm -= from.harm - to.harm
    }
    var allocation = Allocation(
      choices: zip(hulls, taken).map { $0.steps[$1].choice }, byteCount: 0, harm: 0,
      harmBound: bound)
    if slope > 0 {
      var refinement = AllocationRefinement(
        units, slope: slope, limit: limit, start: allocation.choices)
      refinement.run()
      allocation.choices = refinement.best
      if refinement.isExhaustive { allocation.harmBound = .infinity }
    }
    let chosen = zip(units, allocation.choices).map { $0[$1] }
    allocation.byteCount = chosen.reduce(0) { $0 + $1.byteCount }
    allocation.harm = chosen.reduce(0) { $0 + $1.harm }
    allocation.harmBound = min(allocation.harmBound, allocation.harm)
    self = allocation
  }

  private struct Step {
    var unit: Int
    /// Of the hull's step that is reached.
    var index: Int
    /// Harm saved per byte.
    var saving: Double
  }
}

/// The choices of a unit that are best for some price of a byte, from the smallest on.
struct AllocationHull {
  struct Step {
    var choice: Int
    var byteCount: Int
    var harm: Double
  }
  /// Bytes grow, harm and the harm saved per byte shrink.
  private(set) var steps: [Step] = []

  init(_ choices: [AllocationChoice]) {
    precondition(!choices.isEmpty && choices.allSatisfy { $0.harm.isFinite })
    let order = choices.indices.sorted {
      (choices[$0].byteCount, choices[$0].harm, $0) < (choices[$1].byteCount, choices[$1].harm, $1)
    }
    for index in order {
      let next = Step(
        choice: index, byteCount: choices[index].byteCount, harm: choices[index].harm)
      if let last = steps.last, next.harm >= last.harm { continue }
      while steps.count > 1 {
        let (a, b) = (steps[steps.count - 2], steps[steps.count - 1])
        let before = (a.harm - b.harm) * Double(next.byteCount - b.byteCount)
        let after = (b.harm - next.harm) * Double(b.byteCount - a.byteCount)
        guard after >= before else { break }
        steps.removeLast()
      }
      if let last = steps.last, last.byteCount == next.byteCount { continue }
      steps.append(next)
    }
  }
}
