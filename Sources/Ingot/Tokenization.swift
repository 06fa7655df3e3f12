import ByteIO
import GGUF
import StrictJSON
import Tokenizers

/// A text as the tokens of a model.
public struct Tokenization: Sendable {
  public let tokens: [Int32]
  /// Bytes that each token stands for; they need not be whole characters.
  public let pieces: [[UInt8]]

  /// Text of each token, with U+FFFD for what is no character by itself.
  public var pieceTexts: [String] { pieces.map { String(decoding: $0, as: UTF8.self) } }
}

/// A model's tokenizer, of a checkpoint or of an archive.
///
/// A checkpoint is read as the `tokenizers` and `sentencepiece` libraries do, an archive as llama.cpp
/// does: formats/tokenizers/encoding.md says where they differ.
public struct Tokenizer: Sendable {
  private let encoder: TokenEncoder

  /// Reads the tokenizer of a model's directory or of a GGUF archive; no tensor data is read.
  public init(_ path: String) throws(FormatError) {
    switch try InputKind(path) {
    case .archive: encoder = try TokenEncoder(archive: GGUFFile(path).metadata, file: path)
    case .directory: encoder = try TokenEncoder(checkpoint: path, vocabularySize: nil)
    case .safetensors, .pytorch:
      throw FormatError(
        file: path, field: "tokenizer",
        reason: .missing("a tokenizer: files of weights hold tensors only"),
        advice: "name the model's folder")
    }
  }

  /// Tokens of a text.
  ///
  /// - Parameters:
  ///   - text: UTF-8; invalid bytes are replaced, by an archive's tokenizer as llama.cpp does.
  ///   - addsSpecial: whether the tokens that a prompt of this model starts and ends with are added.
  ///   - parsesSpecial: whether texts of special tokens become those tokens.
  /// - Returns: ids, and the bytes that each stands for.
  public func encode(_ text: [UInt8], addsSpecial: Bool = true, parsesSpecial: Bool = true)
    -> Tokenization
  {
    let tokens = encoder.encode(text, addsSpecial: addsSpecial, parsesSpecial: parsesSpecial)
    return Tokenization(tokens: tokens, pieces: tokens.map { encoder.bytes(of: $0) })
  }
}

extension Tokenization {
  /// One line per token: id, then its text in quotes with escapes.
  public var table: String {
    let width = tokens.map { "\($0)".count }.max() ?? 0
    return zip(tokens, pieces).map { token, piece in
      let id = "\(token)"
      return String(repeating: " ", count: width - id.count) + id + "  " + Self.quoted(piece)
    }.joined(separator: "\n")
  }

  /// Stable JSON; `isCompact` puts it into one line.
  public func json(isCompact: Bool = false) -> String {
    if isCompact { return compactJSON }
    var writer = JSONWriter()
    writer.object { json in
      json.key("tokens")
      json.array { json in for token in tokens { json.value(token) } }
      json.key("pieces")
      json.array { json in for piece in pieceTexts { json.value(piece) } }
    }
    return writer.text
  }

  private var compactJSON: String {
    let ids = tokens.map { "\($0)" }.joined(separator: ", ")
    let texts = pieceTexts.map { piece in
      var writer = JSONWriter()
      writer.value(piece)
      return writer.text
    }.joined(separator: ", ")
    return "{\"tokens\": [\(ids)], \"pieces\": [\(texts)]}"
  }

  /// A piece in double quotes: control characters as escapes, bytes that are no text as `\xHH`.
  private static func quoted(_ piece: [UInt8]) -> String {
    guard let text = String(validating: piece, as: UTF8.self) else {
      let escapes = piece.map { byte in
        let digits = String(byte, radix: 16)
        return "\\x" + (digits.count < 2 ? "0" : "") + digits
      }
      return "\"" + escapes.joined() + "\""
    }
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      default: result += printable(String(scalar))
      }
    }
    return "\"" + result + "\""
  }
}
