import ByteIO
import TestSupport
import Testing
import Tokenizers

private let byteLevel = #"{"type": "ByteLevel"}"#

/// Reads a directory with these files; returns the error's text.
private func failure(_ files: [String: String]) throws -> String? {
  let directory = TemporaryFolder()
  for (name, text) in files { directory.write(name, text) }
  do {
    _ = try readTokenizer(directory: directory.path, options: TokenizerOptions())
    return nil
  } catch {
    return error.description
  }
}

private func tokenizer(
  vocab: String = #"{"a": 0, "b": 1, "ab": 2}"#, merges: String = #"["a b"]"#,
  added: String = "[]", type: String = "BPE", more: String = ""
) -> String {
  """
  {"added_tokens": \(added), "pre_tokenizer": \(byteLevel)\(more),
  "model": {"type": "\(type)", "vocab": \(vocab), "merges": \(merges)}}
  """
}

@Test(arguments: [
  (tokenizer(vocab: #"{"a": 0, "b": 1, "a": 2}"#), "duplicate token \"a\""),
  (tokenizer(vocab: #"{"a": 0, "b": 1, "\u0061": 2}"#), "duplicate token \"a\""),
  (tokenizer(vocab: #"{"a": 0, "b": 1, "ab": 1}"#), "duplicate id 1"),
  (tokenizer(vocab: #"{"a": 0, "b": 1, "ab": -1}"#), "found id -1"),
  (tokenizer(vocab: #"{"a": 0, "b": 1, "ab": 9}"#), "found id 9"),
  (tokenizer(vocab: #"{"a": 0, "b": 1, "ab": 99999999999999999999}"#), "an integer"),
  (tokenizer(vocab: #"{"a": 0, "b": 1, "ab": 1.0}"#), "an integer"),
  (tokenizer(vocab: #"{"a": 0, "b": 1, "ab": "2"}"#), "a number"),
  (tokenizer(vocab: #"{"a": 0, "b": 1, "\ud800": 2}"#), "half of a surrogate pair"),
  (tokenizer(merges: "[]"), "missing merges"),
  (tokenizer(merges: #"["ab"]"#), "not two parts"),
  (tokenizer(merges: #"["a b c"]"#), "not two parts"),
  (tokenizer(merges: #"[["a"]]"#), "two strings"),
  (tokenizer(merges: #"[["a", "b", "c"]]"#), "two strings"),
  (tokenizer(merges: #"["a b", ["a", "b"]]"#), "all strings, or all pairs"),
  (tokenizer(merges: #"["b a"]"#), "\"ba\" is no token"),
  (tokenizer(merges: #"["a x"]"#), "\"x\" is no token"),
  (tokenizer(type: "Unigram"), "found Unigram"),
  (tokenizer(added: #"[{"id": 3, "content": "x"}, {"id": 3, "content": "y"}]"#), "duplicate id 3"),
  (tokenizer(added: #"[{"id": 3, "content": "x"}, {"id": 4, "content": "x"}]"#), "duplicate token"),
  (
    tokenizer(added: #"[{"id": 7, "content": "x"}]"#),
    "has id 7 here, but the vocabulary gives it 3"
  ),
  (tokenizer(added: #"[{"id": 3, "content": 5}]"#), "missing a string"),
  (tokenizer(added: #"[{"content": "x"}]"#), "missing a token id"),
  (tokenizer(added: #"[{"id": 3, "content": "x", "special": 1}]"#), "true or false"),
  ("{}", "missing the model"),
  (tokenizer() + "x", "text after the end"),
  (String(tokenizer().dropLast(9)), "are left before the end"),
  (
    tokenizer(more: #", "post_processor": {"type": "TemplateProcessing", "single": "$A"}"#),
    "a list of objects"
  ),
])
func refusesMalformedTokenizerFile(_ text: String, _ message: String) throws {
  let error = try failure(["tokenizer.json": text, "config.json": #"{"vocab_size": 5}"#])
  #expect(try #require(error).contains(message), "\(error ?? "")")
}

@Test func refusesIDFarOutWithoutDeclaredVocabulary() throws {
  let vocab = #"{"a": 0, "b": 1, "ab": 2147483000}"#
  let error = try failure(["tokenizer.json": tokenizer(vocab: vocab)])
  #expect(try #require(error).contains("found id 2147483000"))
}

/// Numbers alone make no vocabulary: what files declare is bounded by what they hold.
@Test func refusesVocabulariesThatOnlyNumbersDeclare() throws {
  let vocab = #"{"a": 0, "b": 1, "ab": 2000000}"#
  let far = try failure(["tokenizer.json": tokenizer(vocab: vocab)])
  #expect(try #require(far).contains("model.vocab: found id 2000000"))
  let declared = try failure([
    "tokenizer.json": tokenizer(), "config.json": #"{"vocab_size": 2000000}"#,
  ])
  #expect(try #require(declared).contains("vocab_size: found 2000000"))
  // Rows of an embedding are no such number.
  let folder = TemporaryFolder()
  folder.write("tokenizer.json", tokenizer())
  var options = TokenizerOptions()
  options.preTokenizer = "gpt-2"
  options.vocabularySize = 100_000
  #expect(try readTokenizer(directory: folder.path, options: options).tokenCount == 100_000)
}

@Test func refusesOversizedToken() throws {
  let long = String(repeating: "x", count: 1 << 17)
  let error = try failure(["tokenizer.json": tokenizer(vocab: #"{"\#(long)": 0}"#)])
  #expect(try #require(error).contains("a token of 131072 bytes"))
}

@Test(arguments: [
  (#"{"vocab_size": 2}"#, "{}", "found id 2"),
  (#"{"vocab_size": 99999999999}"#, "{}", "vocab_size"),
  (#"{"vocab_size": 0}"#, "{}", "vocab_size"),
  (#"{"bos_token_id": -2}"#, "{}", "bos_token_id"),
  ("{}", #"{"add_prefix_space": "no"}"#, "add_prefix_space"),
  ("{}", #"{"added_tokens_decoder": {"x": {"content": "y"}}}"#, "added_tokens_decoder[x]"),
  ("{}", #"{"added_tokens_decoder": {"3": {}}}"#, "missing a string"),
  ("{}", #"{"chat_template": [{"name": "default", "template": 1}]}"#, "a string"),
  ("{}", "[]", "an object"),
])
func refusesMalformedConfiguration(_ model: String, _ config: String, _ message: String) throws {
  let error = try failure([
    "tokenizer.json": tokenizer(), "config.json": model, "tokenizer_config.json": config,
  ])
  #expect(try #require(error).contains(message), "\(error ?? "")")
}

@Test func saysWhichFilesAreMissing() throws {
  #expect(try #require(try failure([:])).contains("missing tokenizer.model or tokenizer.json"))
  #expect(try #require(try failure(["tekken.json": "{}"])).contains("tekken.json alone"))
}

@Test func givenTemplateReplacesTheCheckpoints() throws {
  let directory = TemporaryFolder()
  directory.write("tokenizer.json", tokenizer())
  directory.write("tokenizer_config.json", #"{"chat_template": "theirs"}"#)
  let result = try readTokenizer(
    directory: directory.path, options: TokenizerOptions(chatTemplate: "mine"))
  #expect(result.entries["tokenizer.chat_template"]?.string == "mine")
}

@Test func idOfMinusOneMeansNone() throws {
  let directory = TemporaryFolder()
  directory.write("tokenizer.json", tokenizer())
  directory.write("config.json", #"{"pad_token_id": -1, "bos_token_id": 0}"#)
  let result = try readTokenizer(directory: directory.path, options: TokenizerOptions())
  #expect(result.entries["tokenizer.ggml.padding_token_id"] == nil)
  #expect(result.entries["tokenizer.ggml.bos_token_id"]?.int == 0)
  #expect(result.notes.contains { $0.contains("pad_token_id") })
}

@Test func idOutsideTheVocabularyIsLeftOutWithANote() throws {
  let directory = TemporaryFolder()
  directory.write("tokenizer.json", tokenizer())
  directory.write("config.json", #"{"eos_token_id": 3, "bos_token_id": 2}"#)
  let result = try readTokenizer(directory: directory.path, options: TokenizerOptions())
  #expect(result.entries["tokenizer.ggml.eos_token_id"] == nil)
  #expect(result.entries["tokenizer.ggml.bos_token_id"]?.int == 2)
  #expect(result.notes.contains { $0.contains("eos_token_id 3 is outside the vocabulary") })
}

@Test(arguments: [
  ["tokenizer_config.json": #"{"added_tokens_decoder": {"9": {"content": "x", "special": true}}}"#],
  ["added_tokens.json": #"{"x": 9}"#],
])
func knownTextKeepsItsIDWhateverTheConfigurationSays(_ files: [String: String]) throws {
  let directory = TemporaryFolder()
  directory.write("tokenizer.json", tokenizer(added: #"[{"id": 3, "content": "x"}]"#))
  for (name, text) in files { directory.write(name, text) }
  let result = try readTokenizer(directory: directory.path, options: TokenizerOptions())
  #expect(result.tokenCount == 4)
  #expect(result.entries["tokenizer.ggml.tokens"]?.strings?.text(3) == "x")
  #expect(result.notes.contains { $0.contains("has id 9 there, but id 3") })
}

@Test func newTextWithAWrongIDIsRefused() throws {
  let error = try failure([
    "tokenizer.json": tokenizer(),
    "tokenizer_config.json": #"{"added_tokens_decoder": {"9": {"content": "x"}}}"#,
  ])
  #expect(try #require(error).contains("has id 9 here, but the vocabulary gives it 3"))
}

// MARK: SentencePiece

private func varint(_ value: Int) -> [UInt8] {
  value < 128 ? [UInt8(value)] : [UInt8(value & 127) | 128] + varint(value >> 7)
}
private func field(_ number: Int, _ bytes: [UInt8]) -> [UInt8] {
  varint(number << 3 | 2) + varint(bytes.count) + bytes
}
private func piece(_ text: String, type: Int = 1, score: Float = 0) -> [UInt8] {
  let bits = score.bitPattern
  let bytes = (0..<4).map { UInt8(truncatingIfNeeded: bits >> ($0 * 8)) }
  return field(1, field(1, Array(text.utf8)) + [0x15] + bytes + [0x18] + varint(type))
}
private let unknown = piece("<unk>", type: 2)

private func sentencePieceFailure(_ bytes: [UInt8]) throws -> String? {
  let directory = TemporaryFolder()
  directory.write("tokenizer.model", bytes)
  do {
    _ = try readTokenizer(directory: directory.path, options: TokenizerOptions())
    return nil
  } catch {
    return error.description
  }
}

@Test func readsUnknownProtobufFields() throws {
  let extra = varint(200 << 3) + varint(1 << 40) + varint(9 << 3 | 1) + [1, 2, 3, 4, 5, 6, 7, 8]
  let more = field(77, [1, 2, 3]) + varint(8 << 3 | 5) + [1, 2, 3, 4]
  #expect(try sentencePieceFailure(extra + unknown + more + piece("a")) == nil)
}

@Test(
  arguments: [
    ([], "missing pieces"),
    (piece("a"), "0 unknown pieces"),
    (unknown + piece("u", type: 2), "2 unknown pieces"),
    (unknown + piece("a") + piece("a"), "duplicate piece \"a\""),
    (unknown + piece(""), "missing text"),
    (unknown + piece("a", score: .nan), "a finite number"),
    (unknown + piece("a", score: -.infinity), "a finite number"),
    (unknown + piece("a", type: 7), "found 7, allowed 1 to 6"),
    (unknown + piece("<0x41>", type: 6), "1 byte pieces"),
    (unknown + piece("A", type: 6), "<0x00> to <0xFF>"),
    (unknown + piece("<0xab>", type: 6), "<0x00> to <0xFF>"),
    (unknown + piece("<0xAB>", type: 6) + piece("<0xAB>", type: 6), "duplicate piece"),
    (unknown + piece("a", type: 4) + piece("a", type: 5), "duplicate piece \"a\""),
    (unknown + piece("<unk>", type: 3), "duplicate piece"),
    (unknown + field(2, [0x98, 0x02, 0x01]), "0 byte pieces, with byte_fallback true"),
    (unknown + field(1, field(1, [0xFF])), "not valid UTF-8"),
    (unknown + [0x0A, 0x7F], "needs 127 bytes"),
    (unknown + [0x0A, 0x02, 0x0A, 0x7F], "needs 127 bytes"),
    (unknown + [0x0A] + [UInt8](repeating: 0xFF, count: 9) + [0x01], "needs 18446744073709551615"),
    (unknown + [UInt8](repeating: 0xFF, count: 11), "more than 64 bits"),
    (unknown + [0x00], "field number 0"),
    (unknown + [0x0B], "wire type 3"),
    (unknown + [0x08, 0x01], "wire type 0"),
  ] as [([UInt8], String)])
func refusesMalformedSentencePieceModel(_ bytes: [UInt8], _ message: String) throws {
  let error = try sentencePieceFailure(bytes)
  #expect(try #require(error).contains(message), "\(error ?? "")")
}

@Test func textMayBeAPieceAndAControlPiece() throws {
  let bytes = unknown + piece("a") + piece("a", type: 3) + piece("<unk>", type: 4)
  #expect(try sentencePieceFailure(bytes) == nil)
}

@Test func truncatedSentencePieceModelIsRefused() throws {
  let parts = [unknown, piece("abc", score: -1), field(2, [0x18, 0x02])]
  let whole = parts.flatMap { $0 }
  // A message that ends between two fields is a shorter message, which nothing can tell.
  let complete: Set<Int> = [
    parts[0].count, parts[0].count + parts[1].count, whole.count,
  ]
  for count in 0...whole.count {
    let error = try sentencePieceFailure(Array(whole[..<count]))
    #expect((error == nil) == complete.contains(count), "\(count) bytes: \(error ?? "accepted")")
  }
}
