import ByteIO
import Planning
import Tokenizers

/// A text as it was read.
package struct TextFile: Sendable {
  package var path: String
  package var bytes: [UInt8]
  /// CRC-32 of the bytes.
  package var checksum: UInt32

  /// What an encoder takes, per byte of a text, while it works; measured, and rounded up.
  private static let encodingFactor: UInt64 = 64

  /// Reads a whole text.
  ///
  /// - Throws: `OptionError` when encoding it would not fit the memory limit, `FormatError` when it
  ///   cannot be read or is no text.
  package init(_ path: String, memoryLimit: UInt64) throws {
    let file = try PositionalFile(path)
    guard file.byteCount <= memoryLimit / Self.encodingFactor else {
      throw OptionError(
        option: "--memory-limit", found: byteText(memoryLimit),
        problem: "is too small for a text of \(byteText(file.byteCount))",
        advice: "take a shorter text, or raise the limit to "
          + byteText(file.byteCount * Self.encodingFactor))
    }
    bytes = try PositionalFile.readAll(path, limit: file.byteCount, field: "text")
    // Most likely the name of another file was given.
    if let place = bytes.firstIndex(of: 0) {
      throw FormatError(
        file: path, fileOffset: UInt64(place), field: "text",
        reason: .malformed("a zero byte: this is no text"), advice: "name a UTF-8 text file")
    }
    var checksum = CRC32()
    checksum.update(bytes)
    self.path = path
    self.checksum = checksum.value
  }

  /// Its tokens as llama.cpp's tools take them from a file: without the last line's end.
  package func tokens(_ encoder: TokenEncoder, parsesSpecial: Bool = false) -> [Int32] {
    var text = bytes
    if text.last == UInt8(ascii: "\n") { text.removeLast() }
    return encoder.encode(text, addsSpecial: true, parsesSpecial: parsesSpecial)
  }
}

extension ChunkedText {
  /// Cuts the tokens of a text that a model will read.
  ///
  /// - Throws: as the other `init`.
  package init(
    _ text: TextFile, tokens: [Int32], encoder: TokenEncoder, contextLength: Int, chunkLimit: Int?,
    option: String = "--context"
  ) throws(FormatError) {
    try self.init(
      path: text.path, byteCount: text.bytes.count, allTokens: tokens,
      contextLength: contextLength, chunkLimit: chunkLimit,
      beginningOfText: encoder.addsBeginningOfText ? encoder.beginningOfText : nil, option: option)
  }

  /// Refuses options that no text can be cut by.
  package static func check(contextLength: Int?, chunkLimit: Int?) throws(OptionError) {
    if let chunkLimit, chunkLimit < 1 {
      throw OptionError(option: "--chunks", found: "\(chunkLimit)", problem: "takes 1 or more")
    }
    if let contextLength, !contextLengths.contains(contextLength) {
      throw OptionError(
        option: "--context", found: "\(contextLength)",
        problem: "takes \(contextLengths.lowerBound) to \(contextLengths.upperBound)")
    }
  }

  /// A warning where a chunk is longer than what the model was trained for.
  package static func warning(contextLength: Int, model: OpenedModel) -> String? {
    let limit = model.model.dimensions.contextLength
    guard contextLength > limit else { return nil }
    return "the context of \(contextLength) tokens is longer than the model's, \(limit)"
  }
}
