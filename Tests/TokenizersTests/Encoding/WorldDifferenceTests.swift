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

  @Test func d2LongSInContractions() throws {
    let (checkpoint, archive) = try encoders("hard-llama3", "llama-bpe")
    #expect(tokens(checkpoint, "a'\u{17F}word") != tokens(archive, "a'\u{17F}word"))
    #expect(tokens(checkpoint, "a'sword") == tokens(archive, "a'sword"))
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
