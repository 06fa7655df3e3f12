import ByteIO
import Tensors

/// What a token is, with the number that the archive's `tokenizer.ggml.token_type` holds.
package enum TokenKind: Int32, Sendable {
  case normal = 1
  case unknown = 2
  case control = 3
  case userDefined = 4
  case unused = 5
  case byte = 6
}

/// The tokens of an archive, in the order of their ids.
struct Vocabulary {
  var tokens = StringTable()
  var kinds: [Int32] = []
  /// One per token; empty for byte-level vocabularies, which have none.
  var scores: [Float] = []

  /// Largest vocabulary that is read; the largest published one has about 262,000 tokens.
  static let countLimit = 1 << 21
  /// Ids without a token that files may make us pad, beyond one for each of their bytes or tokens.
  ///
  /// Rows of an embedding, which a caller gives as a count, need no such bound.
  static let paddingLimit = 1 << 16
  /// Longest token that is read, in bytes of UTF-8.
  static let tokenByteLimit = 1 << 16

  mutating func append(_ text: some Collection<UInt8>, _ kind: TokenKind) {
    tokens.append(text)
    kinds.append(kind.rawValue)
  }

  mutating func append(_ text: some Collection<UInt8>, _ kind: TokenKind, score: Float) {
    append(text, kind)
    scores.append(score)
  }

  /// The text that stands for an id that no token has: the checkpoint's embedding has a row for it.
  static func paddingText(_ id: Int) -> String { "[PAD\(id)]" }
}

/// Whether a token that is not marked special is one by its looks.
///
/// Some publishers forgot to mark their control tokens; these are the spellings that the reference
/// converter treats as control tokens all the same. Source: formats/tokenizers/README.md
func looksLikeControlToken(_ text: String) -> Bool {
  let bytes = text.utf8
  func isEnclosed(_ prefix: String, _ suffix: String) -> Bool {
    bytes.starts(with: prefix.utf8) && bytes.reversed().starts(with: suffix.utf8.reversed())
  }
  return ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains { bytes.elementsEqual($0.utf8) }
    || isEnclosed("<|", "|>") || isEnclosed("<\u{FF5C}", "\u{FF5C}>") || isEnclosed("<unused", ">")
}

/// Text of a token that users may type, with SentencePiece's space mark (U+2581) made a space.
func withPlainSpaces(_ text: String) -> String {
  var result = String.UnicodeScalarView()
  for scalar in text.unicodeScalars { result.append(scalar == "\u{2581}" ? " " : scalar) }
  return String(result)
}
