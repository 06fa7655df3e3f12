import ByteIO
import Tensors

/// The tokens of a tiktoken file: one line each, the bytes in base64 and the rank, which is the id.
///
///     IQ== 0
///     Ig== 1
///     …
///     ICA= 256
///
/// Ranks run from 0 without a gap, in any order; every byte has a token; no two tokens are equal.
/// Merges are not stored: they follow from the ranks. Source: formats/meta-native.md
struct RankedTokens {
  /// In the order of ranks.
  private(set) var tokens = StringTable()
  let path: String

  /// Largest file that is read; that of Llama 3 has 2.2 MB.
  static let fileByteLimit: UInt64 = 64 << 20
  /// Longest token that is read; the longest of Llama 3 has 128 bytes.
  static let tokenByteLimit = 256

  /// Whether a `tokenizer.model` looks like a text of ranks, by its first byte.
  ///
  /// A SentencePiece model starts with the number of a field, which is a control character.
  static func isOne(_ file: PositionalFile) throws(FormatError) -> Bool {
    guard file.byteCount > 0 else { return false }
    let first = try file.read(at: 0, count: 1, field: "tokenizer.model")[0]
    return 0x21...0x7E ~= first
  }

  init(_ file: PositionalFile) throws(FormatError) {
    guard file.byteCount <= Self.fileByteLimit else {
      throw FormatError(
        file: file.path, field: "tokenizer.model",
        reason: .outOfRange(
          found: "\(file.byteCount) bytes", allowed: "at most \(Self.fileByteLimit) bytes"))
    }
    let bytes = try file.read(at: 0, count: Int(file.byteCount), field: "tokenizer.model")
    try file.checkUnchanged()
    try self.init(parsing: bytes, file: file.path)
  }

  /// Parses a whole file.
  init(parsing bytes: [UInt8], file: String) throws(FormatError) {
    path = file
    var unordered = StringTable()
    /// Position of each rank's token in `unordered`, -1 where none was seen yet.
    var positions: [Int32] = []
    var index = TokenIndex()
    var lines = RankedLines(bytes: bytes, file: file)
    // A line has six bytes or more, and no rank may be left out.
    let limit = min(Vocabulary.countLimit, bytes.count / 6 + Vocabulary.paddingLimit)
    while let (token, rank) = try lines.next() {
      guard unordered.count < limit, rank < limit else {
        throw lines.error(
          .outOfRange(
            found: "rank \(rank)",
            allowed: "at most \(limit) tokens in a file of \(bytes.count) bytes"))
      }
      // A gap shows at the end; until then a rank costs four bytes.
      while positions.count <= rank { positions.append(-1) }
      guard positions[rank] < 0 else { throw lines.error(.duplicate("rank \(rank)")) }
      positions[rank] = Int32(unordered.count)
      unordered.append(token)
      guard index.insert(unordered.count - 1, in: unordered) else {
        throw lines.error(.duplicate("token of another rank"))
      }
    }
    if let gap = positions.firstIndex(of: -1) {
      throw FormatError(
        file: file, field: "ranks",
        reason: .missing(
          "rank \(gap): \(unordered.count) tokens, ranks up to \(positions.count - 1)"))
    }
    for byte in UInt8.min...UInt8.max where index.position(of: [byte], in: unordered) == nil {
      throw FormatError(
        file: file, field: "ranks", reason: .missing("a token of the single byte \(byte)"))
    }
    tokens.reserveCapacity(stringCount: unordered.count, byteCount: unordered.bytes.count)
    for position in positions { tokens.append(unordered[Int(position)]) }
  }

  /// Tokens by text with the merges that make them, and those merges as the archive writes them.
  ///
  /// The program that reads ranks joins the two neighbours whose sum has the least rank. So the pair
  /// that becomes a token is the one that its bytes come down to with all lower ranks, and no other
  /// pair ever does: whatever stands around a token, its bytes have been joined so far before. A
  /// token that its bytes do not come down to two parts of is found as a whole word only.
  func pairs() -> (vocabulary: PairVocabulary, merges: StringTable) {
    var vocabulary = PairVocabulary(tokenCount: tokens.count, mergeCount: tokens.count)
    for id in tokens.indices { _ = vocabulary.addToken(tokens[id], id: Int32(id)) }
    var merges = StringTable()
    var merging = RankedMerging()
    var parts: [Int32] = []
    for id in tokens.indices where tokens[id].count > 1 {
      merging.begin()
      for byte in tokens[id] { merging.append(vocabulary.symbol(of: [byte])) }
      parts.removeAll(keepingCapacity: true)
      merging.finish(vocabulary.merges) { parts.append($0) }
      guard parts.count == 2 else { continue }
      let left = vocabulary.texts[Int(parts[0])]
      let right = vocabulary.texts[Int(parts[1])]
      let merge =
        ByteLevelText.letters(of: left) + [UInt8(ascii: " ")] + ByteLevelText.letters(of: right)
      vocabulary.addMerge(left, right, rank: merges.count, replaces: false)
      merges.append(merge)
    }
    return (vocabulary, merges)
  }
}
