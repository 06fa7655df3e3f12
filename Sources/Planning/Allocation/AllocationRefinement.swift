/// Fills the bytes that the steps of a greedy allocation leave over.
///
/// At the price of a byte where the continuous problem ends, every unit has a choice that is best,
/// and every other choice has a regret: what it costs more at that price. An allocation's harm is
/// the bound + all regrets + the price of the bytes that it leaves over, so units whose regrets
/// exceed what is still to gain keep their best choice. The others, from the least regret on, are
/// tried in all combinations, of which only those are kept that no other beats in bytes and harm.
struct AllocationRefinement {
  /// Combinations kept at a time: with more, a combination may be missed that would have been best.
  private static let stateLimit = 4_000
  private static let unitLimit = 400

  private let units: [[AllocationChoice]]
  private let slope: Double
  private let limit: Int
  private(set) var best: [Int]
  /// Whether nothing was left out that could have been better.
  private(set) var isExhaustive = false

  /// - Parameters:
  ///   - units: as of `Allocation`.
  ///   - slope: harm that a byte is worth.
  ///   - limit: most bytes.
  ///   - start: an allocation within the limit, to be bettered.
  init(_ units: [[AllocationChoice]], slope: Double, limit: Int, start: [Int]) {
    self.units = units
    self.slope = slope
    self.limit = limit
    best = start
  }

  /// A combination: choices of the units seen so far, all others at their best for the price.
  private struct State {
    /// Beside the bytes and the harm of the best choices.
    var bytes: Int
    var harm: Double
    /// Link to the choice that was made last; -1 where none was.
    var link: Int
  }

  private struct Link {
    var before: Int
    var unit: Int
    var choice: Int
  }

  /// A choice other than the best for the price.
  private struct Change {
    var choice: Int
    var bytes: Int
    var harm: Double
  }

  mutating func run() {
    let base = units.map(bestAtPrice)
    let baseBytes = zip(units, base).reduce(0) { $0 + $1.0[$1.1].byteCount }
    let baseHarm = zip(units, base).reduce(0) { $0 + $1.0[$1.1].harm }
    let startHarm = zip(units, best).reduce(0) { $0 + $1.0[$1.1].harm }
    let free = limit - baseBytes
    // Harm, beside the base, that an allocation must stay below to be better than the best known.
    var toBeat = startHarm - baseHarm
    var bestLink: Int?
    if free >= 0, toBeat > 0 {
      toBeat = 0
      bestLink = -1
    }

    let candidates = units.indices.compactMap { unit -> (regret: Double, unit: Int)? in
      let regrets = changes(unit, base[unit]).map(regret)
      return regrets.min().map { ($0, unit) }
    }.sorted { ($0.regret, $0.unit) < ($1.regret, $1.unit) }

    var states = [State(bytes: 0, harm: 0, link: -1)]
    var links: [Link] = []
    var isComplete = true
    for (seen, candidate) in candidates.enumerated() {
      // What is gained at most: the bytes left over at their price, less the regret.
      guard candidate.regret < toBeat + slope * Double(free) else { break }
      guard seen < Self.unitLimit else {
        isComplete = false
        break
      }
      var grown = states
      for change in changes(candidate.unit, base[candidate.unit]) {
        for state in states {
          let next = State(
            bytes: state.bytes + change.bytes, harm: state.harm + change.harm, link: -1)
          guard next.harm - slope * Double(free - next.bytes) < toBeat else { continue }
          links.append(Link(before: state.link, unit: candidate.unit, choice: change.choice))
          grown.append(State(bytes: next.bytes, harm: next.harm, link: links.count - 1))
        }
      }
      states = Self.undominated(grown)
      for state in states where state.bytes <= free && state.harm < toBeat {
        toBeat = state.harm
        bestLink = state.link
      }
      states.removeAll { $0.harm - slope * Double(free - $0.bytes) >= toBeat }
      if states.count > Self.stateLimit {
        isComplete = false
        states.sort {
          ($0.harm + slope * Double($0.bytes), $0.bytes) < (
            $1.harm + slope * Double($1.bytes), $1.bytes
          )
        }
        states.removeLast(states.count - Self.stateLimit)
      }
      if states.isEmpty { break }
    }
    isExhaustive = isComplete
    guard var link = bestLink else { return }
    best = base
    while link >= 0 {
      best[links[link].unit] = links[link].choice
      link = links[link].before
    }
  }

  /// Of equal ones the smaller, so that it fits.
  private func bestAtPrice(_ choices: [AllocationChoice]) -> Int {
    choices.indices.min {
      let (a, b) = (choices[$0], choices[$1])
      return (a.harm + slope * Double(a.byteCount), a.byteCount, $0)
        < (b.harm + slope * Double(b.byteCount), b.byteCount, $1)
    } ?? 0
  }

  private func changes(_ unit: Int, _ base: Int) -> [Change] {
    let choices = units[unit]
    return choices.indices.compactMap { choice in
      guard choice != base else { return nil }
      return Change(
        choice: choice, bytes: choices[choice].byteCount - choices[base].byteCount,
        harm: choices[choice].harm - choices[base].harm)
    }
  }

  private func regret(_ change: Change) -> Double { change.harm + slope * Double(change.bytes) }

  /// Those that no other beats in both bytes and harm, by bytes.
  private static func undominated(_ states: [State]) -> [State] {
    let sorted = states.sorted { ($0.bytes, $0.harm, $0.link) < ($1.bytes, $1.harm, $1.link) }
    var result: [State] = []
    for state in sorted where state.harm < result.last?.harm ?? .infinity { result.append(state) }
    return result
  }
}
