/// Distinct byte strings, numbered in the order in which they came, found by their bytes.
///
/// Open addressing over one array of bytes. The hash is seeded per process, so that no file can be
/// made to collide; the numbers depend on the order of insertion only.
struct TextTable: Sendable {
  private(set) var bytes: [UInt8] = []
  private var ends: [Int] = [0]
  /// Number plus one; zero is an empty slot.
  private var slots: [UInt32]
  private(set) var greatestByteCount = 0

  private static let seed = UInt64.random(in: 0 ... .max) | 1

  init(minimumCapacity: Int = 0) {
    var slotCount = 1024
    while slotCount < minimumCapacity * 2 { slotCount *= 2 }
    slots = [UInt32](repeating: 0, count: slotCount)
  }

  var count: Int { ends.count - 1 }

  subscript(number: Int) -> ArraySlice<UInt8> { bytes[ends[number]..<ends[number + 1]] }

  /// Number of the text, which is added if it is new.
  mutating func insert(_ text: some Collection<UInt8>) -> (number: Int, isNew: Bool) {
    if (count + 1) * 2 > slots.count { grow() }
    let text = ArraySlice(text)
    let slot = slot(of: text, text.indices)
    if slots[slot] != 0 { return (Int(slots[slot]) - 1, false) }
    bytes.append(contentsOf: text)
    ends.append(bytes.count)
    slots[slot] = UInt32(count)
    greatestByteCount = max(greatestByteCount, text.count)
    return (count - 1, true)
  }

  /// Number of the text in `range` of `source`; `nil` when there is none.
  func number(of source: ArraySlice<UInt8>, _ range: Range<Int>) -> Int? {
    guard range.count <= greatestByteCount else { return nil }
    let found = slots[slot(of: source, range)]
    return found == 0 ? nil : Int(found) - 1
  }

  func number(of text: some Collection<UInt8>) -> Int? {
    let text = ArraySlice(text)
    return number(of: text, text.indices)
  }

  private func slot(of source: ArraySlice<UInt8>, _ range: Range<Int>) -> Int {
    let mask = slots.count - 1
    var slot = Int(truncatingIfNeeded: Self.hash(source, range)) & mask
    while slots[slot] != 0, !isEqual(Int(slots[slot]) - 1, source, range) {
      slot = (slot + 1) & mask
    }
    return slot
  }

  private static func hash(_ source: ArraySlice<UInt8>, _ range: Range<Int>) -> UInt64 {
    var hash = seed
    for index in range {
      hash = (hash ^ UInt64(source[index])) &* 0x9E37_79B9_7F4A_7C15
      hash ^= hash >> 29
    }
    hash = (hash ^ UInt64(range.count)) &* seed
    return hash ^ hash >> 32
  }

  private func isEqual(_ number: Int, _ source: ArraySlice<UInt8>, _ range: Range<Int>) -> Bool {
    let start = ends[number]
    guard ends[number + 1] - start == range.count else { return false }
    for offset in 0..<range.count where bytes[start + offset] != source[range.lowerBound + offset] {
      return false
    }
    return true
  }

  private mutating func grow() {
    slots = [UInt32](repeating: 0, count: slots.count * 2)
    for number in 0..<count {
      slots[slot(of: bytes[...], ends[number]..<ends[number + 1])] = UInt32(number + 1)
    }
  }
}
