import StrictJSON
import TestSupport
import Testing
import Tokenizers

private let encoding = "tokenizers/encoding/"

@Test(arguments: [
  ("llama3", "models/llama3"), ("llama4", encoding + "llama4"), ("llama2", "models/llama2"),
])
func checkpointGivesTheTokensOfTheModelsReference(_ model: String, _ fixture: String) throws {
  let document = try JSONValue(
    file: Fixtures.path("models/expected/tokens.json"), limit: 1 << 20)
  let texts = try #require(document["cases"]?.array).compactMap(\.string)
  let lists = try #require(document[model]?.array)
  let ids = lists.map { ($0.array ?? []).compactMap { $0.int.map { Int32($0) } } }
  #expect(texts.count > 50)
  expectTokens(
    try checkpointEncoder(fixture), texts, ids, parsesSpecial: model != "llama2")
}

@Test(arguments: ["hard-llama3", "hard-llama4", "characters-prep", "characters-metafirst"])
func checkpointEqualsTheTokenizersLibrary(_ name: String) throws {
  let golden = try EncodingGolden.shared.get()
  let encoder = try checkpointEncoder(encoding + name)
  for mode in ["parsed", "plain"] {
    let ids = try golden.ids(name + "/tokenizers", mode)
    expectTokens(encoder, golden.texts, ids, parsesSpecial: mode == "parsed")
  }
}

@Test(arguments: [
  ("llama2", "models/llama2"), ("sentencepiece-extra", encoding + "sentencepiece-extra"),
  ("sentencepiece-unused", encoding + "sentencepiece-unused"),
  ("sentencepiece-user", encoding + "sentencepiece-user"),
])
func checkpointEqualsTheSentencePieceLibrary(_ name: String, _ fixture: String) throws {
  let golden = try EncodingGolden.shared.get()
  expectTokens(
    try checkpointEncoder(fixture), golden.texts, try golden.ids(name + "/sentencepiece", "plain"),
    parsesSpecial: false)
}

@Test(arguments: [
  ("hard-llama3", encoding + "hard-llama3", "llama-bpe"),
  ("hard-llama4", encoding + "hard-llama4", "llama4"), ("llama2", "models/llama2", "default"),
])
func archiveEqualsLlamaCpp(_ name: String, _ fixture: String, _ preTokenizer: String) throws {
  let golden = try EncodingGolden.shared.get()
  let encoder = try archiveEncoder(Fixtures.path(fixture), preTokenizer: preTokenizer)
  for mode in ["parsed", "plain"] {
    expectTokens(
      encoder, golden.texts, try golden.ids(name + "/llama.cpp", mode),
      parsesSpecial: mode == "parsed")
  }
}

@Test func promptsBeginAsTheModelSays() throws {
  for fixture in ["models/llama3", "models/llama2"] {
    let checkpoint = try checkpointEncoder(fixture)
    let archive = try archiveEncoder(Fixtures.path(fixture))
    for encoder in [checkpoint, archive] {
      let bos = try #require(encoder.beginningOfText)
      #expect(encoder.addsBeginningOfText)
      #expect(!encoder.addsEndOfText)
      #expect(encoder.tokenCount == 2048)
      #expect(encoder.encode("", addsSpecial: true, parsesSpecial: false) == [bos])
      #expect(encoder.encode("", addsSpecial: false, parsesSpecial: false) == [])
      #expect(encoder.encode("a", addsSpecial: true, parsesSpecial: false).first == bos)
    }
    #expect(checkpoint.beginningOfText == archive.beginningOfText)
  }
}

@Test func tokensStandForTheirBytes() throws {
  for fixture in ["models/llama3", "models/llama2"] {
    for encoder in [try checkpointEncoder(fixture), try archiveEncoder(Fixtures.path(fixture))] {
      let text = "naïve 中文\n\t🙂 x"
      let tokens = encoder.encode(text, addsSpecial: false, parsesSpecial: false)
      // SentencePiece puts a space before.
      let prefix = fixture.contains("llama2") ? " " : ""
      #expect(encoder.text(of: tokens) == prefix + text)
      #expect(encoder.bytes(of: -1).isEmpty)
      #expect(encoder.bytes(of: 2048).isEmpty)
    }
  }
}

@Test func invalidTextIsReplacedOrTakenAsLlamaCppDoes() throws {
  let bytes: [UInt8] = [0x61, 0xE4, 0xB8, 0x62]
  let checkpoint = try checkpointEncoder("models/llama3")
  #expect(
    checkpoint.encode(bytes, addsSpecial: false, parsesSpecial: false)
      == checkpoint.encode("a\u{FFFD}b", addsSpecial: false, parsesSpecial: false))
  let byteLevel = try archiveEncoder(Fixtures.path("models/llama3"))
  #expect(
    byteLevel.encode(bytes, addsSpecial: false, parsesSpecial: false)
      == byteLevel.encode("a\u{FFFD}\u{FFFD}b", addsSpecial: false, parsesSpecial: false))
  // Bytes stay bytes; a lead byte takes its followers along.
  let scored = try archiveEncoder(Fixtures.path("models/llama2"))
  let tokens = scored.encode(bytes, addsSpecial: false, parsesSpecial: false)
  #expect(tokens.flatMap { scored.bytes(of: $0) } == [0x20] + bytes)
}
