import ByteIO
import StrictJSON
import Tensors

extension Vocabulary {
  /// Score of a token that the publisher added after training.
  static let addedScore: Float = -1000
  /// Score of an id that no token has.
  static let paddingScore: Float = -10000

  /// Vocabulary of a SentencePiece model, with the tokens that other files add or replace.
  ///
  /// `added_tokens.json` comes first, then `added_tokens_decoder` of `tokenizer_config.json`, which
  /// wins. Ids without a token are padded up to `declaredCount`; tokens from there on are left out,
  /// with a note.
  init(
    sentencePiece model: SentencePieceModel, directory: TokenizerDirectory,
    declaredCount: Int?, notes: inout [String]
  ) throws(FormatError) {
    let count = declaredCount ?? model.pieces.count
    let added = try Self.addedTokens(directory, count: count, notes: &notes)
    if model.pieces.count > count {
      notes.append(
        "tokenizer.model: pieces from id \(count) on are left out, as vocab_size is \(count)")
    }
    tokens.reserveCapacity(stringCount: count, byteCount: model.pieces.bytes.count)
    for id in 0..<count {
      if let token = added[id] {
        append(Array(token.text.utf8), token.kind, score: Self.addedScore)
      } else if id < model.pieces.count {
        // The reference gives pieces that users defined while training no kind of their own.
        let kind = model.kinds[id] == .userDefined ? .normal : model.kinds[id]
        append(model.pieces[id], kind, score: model.scores[id])
      } else {
        append(Array(Self.paddingText(id).utf8), .unused, score: Self.paddingScore)
      }
    }
  }

  private typealias Addition = (text: String, kind: TokenKind)

  private static func addedTokens(
    _ directory: TokenizerDirectory, count: Int, notes: inout [String]
  ) throws(FormatError) -> [Int: Addition] {
    var added: [Int: Addition] = [:]
    var leftOutCount = 0
    for token in try AddedToken.list(of: directory) {
      if token.id < count {
        added[token.id] = (token.content, .userDefined)
      } else {
        leftOutCount += 1
      }
    }
    for token in try AddedToken.decoder(of: directory) ?? [] {
      let isControl = token.isSpecial || looksLikeControlToken(token.content)
      if token.id >= count {
        leftOutCount += 1
      } else if isControl {
        added[token.id] = (token.content, .control)
      } else {
        added[token.id] = (withPlainSpaces(token.content), .userDefined)
      }
    }
    if leftOutCount > 0 {
      notes.append("\(leftOutCount) added tokens are left out, as vocab_size is \(count)")
    }
    return added
  }
}
