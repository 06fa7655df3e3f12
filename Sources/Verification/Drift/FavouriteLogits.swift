/// The largest logits of many positions, found while the vocabulary passes by.
///
/// One worker's view; those of several workers are merged in the end.
struct FavouriteLogits: Sendable {
  let limit: Int
  /// `[positions, limit]`; the first `counts[position]` are filled, in no order.
  private(set) var tokens: [Int32]
  private(set) var logits: [Float]
  private(set) var counts: [Int32]
  /// The smallest kept logit of each full position; minus infinity before.
  private var thresholds: [Float]

  static func byteCount(positionCount: Int, limit: Int) -> Int { positionCount * (limit * 8 + 8) }

  init(positionCount: Int, limit: Int) {
    self.limit = limit
    tokens = Array(repeating: -1, count: positionCount * limit)
    logits = Array(repeating: -.infinity, count: positionCount * limit)
    counts = Array(repeating: 0, count: positionCount)
    thresholds = Array(repeating: -.infinity, count: positionCount)
  }

  /// Looks at a run of the vocabulary.
  mutating func add(_ row: UnsafeBufferPointer<Float>, firstToken: Int, position: Int) {
    var threshold = thresholds[position]
    var isFull = counts[position] == limit
    for index in row.indices where !isFull || row[index] > threshold {
      insert(row[index], token: Int32(firstToken + index), position: position)
      threshold = thresholds[position]
      isFull = counts[position] == limit
    }
  }

  mutating func merge(_ other: FavouriteLogits) {
    for position in counts.indices {
      for index in position * limit..<position * limit + Int(other.counts[position])
      where counts[position] < limit || other.logits[index] > thresholds[position] {
        insert(other.logits[index], token: other.tokens[index], position: position)
      }
    }
  }

  private mutating func insert(_ logit: Float, token: Int32, position: Int) {
    let slots = position * limit..<(position + 1) * limit
    var slot = slots.lowerBound + Int(counts[position])
    if counts[position] == limit {
      // Few are inserted after the first tile: a scan for the smallest is cheap enough.
      slot = slots.min { logits[$0] < logits[$1] } ?? slots.lowerBound
    } else {
      counts[position] += 1
    }
    logits[slot] = logit
    tokens[slot] = token
    if counts[position] == limit { thresholds[position] = logits[slots].min() ?? -.infinity }
  }

  /// Tokens and logits of a position, largest first, lower tokens first among equals.
  func sorted(position: Int) -> [(token: Int32, logit: Float)] {
    let slots = position * limit..<position * limit + Int(counts[position])
    return slots.map { (tokens[$0], logits[$0]) }
      .sorted { $0.1 == $1.1 ? $0.0 < $1.0 : $0.1 > $1.1 }
  }
}
