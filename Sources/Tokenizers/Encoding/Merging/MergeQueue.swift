/// Candidate merges, the least key first.
///
/// A binary heap. The upper half of a key is the order of the merge, the lower half the position of
/// its left symbol, so that equal merges go from left to right.
struct MergeQueue {
  struct Candidate {
    var key: UInt64
    /// What the candidate was made of, to tell whether it still holds.
    var tag: UInt32

    init(order: UInt32, left: Int, tag: UInt32) {
      key = UInt64(order) << 32 | UInt64(UInt32(left))
      self.tag = tag
    }

    var order: UInt32 { UInt32(key >> 32) }
    var left: Int { Int(key & 0xFFFF_FFFF) }
  }

  private var heap: [Candidate] = []

  mutating func removeAll() { heap.removeAll(keepingCapacity: true) }

  mutating func push(_ candidate: Candidate) {
    var index = heap.count
    heap.append(candidate)
    while index > 0 {
      let parent = (index - 1) / 2
      guard heap[parent].key > candidate.key else { break }
      heap[index] = heap[parent]
      index = parent
    }
    heap[index] = candidate
  }

  mutating func pop() -> Candidate? {
    guard let last = heap.popLast() else { return nil }
    guard let top = heap.first else { return last }
    var index = 0
    while true {
      var child = 2 * index + 1
      guard child < heap.count else { break }
      if child + 1 < heap.count, heap[child + 1].key < heap[child].key { child += 1 }
      guard heap[child].key < last.key else { break }
      heap[index] = heap[child]
      index = child
    }
    heap[index] = last
    return top
  }
}
