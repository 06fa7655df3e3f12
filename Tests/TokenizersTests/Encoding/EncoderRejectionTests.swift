import ByteIO
import Tensors
import TestSupport
import Testing
import Tokenizers

/// A byte-level archive's tokenizer that can be spoiled.
private func archive(_ change: (inout Metadata) -> Void = { _ in }) -> Metadata {
  var metadata = Metadata()
  metadata["tokenizer.ggml.model"] = .string("gpt2")
  metadata["tokenizer.ggml.pre"] = .string("llama-bpe")
  metadata["tokenizer.ggml.tokens"] = .array(.string(StringTable(["a", "b", "ab", "<|x|>"])))
  metadata["tokenizer.ggml.token_type"] = .array(.int32([1, 1, 1, 3]))
  metadata["tokenizer.ggml.merges"] = .array(.string(StringTable(["a b"])))
  change(&metadata)
  return metadata
}

private func failure(_ metadata: Metadata) -> String? {
  do {
    _ = try TokenEncoder(archive: metadata, file: "x.gguf")
    return nil
  } catch {
    return error.description
  }
}

@Test func archivesWithoutWhatAnEncoderNeedsAreRefused() {
  #expect(failure(archive()) == nil)
  let cases: [(String, MetadataValue?, String)] = [
    ("tokenizer.ggml.model", nil, "missing"),
    ("tokenizer.ggml.model", .string("t5"), "found t5, supported: llama, gpt2"),
    ("tokenizer.ggml.pre", nil, "missing"),
    ("tokenizer.ggml.pre", .string("viking"), "found viking"),
    ("tokenizer.ggml.tokens", nil, "missing"),
    ("tokenizer.ggml.tokens", .array(.int32([1])), "missing"),
    ("tokenizer.ggml.tokens", .array(.string(StringTable(["a", "a"]))), "duplicate token \"a\""),
    ("tokenizer.ggml.token_type", .array(.int32([1])), "an array of 4 int32"),
    ("tokenizer.ggml.token_type", .string("x"), "an array of 4 int32"),
    ("tokenizer.ggml.merges", nil, "missing"),
    (
      "tokenizer.ggml.tokens",
      .array(.string(StringTable(["a", "b", "ab", String(repeating: "x", count: 1025)]))),
      "a special token of 1025 bytes"
    ),
  ]
  for (key, value, message) in cases {
    let found = failure(archive { $0[key] = value })
    #expect(found?.contains(message) == true, "\(key): \(found ?? "accepted")")
  }
  let scores = archive {
    $0["tokenizer.ggml.model"] = .string("llama")
    $0["tokenizer.ggml.scores"] = .array(.float32([0, .nan, 0, 0]))
  }
  #expect(failure(scores)?.contains("tokenizer.ggml.scores") == true)
}

@Test func strangeVocabulariesEncodeWithoutTrapping() throws {
  let lacking = try TokenEncoder(
    archive: archive {
      $0["tokenizer.ggml.merges"] = .array(.string(StringTable(["b a", "q", "x y", "a "])))
    },
    file: "x.gguf")
  // A merge to a text that is no token falls back to its letters; other bytes become nothing.
  #expect(lacking.encode("ba c", addsSpecial: true, parsesSpecial: true) == [1, 0])
  #expect(!lacking.addsBeginningOfText)

  let scored = try TokenEncoder(
    archive: archive {
      $0["tokenizer.ggml.model"] = .string("llama")
      $0["tokenizer.ggml.bos_token_id"] = .uint32(99)
    }, file: "x.gguf")
  // Bytes without a token are the unknown one, whose id is 0 unless the archive says another.
  #expect(scored.encode("ab\u{E9}", addsSpecial: false, parsesSpecial: true) == [0, 0, 0, 2, 0, 0])
  #expect(scored.beginningOfText == 1)
}

@Test(arguments: [
  (#""continuing_subword_prefix": "\#\#""#, "model.continuing_subword_prefix"),
  (#""end_of_word_suffix": "</w>""#, "model.end_of_word_suffix"),
  (#""dropout": 0.1"#, "model.dropout"),
])
func modelsWithUnknownHabitsAreRefused(_ member: String, _ field: String) throws {
  let folder = TemporaryFolder()
  folder.write(
    "tokenizer.json",
    """
    {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"], \(member)}}
    """)
  #expect {
    _ = try TokenEncoder(checkpoint: folder.path, vocabularySize: nil)
  } throws: {
    "\($0)".contains(field)
  }
}

@Test(arguments: [
  (#""normalizer": {"type": "NFC"}"#, "normalizer: found NFC"),
  (#""normalizer": {"type": "Replace", "pattern": {"Regex": "a"}, "content": "b"}"#, "expression"),
  (
    #""pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "x+"}, "behavior": "Isolated"}, {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]}"#,
    "x+"
  ),
  (#""pre_tokenizer": {"type": "Whitespace"}"#, "Whitespace"),
])
func stepsThatAreNotKnownAreRefused(_ member: String, _ message: String) throws {
  let folder = TemporaryFolder()
  folder.write(
    "tokenizer.json",
    #"{\#(member), "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}"#
  )
  #expect {
    _ = try TokenEncoder(checkpoint: folder.path, vocabularySize: nil)
  } throws: {
    "\($0)".contains(message)
  }
}

/// Every change of a byte is either refused or gives an encoder that works.
@Test(arguments: [
  "models/llama2/tokenizer.model", "tokenizers/encoding/characters-prep/tokenizer.json",
])
func changedFilesNeverTrap(_ fixture: String) throws {
  let original = try Fixtures.bytes(fixture)
  let name = fixture.split(separator: "/").last.map(String.init) ?? ""
  var random = SplitMix64(seed: 20)
  var accepted = 0
  for _ in 0..<300 {
    let folder = TemporaryFolder()
    var bytes = original
    for _ in 0..<(1 + Int(random.next() % 3)) {
      bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
    }
    folder.write(name, bytes)
    guard let encoder = try? TokenEncoder(checkpoint: folder.path, vocabularySize: 1000) else {
      continue
    }
    accepted += 1
    let tokens = encoder.encode("a word  <s> é中\n\u{0}", addsSpecial: true, parsesSpecial: true)
    #expect(tokens.allSatisfy { $0 >= 0 && Int($0) < encoder.tokenCount })
  }
  #expect(accepted > 0)
}
