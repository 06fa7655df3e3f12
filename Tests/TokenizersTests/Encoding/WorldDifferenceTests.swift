import TestSupport
import Testing
import Tokenizers

/// One test for each difference that formats/tokenizers/encoding.md lists.
///
/// The tokenizers `hard-*` have merges across every place where a split may be.
struct WorldDifferenceTests {
  private func encoders(_ name: String, _ preTokenizer: String) throws -> (
    checkpoint: TokenEncoder, archive: TokenEncoder
  ) {
    let fixture = "tokenizers/encoding/" + name
    return (
      try checkpointEncoder(fixture),
      try archiveEncoder(Fixtures.path(fixture), preTokenizer: preTokenizer)
    )
  }

  private func tokens(_ encoder: TokenEncoder, _ text: String) -> [Int32] {
    encoder.encode(text, addsSpecial: false, parsesSpecial: true)
  }

  @Test func everyDifferenceIsListed() throws {
    let page = String(
      decoding: try Fixtures.bytes("../formats/tokenizers/encoding.md"), as: UTF8.self)
    let listed = page.split(separator: "\n").filter { $0.hasPrefix("| ") && $0.contains("`D") }
    #expect(listed.count == 6)
  }

  @Test func d1CharactersNewerThanUnicode15() throws {
    // U+1C89 is an upper-case letter since 16.0.
    let (checkpoint, archive) = try encoders("hard-llama3", "llama-bpe")
    #expect(tokens(checkpoint, "\u{1C89}'K") != tokens(archive, "\u{1C89}'K"))
    #expect(tokens(checkpoint, "\u{10A0}'K") == tokens(archive, "\u{10A0}'K"))
  }

  /// Ids by the two programs for a vocabulary whose merges cross the place of the split.
  @Test func d2LongSInContractions() throws {
    let folder = TemporaryFolder()
    folder.write("config.json", "{}")
    folder.write("tokenizer_config.json", "{}")
    folder.write(
      "tokenizer.json",
      #"""
      {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex":
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
      }, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]},
      "model": {"type": "BPE", "vocab": {"'": 0, "Å": 1, "¿": 2, "x": 3, "Å¿": 4, "Å¿x": 5, "s": 6, "sx": 7},
      "merges": ["Å ¿", "Å¿ x", "s x"]}}
      """#)
    let checkpoint = try TokenEncoder(checkpoint: folder.path, vocabularySize: nil)
    let archive = try archiveEncoder(folder.path, preTokenizer: "llama-bpe")
    #expect(tokens(checkpoint, "'\u{17F}x") == [0, 4, 3])
    #expect(tokens(archive, "'\u{17F}x") == [0, 5])
    #expect(tokens(checkpoint, "'sx") == [0, 6, 3])
    #expect(tokens(archive, "'sx") == [0, 6, 3])
  }

  @Test func d3MarksInCasedWords() throws {
    let (checkpoint, archive) = try encoders("hard-llama4", "llama4")
    #expect(tokens(checkpoint, "e\u{301}") != tokens(archive, "e\u{301}"))
    #expect(tokens(checkpoint, "\u{E9}") == tokens(archive, "\u{E9}"))
  }

  @Test func d4CaseBeyondASCII() throws {
    let (checkpoint, archive) = try encoders("hard-llama4", "llama4")
    let texts = try EncodingGolden.shared.get().texts
    let differing = texts.filter { text in
      !text.unicodeScalars.contains { isMark($0) || $0.value == 0x17F }
        && !text.unicodeScalars.contains { $0.value > 0xFFFF || $0.value == 0x1C89 }
        && tokens(checkpoint, text) != tokens(archive, text)
        && text.unicodeScalars.contains { $0.value > 127 && $0.properties.isUppercase }
    }
    #expect(!differing.isEmpty)
  }

  private func isMark(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark: true
    default: false
    }
  }

  @Test func d5SpacesAroundSpecialTokens() throws {
    let (checkpoint, archive) = try encoders("hard-llama3", "llama-bpe")
    #expect(tokens(checkpoint, "x  [left]") != tokens(archive, "x  [left]"))
    #expect(tokens(checkpoint, "[right]  x") != tokens(archive, "[right]  x"))
  }

  @Test func d6TokensThatStandAlone() throws {
    let (checkpoint, archive) = try encoders("hard-llama3", "llama-bpe")
    #expect(tokens(checkpoint, "a word b") == tokens(archive, "a word b"))
    #expect(tokens(checkpoint, "swords") != tokens(archive, "swords"))
  }
}
