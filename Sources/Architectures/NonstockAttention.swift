import ByteIO
import Tensors

/// Keys of our own for an attention that the archive's architecture has no keys for.
///
/// Source: formats/architectures/README.md, section "Llama 4".
package enum NonstockAttention {
  /// Of all these keys.
  package static let prefix = "ingot.attention."
  package static let chunkLengthKey = "ingot.attention.chunk_length"
  package static let rotatesKey = "ingot.attention.rotates"
  package static let normalizesKey = "ingot.attention.normalizes_rotated"
  package static let floorKey = "ingot.attention.temperature_floor"
  package static let scaleKey = "ingot.attention.temperature_scale"
}

extension ModelConfiguration {
  /// What has to stand in the archive because llama.cpp assumes otherwise; empty for stock models.
  ///
  /// - Throws: `FormatError` where something does and that is not allowed.
  package func nonstockMetadata(isAllowed: Bool) throws(FormatError) -> Metadata {
    var metadata = Metadata()
    guard let attention = chunkedAttention, let experts else { return metadata }
    let stock = ChunkedAttention.stock(layerCount: layerCount, expertCount: experts.count)
    let differences = attention.differences(from: stock)
    guard let first = differences.first else { return metadata }
    guard isAllowed else {
      let others = differences.dropFirst().map { ", \($0.member) is \($0.found)" }.joined()
      throw FormatError(
        file: file, field: first.member,
        reason: .unsupported(
          found: first.found + others,
          allowed: "\(first.stock): llama.cpp's llama4 computes this whatever the archive says"),
        advice: "pass --allow-nonstock to write an archive that only ingot computes rightly")
    }
    metadata[NonstockAttention.chunkLengthKey] = .uint32(UInt32(attention.chunkLength ?? 0))
    metadata[NonstockAttention.rotatesKey] = .array(.bool(attention.rotates))
    metadata[NonstockAttention.normalizesKey] = .bool(attention.normalizesRotated)
    metadata[NonstockAttention.floorKey] = .float32(Float(attention.temperature?.floor ?? 0))
    metadata[NonstockAttention.scaleKey] = .float32(Float(attention.temperature?.scale ?? 0))
    return metadata
  }
}
