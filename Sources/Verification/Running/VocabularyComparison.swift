import ByteIO
import ForwardRuns
import Tokenizers

/// Whether two tokenizers mean the same by the same number.
enum VocabularyComparison {
  /// CRC-32 of every token's length and bytes.
  static func checksum(_ encoder: TokenEncoder) -> UInt32 {
    var checksum = CRC32()
    for token in 0..<encoder.tokenCount {
      let bytes = encoder.bytes(of: Int32(token))
      withUnsafeBytes(of: UInt32(truncatingIfNeeded: bytes.count).littleEndian) {
        checksum.update($0)
      }
      checksum.update(bytes)
    }
    return checksum.value
  }

  /// Refuses vocabularies in which a number stands for different texts.
  static func check(_ reference: OpenedModel, _ candidate: OpenedModel) throws(FormatError) {
    let (a, b) = (reference.encoder, candidate.encoder)
    guard a.tokenCount == b.tokenCount else {
      throw FormatError(
        file: candidate.path, field: "tokenizer",
        reason: .inconsistent("has \(b.tokenCount) tokens, the reference's \(a.tokenCount)"),
        advice: "the archive's tokenizer is not that of the reference")
    }
    for token in 0..<Int32(a.tokenCount) where a.bytes(of: token) != b.bytes(of: token) {
      let texts = [a, b].map {
        printable(String(decoding: $0.bytes(of: token), as: UTF8.self), limit: 40)
      }
      throw FormatError(
        file: candidate.path, field: "tokenizer",
        reason: .inconsistent("token \(token) is \"\(texts[1])\", the reference's \"\(texts[0])\""),
        advice: "the archive's tokenizer is not that of the reference")
    }
  }

  /// A warning where the two split a text differently; both models are then fed the reference's.
  static func warning(reference: [Int32], candidate: [Int32]) -> String? {
    guard reference != candidate else { return nil }
    let place =
      zip(reference, candidate).enumerated().first { $0.element.0 != $0.element.1 }?.offset
      ?? min(reference.count, candidate.count)
    return "the archive's tokenizer splits the text otherwise from token \(place) on "
      + "(\(candidate.count) tokens, the reference's \(reference.count)); "
      + "both models are fed the reference's tokens"
  }
}
