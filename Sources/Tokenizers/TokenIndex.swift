import Tensors

/// Finds strings of a `StringTable` by their bytes, without a copy of any of them.
///
/// An open-addressing table of positions: four bytes per slot, two slots or more per string. The
/// hash is seeded per process, so a file cannot be made to collide.
struct TokenIndex {
  /// Position in the table plus one; zero is an empty slot.
  private var slots: [UInt32]
  private var count = 0

  init(minimumCapacity: Int = 0) {
    var slotCount = 1024
    while slotCount < minimumCapacity * 2 { slotCount *= 2 }
    slots = [UInt32](repeating: 0, count: slotCount)
  }

  /// Adds string `position` of `table`; `false` when an equal string is there already.
  mutating func insert(_ position: Int, in table: StringTable) -> Bool {
    if (count + 1) * 2 > slots.count { grow(table) }
    let slot = slotIndex(of: table[position], in: table)
    guard slots[slot] == 0 else { return false }
    slots[slot] = UInt32(position) + 1
    count += 1
    return true
  }

  /// Position of the string in `table` that has these bytes.
  func position(of bytes: ArraySlice<UInt8>, in table: StringTable) -> Int? {
    let found = slots[slotIndex(of: bytes, in: table)]
    return found == 0 ? nil : Int(found) - 1
  }

  private func slotIndex(of bytes: ArraySlice<UInt8>, in table: StringTable) -> Int {
    var hasher = Hasher()
    bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    let mask = slots.count - 1
    var slot = hasher.finalize() & mask
    while slots[slot] != 0, table[Int(slots[slot]) - 1] != bytes { slot = (slot + 1) & mask }
    return slot
  }

  private mutating func grow(_ table: StringTable) {
    let old = slots
    slots = [UInt32](repeating: 0, count: old.count * 2)
    for entry in old where entry != 0 {
      slots[slotIndex(of: table[Int(entry) - 1], in: table)] = entry
    }
  }
}
