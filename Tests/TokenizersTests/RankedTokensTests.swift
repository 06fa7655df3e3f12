import ByteIO
import StrictJSON
import Tensors
import TestSupport
import Testing
import Tokenizers

private let metaFolder = "models/llama3-meta"

private func metadata(_ directory: String) throws(FormatError) -> TokenizerMetadata {
  try readTokenizer(directory: directory, options: TokenizerOptions())
}

private func strings(_ metadata: TokenizerMetadata, _ key: String) throws -> [String] {
  guard case .array(.string(let table)) = metadata.entries[ExactString(key)] else {
    Issue.record("no strings \(key)")
    return []
  }
  return table.indices.map { table.text($0) }
}

/// The file of ranks and `tokenizer.json` of one model say the same but for names of special tokens.
@Test func ranksGiveTheVocabularyAndTheMergesOfTokenizerJSON() throws {
  let meta = try metadata(Fixtures.path(metaFolder))
  let json = try metadata(Fixtures.path("models/llama3"))
  let tokens = try strings(meta, "tokenizer.ggml.tokens")
  #expect(tokens.count == 2048)
  #expect(try strings(json, "tokenizer.ggml.tokens").prefix(2040) == tokens.prefix(2040))
  #expect(
    tokens.suffix(8) == [
      "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>",
      "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>",
      "<|reserved_special_token_2|>", "<|start_header_id|>", "<|end_header_id|>",
    ])
  let merges = try strings(meta, "tokenizer.ggml.merges")
  #expect(merges.count == 1784)
  #expect(merges == (try strings(json, "tokenizer.ggml.merges")))
  // Keys, their order and their values, but for what Meta's files do not have.
  let left = ["tokenizer.ggml.tokens", "tokenizer.chat_template"]
  let expected = json.entries.entries.filter { !left.contains($0.key.string) }
  let found = meta.entries.entries.filter { !left.contains($0.key.string) }
  #expect(found.map(\.key) == expected.map(\.key))
  for (a, b) in zip(found, expected) { #expect(a.value == b.value, "\(a.key)") }
}

@Test func ranksEncodeAsTokenizerJSONDoes() throws {
  let ranked = try checkpointEncoder(metaFolder)
  let json = try checkpointEncoder("models/llama3")
  let texts = try EncodingGolden.shared.get().texts
  for text in texts {
    #expect(
      ranked.encode(text, addsSpecial: true, parsesSpecial: false)
        == json.encode(text, addsSpecial: true, parsesSpecial: false), "\(text.debugDescription)")
  }
  #expect(ranked.beginningOfText == 2040)
  #expect(ranked.endOfText == 2041)
  #expect(
    ranked.encode("<|end_header_id|>a", addsSpecial: true, parsesSpecial: true)
      == [2040, 2047, 64])
}

// MARK: Built in code

/// A file of the 256 bytes and of `more`.
private struct RankFile {
  var lines: [String]

  init(_ more: [String] = ["ab", "abc"]) {
    let tokens = (UInt8.min...UInt8.max).map { [$0] } + more.map { Array($0.utf8) }
    lines = tokens.enumerated().map { "\(base64($1)) \($0)" }
  }

  func folder(_ parameters: String = "{}") -> TemporaryFolder {
    let folder = TemporaryFolder()
    folder.write("tokenizer.model", lines.joined(separator: "\n") + "\n")
    folder.write("params.json", parameters)
    return folder
  }

  func read(_ parameters: String = "{}") throws(FormatError) -> TokenizerMetadata {
    let folder = folder(parameters)
    defer { withExtendedLifetime(folder) {} }
    return try metadata(folder.path)
  }

  var error: String {
    do {
      _ = try read()
      return ""
    } catch {
      #expect(!"\(error)".contains("\n"))
      return "\(error)"
    }
  }
}

private func base64(_ bytes: [UInt8]) -> String {
  let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  var text = ""
  for start in stride(from: 0, to: bytes.count, by: 3) {
    let group = (0..<3).map { start + $0 < bytes.count ? bytes[start + $0] : 0 }
    let bits = Int(group[0]) << 16 | Int(group[1]) << 8 | Int(group[2])
    for letter in 0..<4 {
      text.append(
        start + letter <= bytes.count ? alphabet[bits >> (18 - 6 * letter) & 63] : "=")
    }
  }
  return text
}

@Test func specialTokensFollowTheGenerationAndTheVocabulary() throws {
  let file = RankFile(["ab"])
  func tokens(_ parameters: String) throws -> [String] {
    try strings(try file.read(parameters), "tokenizer.ggml.tokens")
  }
  let later = try tokens(#"{"use_scaled_rope":true}"#)
  #expect(later.count == 257 + 256)
  #expect(later[257 + 10] == "<|python_tag|>")
  #expect(later[257 + 8] == "<|eom_id|>")
  #expect(later[257 + 5] == "<|reserved_special_token_2|>")
  #expect(later.last == "<|reserved_special_token_247|>")
  let first = try tokens(#"{"vocab_size":-1}"#)
  #expect(first.count == 257 + 256)
  #expect(first[257 + 9] == "<|eot_id|>")
  #expect(first[257 + 8] == "<|reserved_special_token_4|>")
  #expect(first.last == "<|reserved_special_token_250|>")
  let cut = try tokens(#"{"vocab_size":258}"#)
  #expect(cut.suffix(2) == ["ab", "<|begin_of_text|>"])
  let padded = try tokens(#"{"vocab_size":515}"#)
  #expect(padded.suffix(2) == ["[PAD513]", "[PAD514]"])
  let error = #expect(throws: FormatError.self) { try tokens(#"{"vocab_size":256}"#) }
  #expect("\(try #require(error))".contains("257 tokens, but the vocabulary has 256"))
  let whole = try file.read(#"{"use_scaled_rope":true}"#).entries
  #expect(whole["tokenizer.ggml.bos_token_id"] == .uint32(257))
  #expect(whole["tokenizer.ggml.eos_token_id"] == .uint32(258))
  #expect(whole["tokenizer.ggml.eot_token_id"] == .uint32(266))
  #expect(whole["tokenizer.ggml.eom_token_id"] == .uint32(265))
}

/// Meta's list for Llama 4, at its ends and where its parts meet.
@Test func specialTokensOfLlama4AreMetas() throws {
  let file = RankFile(["ab"])
  let parameters = #"{"use_scaled_rope":true,"moe_args":{"num_experts":16}}"#
  let metadata = try file.read(parameters)
  let tokens = try strings(metadata, "tokenizer.ggml.tokens")
  #expect(tokens.count == 257 + 2048)
  let expected = [
    0: "<|begin_of_text|>", 4: "<|fim_suffix|>", 5: "<|header_start|>", 8: "<|eot|>",
    9: "<|step|>", 10: "<|text_post_train_reserved_special_token_0|>",
    15: "<|text_post_train_reserved_special_token_5|>", 16: "<|python_start|>",
    18: "<|finetune_right_pad|>", 19: "<|text_post_train_reserved_special_token_8|>",
    79: "<|text_post_train_reserved_special_token_68|>", 80: "<|image_start|>",
    83: "<|vision_reserved_special_token_1|>", 84: "<|tile_x_separator|>",
    89: "<|vision_reserved_special_token_5|>", 90: "<|image|>", 92: "<|patch|>",
    1133: "<|vision_reserved_special_token_1047|>",
    1134: "<|reasoning_reserved_special_token_0|>", 1143: "<|reasoning_thinking_end|>",
    1144: "<|reserved_special_token_0|>", 2047: "<|reserved_special_token_903|>",
  ]
  for (position, text) in expected { #expect(tokens[257 + position] == text) }
  #expect(Set(tokens).count == tokens.count)
  #expect(metadata.entries["tokenizer.ggml.pre"]?.string == "llama4")
  #expect(metadata.entries["tokenizer.ggml.eot_token_id"] == .uint32(257 + 8))
  #expect(metadata.entries["tokenizer.ggml.eom_token_id"] == .uint32(257 + 7))
}

/// The ranks of a Llama 4 split text as its `tokenizer.json` does.
@Test func ranksOfLlama4EncodeAsTokenizerJSONDoes() throws {
  let fixture = "tokenizers/encoding/llama4"
  let document = try JSONValue(
    file: Fixtures.path(fixture + "/tokenizer.json"), limit: 1 << 24)
  let added = Set((document["added_tokens"]?.array ?? []).compactMap { $0["content"]?.string })
  var lines: [(rank: Int, line: String)] = []
  for (text, id) in document["model"]?["vocab"]?.object?.members ?? []
  where !added.contains(text) {
    let bytes = try #require(byteLevelBytes(text), "\(text)")
    lines.append((try #require(id.int), base64(bytes)))
  }
  lines.sort { $0.rank < $1.rank }
  let folder = TemporaryFolder()
  folder.write(
    "tokenizer.model", lines.map { "\($0.line) \($0.rank)" }.joined(separator: "\n") + "\n")
  folder.write("params.json", #"{"moe_args":{"num_experts":16}}"#)
  let ranked = try TokenEncoder(checkpoint: folder.path, vocabularySize: nil)
  let json = try checkpointEncoder(fixture)
  for text in try EncodingGolden.shared.get().texts {
    #expect(
      ranked.encode(text, addsSpecial: false, parsesSpecial: false)
        == json.encode(text, addsSpecial: false, parsesSpecial: false), "\(text.debugDescription)")
  }
}

/// The bytes of letters of the byte-level alphabet.
private func byteLevelBytes(_ text: String) -> [UInt8]? {
  let own = Array(33...126) + Array(161...172) + Array(174...255)
  let others = (0...255).filter { !own.contains($0) }
  var bytes: [UInt8] = []
  for scalar in text.unicodeScalars {
    let value = Int(scalar.value)
    if own.contains(value) {
      bytes.append(UInt8(value))
    } else if value >= 256, value - 256 < others.count {
      bytes.append(UInt8(others[value - 256]))
    } else {
      return nil
    }
  }
  return bytes
}

/// A token whose bytes never come down to two parts is found as a whole word only.
@Test func unreachableTokensHaveNoMerge() throws {
  let folder = RankFile(["bc", "abcd"]).folder()
  defer { withExtendedLifetime(folder) {} }
  #expect(try strings(metadata(folder.path), "tokenizer.ggml.merges") == ["b c"])
  let encoder = try TokenEncoder(checkpoint: folder.path, vocabularySize: nil)
  #expect(encoder.encode("abcd", addsSpecial: false, parsesSpecial: false) == [257])
  #expect(encoder.encode("abcde", addsSpecial: false, parsesSpecial: false) == [97, 256, 100, 101])
}

@Test func linesMayComeInAnyOrder() throws {
  var file = RankFile()
  let expected = try strings(file.read(), "tokenizer.ggml.tokens")
  file.lines.reverse()
  file.lines.append("")
  #expect(try strings(file.read(), "tokenizer.ggml.tokens") == expected)
}

@Test func tokenizerJSONBesideRanksIsPreferred() throws {
  let folder = RankFile().folder()
  defer { withExtendedLifetime(folder) {} }
  folder.write("tokenizer.json", try Fixtures.bytes("models/llama3/tokenizer.json"))
  #expect(try metadata(folder.path).tokenCount == 2048)
}

@Test func refusesBrokenRanks() {
  func error(_ change: (inout RankFile) -> Void) -> String {
    var file = RankFile()
    change(&file)
    return file.error
  }
  #expect(RankFile().error == "")
  #expect(error { $0.lines[3] = "A!== 3" }.contains("line 4: a token that is not base64"))
  #expect(error { $0.lines[3] = "AwA 3" }.contains("line 4: a token that is not base64"))
  #expect(error { $0.lines[3] = "Ax== 3" }.contains("line 4: a token that is not base64"))
  #expect(error { $0.lines[3] = " 3" }.contains("line 4: a token that is not base64"))
  #expect(error { $0.lines[3] = "Aw==3" }.contains("line 4: no token and rank"))
  #expect(error { $0.lines[3] = "Aw==  3" }.contains("line 4: found \" 3\""))
  #expect(error { $0.lines[3] = "Aw== -3" }.contains("allowed a rank"))
  #expect(error { $0.lines[3] = "Aw== 99999999999" }.contains("allowed a rank"))
  #expect(error { $0.lines[3] = "Aw== 999999999" }.contains("tokens in a file of 2"))
  #expect(error { $0.lines[3] = "Aw== 100000" }.contains("tokens in a file of 2"))
  #expect(error { $0.lines[257] += "0" }.contains("missing rank 257"))
  #expect(error { $0.lines[257] = "YWJj 256" }.contains("line 258: duplicate rank 256"))
  #expect(error { $0.lines[257] = "YWI= 257" }.contains("duplicate token of another rank"))
  #expect(error { $0.lines[0] = "YWJk 0" }.contains("missing a token of the single byte 0"))
  #expect(
    error { $0.lines.append(base64([UInt8](repeating: 97, count: 259)) + " 258") }
      .contains("at most 256 bytes"))
  #expect(error { $0.lines = ["version https://git-lfs.github.com/spec/v1"] }.contains("git-lfs"))
  #expect(error { $0.lines = ["<html>"] }.contains("line 1: no token and rank"))
}

/// What is no text goes to the other reader, which says what it is not.
@Test func refusesABrokenSentencePieceModelBesideParameters() throws {
  let folder = TemporaryFolder()
  defer { withExtendedLifetime(folder) {} }
  folder.write("params.json", "{}")
  folder.write("tokenizer.model", [0x0A, 0x7F, 0x0A, 0x01])
  let error = #expect(throws: FormatError.self) { try metadata(folder.path) }
  #expect("\(try #require(error))".contains("tokenizer.model"))
  folder.write("tokenizer.model", [UInt8]())
  #expect(throws: FormatError.self) { try metadata(folder.path) }
}

/// However a byte is changed: a tokenizer or a `FormatError`, never a crash.
@Test func changedRanksNeverCrash() throws {
  let bytes = Array((RankFile().lines.joined(separator: "\n") + "\n").utf8)
  var generator = SplitMix64(seed: 5)
  var (accepted, refused) = (0, 0)
  let folder = TemporaryFolder()
  defer { withExtendedLifetime(folder) {} }
  for round in 0..<2000 {
    var changed = bytes
    let position = round % 2 == 0 ? changed.count - 1 - round / 2 % 40 : round % changed.count
    switch round % 3 {
    case 0: changed[position] = UInt8.random(in: 0...255, using: &generator)
    case 1: changed.remove(at: position)
    default: changed.insert(changed[position], at: position)
    }
    folder.write("tokenizer.model", changed)
    do {
      _ = try metadata(folder.path)
      accepted += 1
    } catch {
      #expect(!"\(error)".contains("\n"))
      refused += 1
    }
  }
  #expect(refused > 0)
  #expect(accepted > 0)
}
