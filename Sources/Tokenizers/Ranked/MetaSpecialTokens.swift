import ByteIO
import Formats
import Tensors

/// Llama 3's 256 special tokens, which follow the ranks: Meta's programs hold the list, no file does.
///
/// Source: formats/tokenizers/meta-special-tokens.tsv names some; the others are reserved ones,
/// numbered in their order.
enum MetaSpecialTokens {
  static let count = 256

  /// Texts by position.
  ///
  /// - Parameter isFirstRelease: whether the model is of Llama 3 and not of a later release.
  static func texts(isFirstRelease: Bool) -> [String] {
    let column = isFirstRelease ? "llama3" : "llama3.1"
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
    let count = declaredCount ?? rankCount + MetaSpecialTokens.count
    guard rankCount <= count else {
      throw FormatError(
        file: ranked.path, field: "ranks",
        reason: .inconsistent("\(rankCount) tokens, but the vocabulary has \(count)"),
        advice: "the tokenizer belongs to another model")
    }
    tokens.reserveCapacity(stringCount: count, byteCount: ranked.tokens.bytes.count * 2)
    for token in ranked.tokens { append(ByteLevelText.letters(of: token), .normal) }
    let isFirstRelease =
      directory.metaParameters.map { $0["use_scaled_rope"]?.bool != true } ?? false
    let special = MetaSpecialTokens.texts(isFirstRelease: isFirstRelease).prefix(count - rankCount)
    for text in special { append(text.utf8, .control) }
    if special.count < MetaSpecialTokens.count {
      notes.append(
        "tokenizer.model: \(special.count) of \(MetaSpecialTokens.count) special tokens fit the "
          + "vocabulary of \(count)")
    }
    for id in tokens.count..<count { append(Array(Self.paddingText(id).utf8), .unused) }
  }
}
