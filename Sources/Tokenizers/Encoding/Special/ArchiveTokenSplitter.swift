/// Finds the special tokens of an archive in a text, as llama.cpp does.
///
/// Token after token, the longest text first, takes all its occurrences in what the ones before it
/// left over, from left to right. Control tokens and unknown ones count only when special tokens
/// are parsed, user-defined ones always. Of texts of one length the one with the least id goes
/// first here; llama.cpp leaves that to its sorting.
struct ArchiveTokenSplitter: Sendable {
  private var ids: [Int32] = []
  private var isControl: [Bool] = []
  private var byteCounts: [Int] = []
  private var matcher = TextMatcher()

  mutating func insert(_ text: some Collection<UInt8>, id: Int32, isControl: Bool) {
    matcher.insert(text, value: ids.count)
    ids.append(id)
    self.isControl.append(isControl)
    byteCounts.append(text.count)
  }

  func split(_ text: ArraySlice<UInt8>, parsesSpecial: Bool) -> [Fragment] {
    guard !text.isEmpty else { return [] }
    let found = occurrences(text, parsesSpecial: parsesSpecial)
    guard !found.isEmpty else { return [.text(text.indices)] }
    // Which token took a byte, plus one; zero for none.
    var taken: [Bool] = [Bool](repeating: false, count: text.count)
    var starts: [(start: Int, value: Int)] = []
    for (start, value) in found {
      let low = start - text.startIndex
      let high = low + byteCounts[value]
      // What took bytes before is as long or longer, so one at either end tells of any inside.
      guard !taken[low], !taken[high - 1] else { continue }
      for index in low..<high { taken[index] = true }
      starts.append((start, value))
    }
    starts.sort { $0.start < $1.start }
    var fragments: [Fragment] = []
    var done = text.startIndex
    for (start, value) in starts {
      if done < start { fragments.append(.text(done..<start)) }
      fragments.append(.token(ids[value]))
      done = start + byteCounts[value]
    }
    if done < text.endIndex { fragments.append(.text(done..<text.endIndex)) }
    return fragments
  }

  /// All occurrences that count, in the order in which they are taken.
  private func occurrences(_ text: ArraySlice<UInt8>, parsesSpecial: Bool) -> [(
    start: Int, value: Int
  )] {
    guard !matcher.isEmpty else { return [] }
    var found: [(start: Int, value: Int)] = []
    for start in text.indices {
      matcher.walk(text, start) { _, value in
        if parsesSpecial || !isControl[value] { found.append((start, value)) }
      }
    }
    found.sort { a, b in
      if byteCounts[a.value] != byteCounts[b.value] {
        return byteCounts[a.value] > byteCounts[b.value]
      }
      if a.value != b.value { return a.value < b.value }
      return a.start < b.start
    }
    return found
  }
}
