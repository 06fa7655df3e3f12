import TestSupport
import Testing
import Tokenizers

#if canImport(Glibc)
  import Glibc
#endif

// MARK: Archives

/// Tokens whose texts begin and end like each other's.
private let nestedTexts = ["a", "aa", "aab", "aaaa", "ab", "ba", "bab", "baaab", "c", "cc", "b\n"]

private func splitter(_ texts: [String], isControl: (Int) -> Bool = { _ in false })
  -> ArchiveTokenSplitter
{
  var splitter = ArchiveTokenSplitter()
  for (id, text) in texts.enumerated() {
    splitter.insert(Array(text.utf8), id: Int32(id), isControl: isControl(id))
  }
  return splitter
}

/// The definition: token after token, the longest text first, takes what the ones before it left.
private func splitByDefinition(_ texts: [String], without skipped: (Int) -> Bool, _ text: [UInt8])
  -> [Fragment]
{
  let order = texts.indices.filter { !skipped($0) }.sorted {
    (texts[$1].utf8.count, $0) < (texts[$0].utf8.count, $1)
  }
  var fragments: [Fragment] = text.isEmpty ? [] : [.text(text.indices)]
  for id in order {
    let token = Array(texts[id].utf8)
    fragments = fragments.flatMap { fragment -> [Fragment] in
      guard case .text(let range) = fragment else { return [fragment] }
      var parts: [Fragment] = []
      var done = range.lowerBound
      var index = done
      while index + token.count <= range.upperBound {
        guard text[index..<index + token.count].elementsEqual(token) else {
          index += 1
          continue
        }
        if done < index { parts.append(.text(done..<index)) }
        parts.append(.token(Int32(id)))
        index += token.count
        done = index
      }
      if done < range.upperBound { parts.append(.text(done..<range.upperBound)) }
      return parts
    }
  }
  return fragments
}

@Test func nestedTokensOfArchivesAreTakenByTheirDefinition() {
  let alphabet = Array("aaabbc\nx".utf8)
  var random = SplitMix64(seed: 6)
  for round in 0..<3000 {
    let count = round % 40
    let text = (0..<count).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &random)] }
    func isControl(_ id: Int) -> Bool { (round >> id) & 1 != 0 }
    let splitter = splitter(nestedTexts, isControl: isControl)
    // A slice whose indices do not begin at 0, as the encoders give them.
    let padded = [UInt8(ascii: "a")] + text
    for parsesSpecial in [true, false] {
      let expected = splitByDefinition(
        nestedTexts, without: { isControl($0) && !parsesSpecial }, text)
      let found = splitter.split(padded[1...], parsesSpecial: parsesSpecial).map { fragment in
        guard case .text(let range) = fragment else { return fragment }
        return Fragment.text(range.lowerBound - 1..<range.upperBound - 1)
      }
      let string = String(decoding: text, as: UTF8.self).debugDescription
      #expect(found == expected, "\(string), \(parsesSpecial), control \(round)")
    }
  }
}

/// Four times the text takes four times the processor time, with room: not sixteen.
@Test(arguments: [2, 60]) func nestedTokensOfArchivesTakeLinearTime(_ depth: Int) {
  let splitter = splitter((1...depth).map { String(repeating: "a", count: $0) })
  func time(_ count: Int) -> Double {
    let text = [UInt8](repeating: UInt8(ascii: "a"), count: count)
    var fragments: [Fragment] = []
    let time = processorTime { fragments = splitter.split(text[...], parsesSpecial: true) }
    #expect(fragments.count == (count + depth - 1) / depth)
    return time
  }
  let (quarter, whole) = (time(1 << 16), time(1 << 18))
  #expect(whole < max(9 * quarter, 2), "\(quarter) s, then \(whole) s")
}

#if os(Linux)
  /// Leaves this process so many bytes of address space more than it has.
  private func setAddressSpaceLimit(_ more: Int) -> Bool {
    guard let file = fopen("/proc/self/statm", "r") else { return false }
    defer { fclose(file) }
    // The first number is the size in pages.
    var line = [CChar](repeating: 0, count: 64)
    guard fgets(&line, Int32(line.count), file) != nil else { return false }
    guard !Command.isWatched else { return true }
    let limit = rlim_t(atol(line) * Int(getpagesize()) + more)
    var limits = rlimit(rlim_cur: limit, rlim_max: limit)
    return setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limits) == 0
  }

  /// However many tokens begin at a place, a text takes a bounded multiple of its size: here 100
  /// begin at each of half a million, and 300 MB have to do.
  @Test func nestedTokensOfArchivesTakeBoundedMemory() async {
    await #expect(processExitsWith: .success) {
      let splitter = splitter((1...100).map { String(repeating: "a", count: $0) })
      let text = [UInt8](repeating: UInt8(ascii: "a"), count: 1 << 19)
      try #require(setAddressSpaceLimit(300_000_000))
      #expect(splitter.split(text[...], parsesSpecial: true).count == (1 << 19) / 100 + 1)
    }
  }
#endif

// MARK: Checkpoints

/// A byte-level tokenizer with tokens that take white space around them along.
private func strippingEncoder(_ added: [(content: String, left: Bool, right: Bool)]) throws
  -> TokenEncoder
{
  let folder = TemporaryFolder()
  folder.write("config.json", "{}")
  folder.write("tokenizer_config.json", "{}")
  let tokens = added.enumerated().map { index, token in
    #"{"id": \#(6 + index), "content": "\#(token.content)", "lstrip": \#(token.left), "#
      + #""rstrip": \#(token.right), "normalized": false, "special": false}"#
  }
  folder.write(
    "tokenizer.json",
    #"{"added_tokens": ["# + tokens.joined(separator: ", ")
      + #"""
      ], "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex":
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      }, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]},
      "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "x": 2, "Ġ": 3, "ĉ": 4, "Ċ": 5}, "merges": []}}
      """#)
  return try TokenEncoder(checkpoint: folder.path, vocabularySize: nil)
}

private func strippingLeft() throws -> TokenEncoder {
  try strippingEncoder([(#"\t"#, true, false), ("<T>", true, false), (#"\n"#, true, false)])
}

private func strippingRight() throws -> TokenEncoder {
  try strippingEncoder([("  ", false, true), ("<T>", false, true), ("<#>", true, true)])
}

/// Ids by tokenizers 0.23.3 for these very files.
@Test func whiteSpaceAroundTokensGoesAsInTheTokenizersLibrary() throws {
  let left = try strippingLeft()
  for (text, ids) in [
    ("a \tb", [0, 6, 1]), ("a    b", [0, 3, 3, 3, 3, 1]), ("a     \t\t b", [0, 6, 6, 3, 1]),
    (" <T>  <T> \n b", [7, 7, 8, 3, 1]), ("<T>  <T> \n\n   x", [7, 7, 8, 8, 3, 3, 3, 2]),
    ("\t \t \t", [6, 6, 6]), ("<T> \n ", [7, 8, 3]), ("<T> b <T>   ", [7, 3, 1, 7, 3, 3, 3]),
  ] as [(String, [Int32])] {
    #expect(
      left.encode(text, addsSpecial: false, parsesSpecial: true) == ids, "\(text.debugDescription)")
  }
  let right = try strippingRight()
  for (text, ids) in [
    ("a \tb", [0, 3, 4, 1]), ("a    b", [0, 6, 6, 1]), ("a     \t\t b", [0, 6, 6, 1]),
    (" <T>  <T> \n b", [3, 7, 6, 7, 1]), ("<T>  <T> \n\n   x", [7, 6, 7, 6, 2]),
    ("\t \t \t", [4, 3, 4, 3, 4]), ("   <#>  <#>  x", [6, 8, 6, 8, 6, 2]),
    ("<T>    <#>  <T>", [7, 6, 6, 8, 6, 7]), ("<T> \n ", [7]), ("<T> b <T>   ", [7, 1, 3, 7, 6]),
  ] as [(String, [Int32])] {
    #expect(
      right.encode(text, addsSpecial: false, parsesSpecial: true) == ids, "\(text.debugDescription)"
    )
  }
}

/// Each of the tokens in a run of white space has the whole run beside it.
@Test func whiteSpaceAroundTokensTakesLinearTime() throws {
  for (encoder, character) in [(try strippingLeft(), "\n"), (try strippingRight(), " ")] {
    func time(_ count: Int) -> Double {
      let text = Array(String(repeating: character, count: count).utf8)
      var tokens: [Int32] = []
      let time = processorTime {
        tokens = encoder.encode(text, addsSpecial: false, parsesSpecial: true)
      }
      #expect(tokens.count == (character == " " ? count / 2 : count))
      return time
    }
    let (quarter, whole) = (time(1 << 16), time(1 << 18))
    #expect(whole < max(9 * quarter, 2), "\(quarter) s, then \(whole) s")
  }
}
