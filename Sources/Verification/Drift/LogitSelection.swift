/// The tokens of many positions with the largest keys, found while the vocabulary passes by.
///
/// A key is the logit itself, which selects the favourites, or the logit plus Gumbel noise, which
/// selects a sample without replacement in proportion to the probabilities. One worker's view;
/// those of several workers are merged in the end.
package struct LogitSelection: Sendable {
  package struct Entry: Hashable, Sendable {
    package var token: Int32
    package var logit: Float
    package var key: Float
  }

  let limit: Int
  private let noise: GumbelNoise?
  /// `[positions, limit]`; the first `counts[position]` are filled, in no order.
  private var entries: [Entry]
  private var counts: [Int32]
  /// The smallest kept key of each full position; minus infinity before.
  private var thresholds: [Float]

  static func byteCount(positionCount: Int, limit: Int) -> Int {
    positionCount * (limit * MemoryLayout<Entry>.stride + 8)
  }

  package init(positionCount: Int, limit: Int, noise: GumbelNoise? = nil) {
    self.limit = limit
    self.noise = noise
    entries = Array(
      repeating: Entry(token: -1, logit: 0, key: -.infinity), count: positionCount * limit)
    counts = Array(repeating: 0, count: positionCount)
    thresholds = Array(repeating: -.infinity, count: positionCount)
  }

  /// Looks at a run of the vocabulary.
  package mutating func add(_ row: UnsafeBufferPointer<Float>, firstToken: Int, position: Int) {
    var threshold = thresholds[position]
    for index in row.indices {
      let logit = row[index]
      var key = logit
      if let noise {
        let bits = noise.bits(position: position, token: firstToken + index)
        // The bound costs next to nothing and refuses nearly all.
        if logit + GumbelNoise.bound(bits) <= threshold { continue }
        key += GumbelNoise.value(bits)
      }
      if key <= threshold { continue }
      insert(Entry(token: Int32(firstToken + index), logit: logit, key: key), position)
      threshold = thresholds[position]
    }
  }

  package mutating func merge(_ other: LogitSelection) {
    for position in counts.indices {
      for index in position * limit..<position * limit + Int(other.counts[position])
      where other.entries[index].key > thresholds[position] {
        insert(other.entries[index], position)
      }
    }
  }

  private mutating func insert(_ entry: Entry, _ position: Int) {
    let slots = position * limit..<(position + 1) * limit
    var slot = slots.lowerBound + Int(counts[position])
    if counts[position] == limit {
      // Few are inserted after the first tile: a scan for the smallest is cheap enough.
      slot = slots.min { entries[$0].key < entries[$1].key } ?? slots.lowerBound
    } else {
      counts[position] += 1
    }
    entries[slot] = entry
    if counts[position] == limit {
      thresholds[position] = slots.lazy.map { [entries] in entries[$0].key }.min() ?? -.infinity
    }
  }

  /// The entries of a position, largest key first, lower tokens first among equals.
  package func sorted(position: Int) -> [Entry] {
    let start = position * limit
    return entries[start..<start + Int(counts[position])]
      .sorted { $0.key == $1.key ? $0.token < $1.token : $0.key > $1.key }
  }
}
