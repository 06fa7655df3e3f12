import ByteIO
import Tensors

/// The pieces of a SentencePiece `tokenizer.model`, in the order of their ids.
///
///     ModelProto              SentencePiece
///     1  pieces, repeated     1  piece   text
///     2  trainer_spec         2  score   32-bit float, 0 when absent
///     3  normalizer_spec      3  type    1 normal, 2 unknown, 3 control,
///     (others are skipped)               4 user defined, 5 unused, 6 byte; 1 when absent
///
///     trainer_spec: 3 model_type, 24 treat_whitespace_as_suffix, 35 byte_fallback
///     normalizer_spec: 2 precompiled_charsmap, 3 add_dummy_prefix,
///                      4 remove_extra_whitespaces, 5 escape_whitespaces
///
/// Refused as the SentencePiece library refuses them: an empty piece, a text that appears twice among
/// the pieces that text is split into (types 1, 4, 5) or twice among the others, no unknown piece or
/// two, a byte piece not written `<0xHH>` in upper case, byte pieces without byte fallback and the
/// reverse. Source: formats/tokenizers/README.md
struct SentencePieceModel {
  private(set) var pieces = StringTable()
  private(set) var scores: [Float] = []
  private(set) var kinds: [TokenKind] = []
  private(set) var hasByteFallback = false
  private(set) var normalization = Normalization()
  /// 1 unigram, 2 byte-pair encoding, 3 word, 4 character.
  private(set) var modelType: UInt64 = 1

  /// What is done to a text before it is split; the values are those of absent fields.
  struct Normalization: Sendable {
    var addsDummyPrefix = true
    var removesExtraSpaces = true
    var escapesSpaces = true
    var spaceIsSuffix = false
    /// Whether characters are replaced by a table, which Llama models do not.
    var replacesCharacters = false
  }

  static let fileByteLimit: UInt64 = 256 << 20

  init(_ file: PositionalFile) throws(FormatError) {
    guard file.byteCount <= Self.fileByteLimit else {
      throw FormatError(
        file: file.path, field: "tokenizer.model",
        reason: .outOfRange(
          found: "\(file.byteCount) bytes", allowed: "at most \(Self.fileByteLimit) bytes"))
    }
    var reader = ProtobufReader(file)
    var index = PieceIndex()
    while let tag = try reader.nextTag("tokenizer.model") {
      switch tag.number {
      case 1: try readPiece(&reader, tag, &index)
      case 2: try readTrainerSpec(&reader, tag)
      case 3: try readNormalizerSpec(&reader, tag)
      default: try reader.skip(tag, "tokenizer.model")
      }
    }
    try file.checkUnchanged()
    try validate(file.path)
  }

  private mutating func readTrainerSpec(
    _ reader: inout ProtobufReader, _ tag: ProtobufReader.Tag
  ) throws(FormatError) {
    let field = "tokenizer.model.trainer_spec"
    try reader.beginMessage(tag, field)
    while let tag = try reader.nextTag(field) {
      switch tag.number {
      case 3: modelType = try reader.readVarint(tag, field + ".model_type")
      case 24:
        normalization.spaceIsSuffix =
          try reader.readVarint(tag, field + ".treat_whitespace_as_suffix") != 0
      case 35: hasByteFallback = try reader.readVarint(tag, field + ".byte_fallback") != 0
      default: try reader.skip(tag, field)
      }
    }
  }

  private mutating func readNormalizerSpec(
    _ reader: inout ProtobufReader, _ tag: ProtobufReader.Tag
  ) throws(FormatError) {
    let field = "tokenizer.model.normalizer_spec"
    try reader.beginMessage(tag, field)
    while let tag = try reader.nextTag(field) {
      switch tag.number {
      case 2:
        let start = reader.cursor.offset
        try reader.skip(tag, field + ".precompiled_charsmap")
        // An empty one is its length alone, a single zero.
        normalization.replacesCharacters = reader.cursor.offset - start > 1
      case 3:
        normalization.addsDummyPrefix = try reader.readVarint(tag, field + ".add_dummy_prefix") != 0
      case 4:
        normalization.removesExtraSpaces =
          try reader.readVarint(tag, field + ".remove_extra_whitespaces") != 0
      case 5:
        normalization.escapesSpaces =
          try reader.readVarint(tag, field + ".escape_whitespaces") != 0
      default: try reader.skip(tag, field)
      }
    }
  }

  private mutating func readPiece(
    _ reader: inout ProtobufReader, _ tag: ProtobufReader.Tag, _ index: inout PieceIndex
  ) throws(FormatError) {
    let field = "tokenizer.model.pieces[\(pieces.count)]"
    let start = reader.cursor.offset
    guard pieces.count < Vocabulary.countLimit else {
      throw reader.cursor.error(
        field, .outOfRange(found: "more", allowed: "at most \(Vocabulary.countLimit) pieces"))
    }
    var text: [UInt8] = []
    var score: Float = 0
    var kind = TokenKind.normal
    try reader.beginMessage(tag, field)
    while let tag = try reader.nextTag(field) {
      switch tag.number {
      case 1:
        text = try reader.readBytes(tag, limit: Vocabulary.tokenByteLimit, field + ".piece")
      case 2: score = try reader.readFloat(tag, field + ".score")
      case 3:
        let raw = try reader.readVarint(tag, field + ".type")
        guard let known = Int32(exactly: raw).flatMap(TokenKind.init(rawValue:)) else {
          throw reader.cursor.error(
            field + ".type", .outOfRange(found: "\(raw)", allowed: "1 to 6"), at: start)
        }
        kind = known
      default: try reader.skip(tag, field)
      }
    }
    guard !text.isEmpty else {
      throw reader.cursor.error(field + ".piece", .missing("text"), at: start)
    }
    guard String(validating: text, as: UTF8.self) != nil else {
      throw reader.cursor.error(
        field + ".piece", .malformed("text that is not valid UTF-8"), at: start)
    }
    guard score.isFinite else {
      throw reader.cursor.error(
        field + ".score", .outOfRange(found: "\(score)", allowed: "a finite number"), at: start)
    }
    if kind == .byte, !isByteToken(text) || text.contains(where: isLowerHexDigit) {
      throw reader.cursor.error(
        field + ".piece",
        .outOfRange(found: String(decoding: text, as: UTF8.self), allowed: "<0x00> to <0xFF>"),
        at: start)
    }
    pieces.append(text)
    scores.append(score)
    kinds.append(kind)
    guard index.insert(pieces.count - 1, kind, in: pieces) else {
      throw reader.cursor.error(
        field + ".piece", .duplicate("piece \"\(String(decoding: text, as: UTF8.self))\""),
        at: start)
    }
  }

  /// Positions by text, apart for the pieces that text is split into and for all others.
  private struct PieceIndex {
    private var matched = TokenIndex()
    private var reserved = TokenIndex()

    mutating func insert(_ position: Int, _ kind: TokenKind, in table: StringTable) -> Bool {
      switch kind {
      case .normal, .userDefined, .unused: matched.insert(position, in: table)
      case .unknown, .control, .byte: reserved.insert(position, in: table)
      }
    }
  }

  private func validate(_ path: String) throws(FormatError) {
    func failure(_ reason: FormatError.Reason) -> FormatError {
      FormatError(
        file: path, field: "tokenizer.model.pieces", reason: reason,
        advice: "the file may be incomplete, or no SentencePiece model")
    }
    if pieces.isEmpty { throw failure(.missing("pieces")) }
    let unknownCount = kinds.count { $0 == .unknown }
    if unknownCount != 1 {
      throw failure(.outOfRange(found: "\(unknownCount) unknown pieces", allowed: "exactly one"))
    }
    let byteCount = kinds.count { $0 == .byte }
    if byteCount != (hasByteFallback ? 256 : 0) {
      throw failure(
        .inconsistent("\(byteCount) byte pieces, with byte_fallback \(hasByteFallback)"))
    }
  }
}

/// Whether a token is written `<0xHH>`, the name of a byte.
func isByteToken(_ text: some Collection<UInt8>) -> Bool {
  guard text.count == 6, text.starts(with: "<0x".utf8) else { return false }
  let rest = Array(text.dropFirst(3))
  return rest[2] == UInt8(ascii: ">") && rest[..<2].allSatisfy(isHexDigit)
}

private func isLowerHexDigit(_ byte: UInt8) -> Bool {
  (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
}

private func isHexDigit(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
    UInt8(ascii: "A")...UInt8(ascii: "F"):
    true
  default: false
  }
}
