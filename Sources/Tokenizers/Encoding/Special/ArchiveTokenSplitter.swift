/// Finds the special tokens of an archive in a text, as llama.cpp does.
///
/// Token after token, the longest text first, takes all its occurrences in what the ones before it
/// left over, from left to right. Control tokens and unknown ones count only when special tokens
/// are parsed, user-defined ones always. Of texts of one length the one with the least id goes
/// first here; llama.cpp leaves that to its sorting.
///
/// Where texts of tokens begin alike, a place of the text waits for the longest of them only, and
/// for a shorter one when that is taken: the memory is a few words for each byte of the text.
package struct ArchiveTokenSplitter: Sendable {
  private var ids: [Int32] = []
  private var isControl: [Bool] = []
  private var byteCounts: [Int] = []
  private var longestByteCount = 0
  private var matcher = TextMatcher()

  package init() {}

  package mutating func insert(_ text: some Collection<UInt8>, id: Int32, isControl: Bool) {
    matcher.insert(text, value: ids.count)
    ids.append(id)
    self.isControl.append(isControl)
    byteCounts.append(text.count)
    longestByteCount = max(longestByteCount, text.count)
  }

  package func split(_ text: ArraySlice<UInt8>, parsesSpecial: Bool) -> [Fragment] {
    guard !text.isEmpty else { return [] }
    guard let owners = owners(of: text, parsesSpecial: parsesSpecial) else {
      return [.text(text.indices)]
    }
    var fragments: [Fragment] = []
    var done = text.startIndex
    var index = text.startIndex
    while index < text.endIndex {
      let owner = Int(owners[index - text.startIndex])
      guard owner >= 0 else {
        index += 1
        continue
      }
      if done < index { fragments.append(.text(done..<index)) }
      fragments.append(.token(ids[owner]))
      index += byteCounts[owner]
      done = index
    }
    if done < text.endIndex { fragments.append(.text(done..<text.endIndex)) }
    return fragments
  }

  private static let unowned: Int32 = -1

  /// Which token took each byte of the text, or `unowned`; `nil` when none took any.
  private func owners(of text: ArraySlice<UInt8>, parsesSpecial: Bool) -> [Int32]? {
    /// `value`, or the longest beginning of it that counts.
    func counting(_ value: Int?) -> Int? {
      var value = value
      while let candidate = value, isControl[candidate], !parsesSpecial {
        value = matcher.longestPrefix(of: candidate)
      }
      return value
    }
    guard !matcher.isEmpty else { return nil }
    // Where each token may start, by its length and its number. A place is in one list at a time.
    var waiting = [[Int: [Int]]](repeating: [:], count: longestByteCount + 1)
    var isFound = false
    for start in text.indices {
      guard let value = counting(matcher.longestMatch(in: text, at: start)?.value) else { continue }
      waiting[byteCounts[value]][value, default: []].append(start - text.startIndex)
      isFound = true
    }
    guard isFound else { return nil }
    var owners = [Int32](repeating: Self.unowned, count: text.count)
    for byteCount in waiting.indices.reversed() {
      let places = waiting[byteCount]
      waiting[byteCount] = [:]
      for value in places.keys.sorted() {
        let shorter = counting(matcher.longestPrefix(of: value))
        // One ascending run for each token that left places to this one: sorting merges them.
        for low in (places[value] ?? []).sorted() {
          let high = low + byteCount
          guard owners[low] == Self.unowned else { continue }
          // What took bytes before is as long or longer, so one at either end tells of any inside.
          if owners[high - 1] == Self.unowned {
            for index in low..<high { owners[index] = Int32(value) }
          } else if let shorter {
            waiting[byteCounts[shorter]][shorter, default: []].append(low)
          }
        }
      }
    }
    return owners
  }
}
