import ByteIO
import Tensors

/// Reads an archive's tokenizer keys, each checked.
struct ArchiveTokenizerKeys {
  private let metadata: Metadata
  private let file: String

  init(_ metadata: Metadata, file: String) {
    self.metadata = metadata
    self.file = file
  }

  func error(_ key: String, _ reason: FormatError.Reason) -> FormatError {
    FormatError(file: file, field: key, reason: reason)
  }

  func text(_ key: String) throws(FormatError) -> String {
    guard let value = metadata[key] else { throw error(key, .missing("a text")) }
    guard let text = value.string else {
      throw error(key, .outOfRange(found: "another value", allowed: "a text"))
    }
    return text
  }

  func flag(_ key: String) -> Bool? { metadata[key]?.bool }

  /// `tokenizer.ggml.<role>_token_id`, if it is in the vocabulary.
  func id(_ role: String, count: Int) -> Int? {
    guard let id = metadata["tokenizer.ggml.\(role)_token_id"]?.int else { return nil }
    return (0..<count).contains(id) ? id : nil
  }

  func hasID(_ role: String) -> Bool { metadata["tokenizer.ggml.\(role)_token_id"] != nil }

  /// Texts by id; one that is empty gets the name that llama.cpp gives it.
  func tokens() throws(FormatError) -> StringTable {
    let key = "tokenizer.ggml.tokens"
    guard let stored = metadata[key]?.strings, !stored.isEmpty else {
      throw error(key, .missing("the vocabulary, an array of texts"))
    }
    guard stored.count <= Vocabulary.countLimit else {
      throw error(
        key, .outOfRange(found: "\(stored.count)", allowed: "at most \(Vocabulary.countLimit)"))
    }
    guard stored.contains(where: { $0.isEmpty }) else { return stored }
    var tokens = StringTable()
    for (id, token) in stored.enumerated() {
      if token.isEmpty {
        tokens.append("[EMPTY_\(id)]".utf8)
      } else {
        tokens.append(token)
      }
    }
    return tokens
  }

  /// Kinds by id; all normal where the archive has none.
  func kinds(count: Int) throws(FormatError) -> [Int32] {
    let key = "tokenizer.ggml.token_type"
    guard let value = metadata[key] else {
      return [Int32](repeating: TokenKind.normal.rawValue, count: count)
    }
    guard case .array(.int32(let kinds)) = value, kinds.count >= count else {
      throw error(
        key, .outOfRange(found: "another value", allowed: "an array of \(count) int32"))
    }
    return kinds
  }

  /// Scores by id; all zero where the archive has none.
  func scores(count: Int) throws(FormatError) -> [Float] {
    let key = "tokenizer.ggml.scores"
    let scores: [Float]
    switch metadata[key] {
    case nil: return [Float](repeating: 0, count: count)
    case .array(.float32(let values)): scores = values
    case .array(.int32(let values)): scores = values.map { Float($0) }
    default: scores = []
    }
    guard scores.count >= count, scores.allSatisfy({ !$0.isNaN }) else {
      throw error(
        key, .outOfRange(found: "another value", allowed: "an array of \(count) numbers"))
    }
    return scores
  }

  /// The vocabulary by text, with ids as numbers.
  func table(_ tokens: StringTable) throws(FormatError) -> TextTable {
    var table = TextTable(minimumCapacity: tokens.count)
    for id in tokens.indices where !table.insert(tokens[id]).isNew {
      throw duplicate(tokens, id)
    }
    return table
  }

  /// The vocabulary and merges of a byte-level tokenizer, by the bytes that letters stand for.
  func pairs(_ tokens: StringTable) throws(FormatError) -> PairVocabulary {
    _ = try table(tokens)
    let key = "tokenizer.ggml.merges"
    guard let merges = metadata[key]?.strings else {
      throw error(key, .missing("the merges, an array of texts"))
    }
    guard merges.count <= Vocabulary.countLimit else {
      throw error(
        key, .outOfRange(found: "\(merges.count)", allowed: "at most \(Vocabulary.countLimit)"))
    }
    var pairs = PairVocabulary(tokenCount: tokens.count, mergeCount: merges.count)
    for id in tokens.indices {
      // A text with other letters is never the text of a piece.
      guard let bytes = ByteLevelText.bytes(of: tokens[id]) else { continue }
      _ = pairs.addToken(bytes, id: Int32(id))
    }
    for rank in merges.indices {
      let merge = merges[rank]
      guard let space = merge.dropFirst().firstIndex(of: UInt8(ascii: " ")),
        let left = ByteLevelText.bytes(of: merge[..<space]),
        let right = ByteLevelText.bytes(of: merge[(space + 1)...])
      else { continue }
      pairs.addMerge(left, right, rank: rank, replaces: false)
    }
    return pairs
  }

  private func duplicate(_ tokens: StringTable, _ id: Int) -> FormatError {
    error(
      "tokenizer.ggml.tokens[\(id)]",
      .duplicate("token \"\(printable(tokens.text(id), limit: 80))\""))
  }
}

/// What llama.cpp makes of `tokenizer.ggml.pre`.
struct ArchivePreTokenizer {
  var rules: [SplitRule]
  var ignoresMerges = false
  var addsBOS = false

  static let names = "llama-bpe, llama4, gpt-4o, tekken, qwen2, gpt-2, smollm and their equals"

  init?(_ name: String) {
    let cased = SplitRule.Kind.cased(keepsContractions: true)
    switch name {
    case "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2":
      rules = [SplitRule(kind: .letters, digitLimit: 3)]
      ignoresMerges = true
      addsBOS = true
    case "dbrx", "smaug-bpe": rules = [SplitRule(kind: .letters, digitLimit: 3)]
    case "gpt-4o", "llama4", "kanana2": rules = [SplitRule(kind: cased, digitLimit: 3)]
    case "tekken":
      rules = [SplitRule(kind: .cased(keepsContractions: false), digitLimit: 1)]
      ignoresMerges = true
      addsBOS = true
    case "qwen2", "deepseek-r1-qwen": rules = [SplitRule(kind: .letters, digitLimit: 1)]
    case "gpt-2", "phi-2", "mellum": rules = [.plain]
    case "smollm", "starcoder", "refact", "codeshell", "minerva-7b": rules = [.digits, .plain]
    default: return nil
    }
  }
}

/// Which tokens llama.cpp looks for in a text, beyond what their kinds say.
///
/// It takes some texts for control tokens whatever the archive calls them.
struct ArchiveTokenKinds {
  /// Control, unknown or user-defined: looked for before anything else.
  private(set) var isSpecial: [Bool]
  /// Control or unknown: looked for only when special tokens are parsed.
  private(set) var isControl: [Bool]

  init(_ tokens: StringTable, _ kinds: [Int32], _ keys: ArchiveTokenizerKeys) {
    let control = [TokenKind.control.rawValue, TokenKind.unknown.rawValue]
    isControl = tokens.indices.map { control.contains(kinds[$0]) }
    isSpecial = tokens.indices.map {
      control.contains(kinds[$0]) || kinds[$0] == TokenKind.userDefined.rawValue
    }
    var ids: [ExactString: Int] = [:]
    let texts = Self.endings + Self.plain + Self.fillIn.flatMap(\.texts)
    let wanted = Set(texts.map { ExactString($0) })
    for id in tokens.indices where tokens[id].count <= 64 {
      guard let text = ExactString(utf8: tokens[id]), wanted.contains(text) else { continue }
      ids[text] = id
    }
    for text in Self.endings { if let id = ids[ExactString(text)] { markControl(id) } }
    for (roles, texts) in Self.fillIn where !roles.contains(where: keys.hasID) {
      // Of several, llama.cpp takes the first that its hash table gives.
      if let id = texts.lazy.compactMap({ ids[ExactString($0)] }).first { markControl(id) }
    }
    for text in Self.plain {
      guard let id = ids[ExactString(text)] else { continue }
      isSpecial[id] = true
      isControl[id] = false
    }
  }

  private mutating func markControl(_ id: Int) {
    isSpecial[id] = true
    isControl[id] = true
  }

  /// Ends of a turn or a text.
  private static let endings = [
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
    "<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
    "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
    "<｜end▁of▁sentence｜>", "[e~[",
  ]
  /// Texts that are found whether or not special tokens are parsed.
  private static let plain = ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"]
  /// Tokens for filling in, unless the archive names one of that role.
  private static let fillIn: [(roles: [String], texts: [String])] = [
    (
      ["fim_pre", "prefix"],
      [
        "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
        "<|code_prefix|>", "<|prefix|>",
      ]
    ),
    (
      ["fim_suf", "suffix"],
      [
        "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
        "<|code_suffix|>", "<|suffix|>",
      ]
    ),
    (
      ["fim_mid", "middle"],
      [
        "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>",
        "<|code_middle|>", "<|middle|>",
      ]
    ),
    (["fim_pad"], ["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"]),
    (["fim_rep"], ["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"]),
    (["fim_sep"], ["<|file_sep|>"]),
  ]
}
