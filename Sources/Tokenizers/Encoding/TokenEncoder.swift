import ByteIO
import Tensors

/// Turns text into tokens.
///
/// There are two roads here: a checkpoint's encoder gives what the `tokenizers` and `sentencepiece`
/// libraries give, an archive's what llama.cpp gives. They share arithmetic, not the reading of
/// vocabularies, and differ where those programs differ: formats/tokenizers/encoding.md lists it.
///
/// Time is proportional to n log n at worst, whatever the text.
package struct TokenEncoder: Sendable {
  enum Road: Sendable {
    case checkpoint(CheckpointEncoding)
    case archive(ArchiveEncoding)
  }

  let road: Road
  /// Text of each token: what it adds to a text that it is part of.
  let pieces: StringTable
  /// Id of the token that begins a text; `nil` when the model has none.
  package let beginningOfText: Int32?
  /// Id of the token that ends a text; `nil` when the model has none.
  package let endOfText: Int32?
  /// Ids that a prompt starts with.
  let prefix: [Int32]
  /// Ids that a prompt ends with.
  let suffix: [Int32]

  /// Whether a prompt starts with `beginningOfText`.
  package var addsBeginningOfText: Bool {
    beginningOfText.map { prefix.contains($0) } ?? false
  }

  /// Whether a prompt ends with `endOfText`.
  package var addsEndOfText: Bool {
    endOfText.map { suffix.contains($0) } ?? false
  }

  /// Tokens of the vocabulary; every id is below it.
  package var tokenCount: Int { pieces.count }

  /// Tokens of a text.
  ///
  /// Text that is not valid UTF-8 is no error. A checkpoint's encoder replaces what is invalid by
  /// U+FFFD, as a program does that reads text for the libraries; an archive's does as llama.cpp.
  ///
  /// - Parameters:
  ///   - text: UTF-8.
  ///   - addsSpecial: whether the tokens that a prompt starts and ends with are added.
  ///   - parsesSpecial: whether texts of special tokens, such as `<|eot_id|>`, become those tokens;
  ///     otherwise they are text like any other.
  /// - Returns: ids, each below `tokenCount`.
  package func encode(_ text: [UInt8], addsSpecial: Bool, parsesSpecial: Bool) -> [Int32] {
    var tokens = addsSpecial ? prefix : []
    switch road {
    case .checkpoint(let encoding):
      if String(validating: text, as: UTF8.self) != nil {
        encoding.encode(text, parsesSpecial: parsesSpecial, into: &tokens)
      } else {
        let repaired = Array(String(decoding: text, as: UTF8.self).utf8)
        encoding.encode(repaired, parsesSpecial: parsesSpecial, into: &tokens)
      }
    case .archive(let encoding):
      encoding.encode(text, parsesSpecial: parsesSpecial, into: &tokens)
    }
    if addsSpecial { tokens += suffix }
    return tokens
  }

  package func encode(_ text: String, addsSpecial: Bool, parsesSpecial: Bool) -> [Int32] {
    encode(Array(text.utf8), addsSpecial: addsSpecial, parsesSpecial: parsesSpecial)
  }

  /// The bytes that a token stands for, which need not be whole characters; empty for an id that
  /// is not in the vocabulary.
  package func bytes(of token: Int32) -> [UInt8] {
    pieces.indices.contains(Int(token)) ? Array(pieces[Int(token)]) : []
  }

  /// The text that tokens stand for, one after the other; what is no UTF-8 becomes U+FFFD.
  package func text(of tokens: [Int32]) -> String {
    String(decoding: tokens.flatMap { bytes(of: $0) }, as: UTF8.self)
  }
}

/// The text that a token of a SentencePiece vocabulary stands for.
func sentencePieceBytes(_ text: ArraySlice<UInt8>, isByte: Bool) -> [UInt8] {
  if isByte, isByteToken(text) {
    let digits = String(decoding: text.dropFirst(3).prefix(2), as: UTF8.self)
    return UInt8(digits, radix: 16).map { [$0] } ?? Array(text)
  }
  var result: [UInt8] = []
  var index = text.startIndex
  while index < text.endIndex {
    if text[index...].starts(with: [0xE2, 0x96, 0x81]) {
      result.append(UInt8(ascii: " "))
      index += 3
    } else {
      result.append(text[index])
      index += 1
    }
  }
  return result
}
