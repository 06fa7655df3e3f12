/// Merges the symbols of one word by rank, as byte-pair encoding does.
///
/// Symbols are a linked list in arrays; a removed one has a `next` of -2. Time is proportional to
/// n log n whatever the word.
struct RankedMerging {
  private var symbols: [Int32] = []
  private var next: [Int32] = []
  private var previous: [Int32] = []
  private var queue = MergeQueue()

  private static let removed: Int32 = -2

  mutating func begin() {
    symbols.removeAll(keepingCapacity: true)
    next.removeAll(keepingCapacity: true)
    previous.removeAll(keepingCapacity: true)
    queue.removeAll()
  }

  /// Appends a symbol; a negative one is text that merges with nothing.
  mutating func append(_ symbol: Int32) {
    let index = Int32(symbols.count)
    if index > 0 { next[Int(index) - 1] = index }
    symbols.append(symbol)
    previous.append(index - 1)
    next.append(-1)
  }

  /// Merges until nothing can be merged, and calls `body` with each symbol that is left.
  mutating func finish(_ table: MergeTable, _ body: (Int32) -> Void) {
    guard !symbols.isEmpty else { return }
    for left in 0..<(symbols.count - 1) { propose(left, table) }
    while let top = queue.pop() {
      let left = top.left
      let rightIndex = next[left]
      // The pair is the one that was proposed if its merge has the same rank.
      guard rightIndex >= 0, let merge = table.merge(symbols[left], symbols[Int(rightIndex)]),
        merge.rank == top.order
      else { continue }
      let right = Int(rightIndex)
      symbols[left] = merge.symbol
      next[left] = next[right]
      if next[right] >= 0 { previous[Int(next[right])] = Int32(left) }
      next[right] = Self.removed
      if previous[left] >= 0 { propose(Int(previous[left]), table) }
      propose(left, table)
    }
    var index: Int32 = 0
    while index >= 0 {
      body(symbols[Int(index)])
      index = next[Int(index)]
    }
  }

  private mutating func propose(_ left: Int, _ table: MergeTable) {
    let right = next[left]
    guard right >= 0, let merge = table.merge(symbols[left], symbols[Int(right)]) else { return }
    queue.push(.init(order: merge.rank, left: left, tag: 0))
  }
}
