import ByteIO
import Formats
import StrictJSON
import TestSupport
import Testing
import Tokenizers

private let llama3 =
  #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

/// A byte-level tokenizer with one merge and this pre-tokenizer, given as JSON.
private func name(
  _ preTokenizer: String, ignoresMerges: Bool = false, addsBOS: Bool? = nil,
  architecture: String = "llama", token: String = "b", override: String? = nil
) throws -> String? {
  let directory = TemporaryFolder()
  directory.write(
    "tokenizer.json",
    """
    {"added_tokens": [], "pre_tokenizer": \(preTokenizer), "model": {"type": "BPE",
    "ignore_merges": \(ignoresMerges), "vocab": {"a": 0, "\(token)": 1, "aa": 2},
    "merges": ["a a"]}}
    """)
  let flag = addsBOS.map { "\"add_bos_token\": \($0)" } ?? ""
  directory.write("tokenizer_config.json", "{\(flag)}")
  let result = try readTokenizer(
    directory: directory.path,
    options: TokenizerOptions(architecture: architecture, preTokenizer: override))
  return result.entries["tokenizer.ggml.pre"]?.string
}

private func quoted(_ expression: String) -> String {
  var text = "\""
  for scalar in expression.unicodeScalars {
    switch scalar {
    case "\\": text += "\\\\"
    case "\"": text += "\\\""
    case "\n": text += "\\n"
    case "\r": text += "\\r"
    default: text.unicodeScalars.append(scalar)
    }
  }
  return text + "\""
}

private func split(_ expressions: String...) -> String {
  let steps = expressions.map {
    #"{"type": "Split", "pattern": {"Regex": \#(quoted($0))}, "behavior": "Isolated"}, "#
  }
  return #"{"type": "Sequence", "pretokenizers": [\#(steps.joined())"#
    + #"{"type": "ByteLevel", "use_regex": false}]}"#
}

@Test func llama3ExpressionIsNamedByMergesAndStart() throws {
  #expect(try name(split(llama3), ignoresMerges: true, addsBOS: true) == "llama-bpe")
  #expect(try name(split(llama3), ignoresMerges: true) == "llama-bpe")
  #expect(try name(split(llama3), addsBOS: true) == "llama-bpe")
  #expect(try name(split(llama3), addsBOS: false) == "smaug-bpe")
  #expect(try name(split(llama3), architecture: "dbrx") == "dbrx")
  #expect(try name(split(llama3), token: ">>TITLE<<") == "falcon3")
}

@Test func equalSpellingsHaveOneName() throws {
  let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
  let others = [
    llama3.replacing(
      contractions, with: "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"),
    llama3.replacing(contractions, with: "'(?i:[sdmt]|ll|ve|re)"),
    llama3.replacing(#"[^\r\n\p{L}\p{N}]"#, with: #"[^\p{N}\n\p{L}\r]"#),
    llama3.replacing(#"[\r\n]"#, with: "[\r\n]"),
    llama3.replacing(#"\p{L}"#, with: #"\pL"#).replacing(#"\p{N}"#, with: #"\p{Number}"#),
  ]
  for other in others {
    #expect(other != llama3)
    #expect(try name(split(other), ignoresMerges: true) == "llama-bpe", "\(other)")
  }
}

@Test func architectureResolvesTies() throws {
  let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#
  let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
  let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
  let start = #"[^\r\n\p{L}\p{N}]?"#
  let rest = #" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  let gpt4o =
    "\(start)\(upper)*\(lower)+\(contractions)|\(start)\(upper)+\(lower)*\(contractions)"
    + #"|\p{N}{1,3}|"# + rest
  let tekken = "\(start)\(upper)*\(lower)+|\(start)\(upper)+\(lower)*" + #"|\p{N}|"# + rest
  #expect(try name(split(gpt4o), architecture: "llama4") == "llama4")
  #expect(try name(split(gpt4o)) == "gpt-4o")
  #expect(try name(split(tekken), ignoresMerges: true) == "tekken")
}

@Test func stepsOtherThanExpressionsAreNamed() throws {
  let digits = #"{"type": "Digits", "individual_digits": true}"#
  let byteLevel = #"{"type": "ByteLevel"}"#
  func sequence(_ steps: String...) -> String {
    #"{"type": "Sequence", "pretokenizers": [\#(steps.joined(separator: ", "))]}"#
  }
  #expect(try name(byteLevel) == "gpt-2")
  #expect(try name(sequence(digits, byteLevel)) == "smollm")
  #expect(try name(sequence(digits, byteLevel), token: "<fim_prefix>") == "refact")
  #expect(try name(split(#"\p{N}"#).replacing("false", with: "true")) == "smollm")
  #expect(
    try name(split("[\r\n]", #"\s?\p{L}+"#, #"\s?\p{P}+"#, "[一-龥ࠀ-一가-\u{D7FF}]+", #"\p{N}"#))
      == "deepseek-coder")
  #expect(
    try name(
      sequence(
        #"{"type": "Punctuation", "behavior": "Contiguous"}"#, byteLevel,
        #"{"type": "Digits", "individual_digits": false}"#,
        #"{"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated"}"#))
      == "falcon")
}

@Test func unknownExpressionIsPrintedWithAdvice() throws {
  let error = #expect(throws: FormatError.self) { try name(split(#"\w+\x1b|.{7}"#)) }
  let text = try #require(error).description
  #expect(text.contains(#"\w+\x1b|.{7}"#))
  #expect(text.contains("--pre-tokenizer NAME"))
  #expect(try name(split(#"\w+"#), override: "tekken") == "tekken")
}

@Test func textWithoutByteMappingIsNotByteLevel() throws {
  let error = #expect(throws: FormatError.self) {
    try name(
      #"{"type": "Split", "pattern": {"Regex": \#(quoted(llama3))}, "behavior": "Isolated"}"#)
  }
  #expect(try #require(error).field == "pre_tokenizer")
  #expect(throws: FormatError.self) { try name("null") }
}

@Test func everyRowOfTheTableIsReached() throws {
  let table = String(decoding: Formats.preTokenizers, as: UTF8.self)
  let rows = table.split(separator: "\n").dropFirst().map {
    $0.split(separator: "\t").map { String($0) }
  }
  #expect(rows.count > 20)
  for row in rows {
    let steps = row[5...].filter { $0 != "-" }.map { cell in
      switch cell {
      case "digits:individual": #"{"type": "Digits", "individual_digits": true}"#
      case "digits:run": #"{"type": "Digits", "individual_digits": false}"#
      case "bytelevel:split": #"{"type": "ByteLevel"}"#
      case "punctuation:Contiguous": #"{"type": "Punctuation", "behavior": "Contiguous"}"#
      default: #"{"type": "Split", "pattern": {"Regex": \#(quoted(cell))}}"#
      }
    }
    let last = #"{"type": "ByteLevel", "use_regex": false}"#
    let found = try name(
      #"{"type": "Sequence", "pretokenizers": [\#((steps + [last]).joined(separator: ", "))]}"#,
      ignoresMerges: row[2] == "true", addsBOS: row[3] == "true",
      architecture: row[1] == "*" ? "llama" : row[1], token: row[4] == "*" ? "b" : row[4])
    #expect(found == row[0])
  }
}

/// `pre_tokenizer` of published models, as their `tokenizer.json` has it: the fixture names them.
private struct Published: CustomTestStringConvertible, Sendable {
  var model: String
  var architecture: String
  var ignoresMerges: Bool
  var preTokenizer: String
  var expected: String
  var testDescription: String { model }

  static let all: [Published] = {
    let folder = "tokenizers/pre-tokenizers/"
    guard let root = try? JSONValue(file: Fixtures.path(folder + "index.json"), limit: 1 << 20)
    else { return [] }
    return (root["cases"]?.array ?? []).map { node in
      let bytes = try? Fixtures.bytes(folder + (node["file"]?.string ?? ""))
      return Published(
        model: node["model"]?.string ?? "", architecture: node["architecture"]?.string ?? "",
        ignoresMerges: node["ignore_merges"]?.bool ?? false,
        preTokenizer: String(decoding: bytes ?? [], as: UTF8.self),
        expected: node["expected"]?.string ?? "")
    }
  }()
}

@Test func publishedPreTokenizersArePresent() { #expect(Published.all.count == 10) }

@Test(arguments: Published.all)
private func publishedPreTokenizerIsNamed(_ published: Published) throws {
  #expect(
    try name(
      published.preTokenizer, ignoresMerges: published.ignoresMerges,
      architecture: published.architecture) == published.expected)
}

@Test(arguments: [#"\p{"#, "[a-", "[", #"[\p["#, "(?:'"])
func hostileExpressionIsRefusedAtOnce(_ unit: String) throws {
  let whole = String(repeating: unit, count: (2 << 20) / unit.utf8.count - 200)
  let longest = String(repeating: unit, count: (16 << 10) / unit.utf8.count)
  let time = processorTime {
    let error = #expect(throws: FormatError.self) { try name(split(whole)) }
    #expect(error?.field.hasPrefix("pre_tokenizer") == true)
    #expect(throws: FormatError.self) { try name(split(longest)) }
  }
  #expect(isOfOrder(time, of: 1))
}

@Test func longExpressionIsRefusedForItsLength() throws {
  let error = #expect(throws: FormatError.self) {
    try name(split(String(repeating: #"\p{"#, count: 100_000)))
  }
  #expect(try #require(error).description.contains("at most 16384 bytes"))
}
