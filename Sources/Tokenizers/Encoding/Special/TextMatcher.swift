/// Finds texts of a fixed set in a longer text, the leftmost first and of those the longest.
///
/// A trie over bytes. A position costs at most the length of the longest text, which is bounded.
struct TextMatcher: Sendable {
  struct Match: Equatable {
    var range: Range<Int>
    /// What was given with the text.
    var value: Int
  }

  /// Longest text that is matched, in bytes; the longest published special token has fewer than 100.
  static let textByteLimit = 1024

  /// Child of node n at byte b, by n << 8 | b.
  private var children: [Int: Int32] = [:]
  private var rootChildren = [Int32](repeating: -1, count: 256)
  private var values: [Int] = [-1]
  private var parents: [Int32] = [0]
  /// The node of each value that was given.
  private var nodes: [Int: Int32] = [:]

  var isEmpty: Bool { values.count == 1 }

  /// Adds a text; a text that is there already gets the new value.
  mutating func insert(_ text: some Sequence<UInt8>, value: Int) {
    var node = 0
    for byte in text {
      if let child = child(of: node, byte) {
        node = child
        continue
      }
      let new = values.count
      values.append(-1)
      parents.append(Int32(node))
      if node == 0 {
        rootChildren[Int(byte)] = Int32(new)
      } else {
        children[node << 8 | Int(byte)] = Int32(new)
      }
      node = new
    }
    guard node != 0 else { return }
    values[node] = value
    nodes[value] = Int32(node)
  }

  /// The longest text that a text begins with, itself left out.
  func longestPrefix(of value: Int) -> Int? {
    guard var node = nodes[value].map({ Int($0) }) else { return nil }
    while node != 0 {
      node = Int(parents[node])
      if values[node] >= 0 { return values[node] }
    }
    return nil
  }

  /// The longest text that starts at `start`.
  func longestMatch(in text: ArraySlice<UInt8>, at start: Int) -> Match? {
    var best: Match?
    walk(text, start) { end, value in best = Match(range: start..<end, value: value) }
    return best
  }

  /// Calls `body` with every text that starts at `start`, the shortest first.
  func walk(
    _ text: ArraySlice<UInt8>, _ start: Int, _ body: (_ end: Int, _ value: Int) -> Void
  ) {
    var node = 0
    var index = start
    while index < text.endIndex, let child = child(of: node, text[index]) {
      node = child
      index += 1
      if values[node] >= 0 { body(index, values[node]) }
    }
  }

  private func child(of node: Int, _ byte: UInt8) -> Int? {
    if node == 0 {
      let child = rootChildren[Int(byte)]
      return child < 0 ? nil : Int(child)
    }
    return children[node << 8 | Int(byte)].map { Int($0) }
  }
}
