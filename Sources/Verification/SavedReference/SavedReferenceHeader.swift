import ByteIO
import ForwardRuns

/// What precedes the records of a saved reference.
///
///     offset  bytes  field
///          0      8  magic            "INGOTREF"
///          8      4  version          1
///         12      4  context length   tokens of a chunk
///         16      4  chunk count
///         20      4  vocabulary size
///         24      4  favourite count  K, logits kept per scored position
///         28      4  beginning of text  token, −1 for none
///         32      4  vocabulary checksum  CRC-32 of all tokens' bytes, see `VocabularyComparison`
///         36      4  sample count     S, tokens sampled from the rest per scored position
///         40      8  tokens of the whole text
///         48      8  bytes of the whole text
///         56      8  bytes of the reference
///         64      8  weights of the reference
///         72      8  bits per weight, F64
///         80      4  text checksum    CRC-32 of the text's bytes
///         84      4  0
///         88      …  path, kind, type of the reference, path of the text: u32 length, UTF-8
///          …      …  tokens           i32 × context length × chunk count
///          …      …  records          one per scored position, see `SavedReference.Record`
///        end−4    4  checksum         CRC-32 of everything before
///
/// Source: formats/verification/saved-reference.md
package struct SavedReferenceHeader {
  static let magic = Array("INGOTREF".utf8)
  static let version: UInt32 = 1
  static let chunkCounts = 1...(1 << 24)
  static let vocabularySizes = 1...(1 << 24)
  static let favouriteCounts = 1...4096
  static let sampleCounts = 0...4096
  private static let textLimit: UInt32 = 1 << 16

  var text: ChunkedText
  var vocabularySize: Int
  var keptCounts: SavedReference.KeptCounts
  var vocabularyChecksum: UInt32
  var textChecksum: UInt32
  var side: VerificationResult.Side

  var bytes: [UInt8] {
    var bytes = Self.magic
    func add(_ value: some FixedWidthInteger) {
      withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
    add(Self.version)
    for number in [text.contextLength, text.chunkCount, vocabularySize, keptCounts.favourites] {
      add(UInt32(number))
    }
    add(text.beginningOfText ?? -1)
    add(vocabularyChecksum)
    add(UInt32(keptCounts.samples))
    add(UInt64(text.tokenCount))
    add(UInt64(text.byteCount))
    add(side.byteCount)
    add(side.weightCount)
    add(side.bitsPerWeight.bitPattern)
    add(textChecksum)
    add(UInt32(0))
    for string in [side.path, side.kind.rawValue, side.type, text.path] {
      let utf8 = Array(string.utf8.prefix(Int(Self.textLimit)))
      add(UInt32(utf8.count))
      bytes += utf8
    }
    for token in text.tokens { add(token) }
    return bytes
  }

  package init(
    text: ChunkedText, vocabularySize: Int, keptCounts: SavedReference.KeptCounts,
    vocabularyChecksum: UInt32, textChecksum: UInt32, side: VerificationResult.Side
  ) {
    self.text = text
    self.vocabularySize = vocabularySize
    self.keptCounts = keptCounts
    self.vocabularyChecksum = vocabularyChecksum
    self.textChecksum = textChecksum
    self.side = side
  }

  /// Reads and checks a header; the cursor then stands at the first record.
  init(_ cursor: inout FileCursor) throws(FormatError) {
    let file = cursor.file.path
    guard try cursor.readBytes(8, "magic") == Self.magic else {
      throw FormatError(
        file: file, fileOffset: 0, field: "magic",
        reason: .outOfRange(found: "other bytes", allowed: "INGOTREF"))
    }
    let version: UInt32 = try cursor.readInteger("version")
    guard version == Self.version else {
      throw FormatError(
        file: file, fileOffset: 8, field: "version",
        reason: .unsupported(found: "\(version)", allowed: "\(Self.version)"))
    }
    let contextLength = try Self.count(&cursor, "context length", ChunkedText.contextLengths)
    let chunkCount = try Self.count(&cursor, "chunk count", Self.chunkCounts)
    vocabularySize = try Self.count(&cursor, "vocabulary size", Self.vocabularySizes)
    let favouriteCount = try Self.count(&cursor, "favourite count", Self.favouriteCounts)
    let bos: Int32 = try cursor.readInteger("beginning of text")
    vocabularyChecksum = try cursor.readInteger("vocabulary checksum")
    keptCounts = SavedReference.KeptCounts(
      favourites: favouriteCount,
      samples: try Self.count(&cursor, "sample count", Self.sampleCounts))
    let tokenCount = try Self.count(&cursor, "token count", 0...Int(Int32.max), UInt64.self)
    let byteCount = try Self.count(&cursor, "text bytes", 0...(1 << 50), UInt64.self)
    side = VerificationResult.Side(
      path: "", kind: .savedReference, byteCount: try cursor.readInteger("reference bytes"),
      weightCount: try cursor.readInteger("weights"),
      bitsPerWeight: try cursor.readFloat64("bits per weight"), type: "")
    textChecksum = try cursor.readInteger("text checksum")
    _ = try cursor.readInteger("reserved", as: UInt32.self)
    side.path = try Self.string(&cursor, "path")
    _ = try Self.string(&cursor, "kind")
    side.type = try Self.string(&cursor, "type")
    let textPath = try Self.string(&cursor, "text path")

    // Both factors are bounded, so that the product does not overflow.
    try cursor.require(UInt64(contextLength) * UInt64(chunkCount) * 4, "tokens")
    var tokens: [Int32] = []
    tokens.reserveCapacity(contextLength * chunkCount)
    for index in 0..<contextLength * chunkCount {
      let token: Int32 = try cursor.readInteger("tokens")
      guard (0..<Int32(vocabularySize)).contains(token) else {
        throw cursor.error(
          "tokens[\(index)]",
          .outOfRange(found: "\(token)", allowed: "0 to \(vocabularySize - 1)"))
      }
      tokens.append(token)
    }
    guard bos >= -1, bos < vocabularySize else {
      throw cursor.error(
        "beginning of text", .outOfRange(found: "\(bos)", allowed: "−1 to \(vocabularySize - 1)"))
    }
    text = ChunkedText(
      path: textPath, byteCount: byteCount, tokenCount: tokenCount, contextLength: contextLength,
      tokens: tokens, beginningOfText: bos < 0 ? nil : bos)
  }

  private static func count(
    _ cursor: inout FileCursor, _ field: String, _ allowed: ClosedRange<Int>
  ) throws(FormatError) -> Int {
    try count(&cursor, field, allowed, UInt32.self)
  }

  private static func count<T: FixedWidthInteger>(
    _ cursor: inout FileCursor, _ field: String, _ allowed: ClosedRange<Int>, _ type: T.Type
  ) throws(FormatError) -> Int {
    let value = try cursor.readInteger(field, as: type)
    guard let number = Int(exactly: value), allowed.contains(number) else {
      throw cursor.error(
        field,
        .outOfRange(
          found: "\(value)", allowed: "\(allowed.lowerBound) to \(allowed.upperBound)"))
    }
    return number
  }

  private static func string(_ cursor: inout FileCursor, _ field: String) throws(FormatError)
    -> String
  {
    let length = try count(&cursor, field + " length", 0...Int(textLimit))
    let bytes = try cursor.readBytes(UInt64(length), field)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw cursor.error(field, .malformed("text that is not valid UTF-8"))
    }
    return text
  }
}
