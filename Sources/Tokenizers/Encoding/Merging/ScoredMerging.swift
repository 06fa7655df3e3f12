/// Merges neighbouring parts of a text by the score of the token that they become.
///
/// Parts start as characters. The pair whose joined text is a token with the greatest score goes
/// first, of equal scores the leftmost. This is SentencePiece's byte-pair encoding.
struct ScoredMerging {
  struct Part {
    var start: Int
    /// Bytes; zero once merged into the part before.
    var byteCount: Int
    var next: Int32 = -1
    var previous: Int32 = -1
    /// A token that was matched as a whole and merges with nothing.
    var isFrozen = false
  }

  private(set) var parts: [Part] = []
  private var queue = MergeQueue()

  mutating func append(start: Int, byteCount: Int, isFrozen: Bool) {
    let index = Int32(parts.count)
    if index > 0 { parts[Int(index) - 1].next = index }
    parts.append(
      Part(start: start, byteCount: byteCount, previous: index - 1, isFrozen: isFrozen))
  }

  /// Merges until nothing can be merged.
  ///
  /// - Parameters:
  ///   - text: what the parts are parts of.
  ///   - table: texts of tokens.
  ///   - scores: by number in `table`.
  ///   - proposed: called with each pair that could be merged: number of its token, bytes of its left part.
  mutating func run(
    _ text: ArraySlice<UInt8>, _ table: TextTable, scores: [Float],
    proposed: (_ number: Int, _ leftByteCount: Int) -> Void = { _, _ in }
  ) {
    guard parts.count > 1 else { return }
    for left in 0..<(parts.count - 1) { propose(left, text, table, scores, proposed) }
    while let top = queue.pop() {
      let left = top.left
      guard parts[left].byteCount > 0, parts[left].next >= 0 else { continue }
      let right = Int(parts[left].next)
      guard parts[left].byteCount + parts[right].byteCount == Int(top.tag) else { continue }
      parts[left].byteCount += parts[right].byteCount
      parts[right].byteCount = 0
      let after = parts[right].next
      parts[left].next = after
      if after >= 0 { parts[Int(after)].previous = Int32(left) }
      if parts[left].previous >= 0 {
        propose(Int(parts[left].previous), text, table, scores, proposed)
      }
      propose(left, text, table, scores, proposed)
    }
  }

  /// Calls `body` with the range of each part that is left.
  func forEach(_ body: (Range<Int>) -> Void) {
    var index: Int32 = parts.isEmpty ? -1 : 0
    while index >= 0 {
      let part = parts[Int(index)]
      body(part.start..<(part.start + part.byteCount))
      index = part.next
    }
  }

  private mutating func propose(
    _ left: Int, _ text: ArraySlice<UInt8>, _ table: TextTable, _ scores: [Float],
    _ proposed: (Int, Int) -> Void
  ) {
    guard parts[left].next >= 0 else { return }
    let right = Int(parts[left].next)
    guard !parts[left].isFrozen, !parts[right].isFrozen else { return }
    let start = parts[left].start
    let byteCount = parts[left].byteCount + parts[right].byteCount
    guard let number = table.number(of: text, start..<(start + byteCount)) else { return }
    queue.push(
      .init(order: Self.order(scores[number]), left: left, tag: UInt32(byteCount)))
    proposed(number, parts[left].byteCount)
  }

  /// A number that is the less the greater the score.
  private static func order(_ score: Float) -> UInt32 {
    // -0 and 0 are equal scores.
    let bits = (score == 0 ? 0 : score).bitPattern
    let ascending = bits >> 31 == 0 ? bits | 0x8000_0000 : ~bits
    return ~ascending
  }
}
