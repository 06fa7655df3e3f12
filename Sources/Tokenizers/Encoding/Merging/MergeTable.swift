/// Which two neighbouring symbols become one, and in which order.
///
/// Open addressing by the pair of symbol numbers; seeded per process like `TextTable`.
struct MergeTable: Sendable {
  struct Merge: Sendable {
    /// Position in the list of merges: the least goes first.
    var rank: UInt32
    /// Number of the symbol that the pair becomes.
    var symbol: Int32
  }

  /// Left symbol in the upper half, right one in the lower; all ones is an empty slot.
  private var keys: [UInt64]
  private var values: [Merge]
  private var count = 0

  private static let empty = UInt64.max
  private static let seed = UInt64.random(in: 0 ... .max) | 1

  init(minimumCapacity: Int) {
    var slotCount = 1024
    while slotCount < minimumCapacity * 2 { slotCount *= 2 }
    keys = [UInt64](repeating: Self.empty, count: slotCount)
    values = [Merge](repeating: Merge(rank: 0, symbol: 0), count: slotCount)
  }

  /// Adds a merge; where the pair is there already, the new one counts only if `replaces`.
  mutating func insert(_ left: Int, _ right: Int, _ merge: Merge, replaces: Bool) {
    if (count + 1) * 2 > keys.count { grow() }
    let key = UInt64(UInt32(left)) << 32 | UInt64(UInt32(right))
    let slot = slot(of: key)
    if keys[slot] == Self.empty {
      count += 1
    } else if !replaces {
      return
    }
    keys[slot] = key
    values[slot] = merge
  }

  /// The merge of two symbols; negative numbers, which stand for text outside the table, have none.
  func merge(_ left: Int32, _ right: Int32) -> Merge? {
    guard left >= 0, right >= 0 else { return nil }
    let slot = slot(of: UInt64(UInt32(left)) << 32 | UInt64(UInt32(right)))
    return keys[slot] == Self.empty ? nil : values[slot]
  }

  private func slot(of key: UInt64) -> Int {
    let mask = keys.count - 1
    var hash = (key ^ Self.seed) &* 0x9E37_79B9_7F4A_7C15
    hash ^= hash >> 32
    hash = hash &* Self.seed
    var slot = Int(truncatingIfNeeded: hash ^ hash >> 29) & mask
    while keys[slot] != key, keys[slot] != Self.empty { slot = (slot + 1) & mask }
    return slot
  }

  private mutating func grow() {
    let (oldKeys, oldValues) = (keys, values)
    keys = [UInt64](repeating: Self.empty, count: oldKeys.count * 2)
    values = [Merge](repeating: Merge(rank: 0, symbol: 0), count: keys.count)
    for (key, value) in zip(oldKeys, oldValues) where key != Self.empty {
      let slot = slot(of: key)
      keys[slot] = key
      values[slot] = value
    }
  }
}
