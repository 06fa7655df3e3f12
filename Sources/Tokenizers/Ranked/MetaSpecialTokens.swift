import ByteIO
import Formats
import Tensors

/// What Meta's programs know about a tokenizer of ranks and no file says.
enum MetaRelease: Hashable {
  case llama3
  /// Llama 3.1 and all later ones before Llama 4.
  case llama31
  case llama4

  /// As the files beside the ranks tell; a directory without `params.json` is of a later release.
  init(_ directory: TokenizerDirectory) {
    let type = directory.modelConfig["model_type"]?.string
    if let experts = directory.metaParameters?["moe_args"], !experts.isNull {
      self = .llama4
    } else if type?.hasPrefix("llama4") == true {
      self = .llama4
    } else {
      let isFirst = directory.metaParameters.map { $0["use_scaled_rope"]?.bool != true } ?? false
      self = isFirst ? .llama3 : .llama31
    }
  }

  /// As the archive names it.
  var preTokenizer: String { self == .llama4 ? "llama4" : "llama-bpe" }
  /// How text is split.
  var splitRule: SplitRule {
    self == .llama4
      ? SplitRule(kind: .cased(keepsContractions: true), digitLimit: 3)
      : SplitRule(kind: .letters, digitLimit: 3)
  }

  /// The special tokens, which follow the ranks: 256, or 2,048 of Llama 4.
  ///
  /// Source: formats/tokenizers/meta-special-tokens.tsv names some; the others are reserved ones,
  /// numbered in their order. For Llama 4: meta-special-tokens-llama4.tsv.
  var specialTokens: [String] {
    self == .llama4 ? Self.runs : Self.named(column: self == .llama3 ? "llama3" : "llama3.1")
  }

  private static let count = 256

  private static func named(column: String) -> [String] {
    var texts = [String?](repeating: nil, count: count)
    for row in FormatTable(
      Formats.metaSpecialTokens, name: "tokenizers/meta-special-tokens.tsv",
      columns: ["position", "llama3", "llama3.1"]
    ).rows where row[column] != "reserved" {
      guard let position = Int(row["position"]), texts.indices.contains(position) else {
        preconditionFailure("meta-special-tokens.tsv, line \(row.line): no position")
      }
      texts[position] = row[column]
    }
    var reserved = 0
    return texts.map { text in
      if let text { return text }
      defer { reserved += 1 }
      return "<|reserved_special_token_\(reserved)|>"
    }
  }

  private static var runs: [String] {
    var texts: [String] = []
    for row in FormatTable(
      Formats.metaSpecialTokensOfLlama4, name: "tokenizers/meta-special-tokens-llama4.tsv",
      columns: ["first", "count", "text", "number"]
    ).rows {
      guard let count = Int(row["count"]), Int(row["first"]) == texts.count else {
        preconditionFailure("meta-special-tokens-llama4.tsv, line \(row.line): no position")
      }
      let parts = row["text"].split(separator: "{N}", omittingEmptySubsequences: false)
      guard let number = Int(row["number"]), parts.count == 2 else {
        texts.append(row["text"])
        continue
      }
      texts += (number..<(number + count)).map { "\(parts[0])\($0)\(parts[1])" }
    }
    return texts
  }
}

extension Vocabulary {
  /// Vocabulary of a text of ranks: its tokens in the byte-level alphabet, then the special tokens
  /// as far as the embedding has rows, then padding.
  ///
  /// - Throws: `FormatError` when the embedding has no row for a rank.
  init(
    _ ranked: RankedTokens, directory: TokenizerDirectory, declaredCount: Int?,
    notes: inout [String]
  ) throws(FormatError) {
    let rankCount = ranked.tokens.count
    let known = MetaRelease(directory).specialTokens
    let count = declaredCount ?? rankCount + known.count
    guard rankCount <= count else {
      throw FormatError(
        file: ranked.path, field: "ranks",
        reason: .inconsistent("\(rankCount) tokens, but the vocabulary has \(count)"),
        advice: "the tokenizer belongs to another model")
    }
    tokens.reserveCapacity(stringCount: count, byteCount: ranked.tokens.bytes.count * 2)
    for token in ranked.tokens { append(ByteLevelText.letters(of: token), .normal) }
    let special = known.prefix(count - rankCount)
    for text in special { append(text.utf8, .control) }
    if special.count < known.count {
      notes.append(
        "tokenizer.model: \(special.count) of \(known.count) special tokens fit the "
          + "vocabulary of \(count)")
    }
    for id in tokens.count..<count { append(Array(Self.paddingText(id).utf8), .unused) }
  }
}
