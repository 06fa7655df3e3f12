import Tensors

extension ImportanceMatrix {
  /// Longest text that `llama-quantize` stores for the file and the dataset, in bytes.
  package static let maximumStoredTextByteCount = 127

  /// What the archive says about the importance it was quantized with.
  ///
  /// In the order in which `llama-quantize` adds it behind all other keys. Empty when no entry is
  /// left. Texts are cut at 127 bytes; a character that would be cut in two is left out whole.
  package var archiveMetadata: [MetadataOverride] {
    guard !entries.isEmpty else { return [] }
    var result = [
      MetadataOverride(key: "quantize.imatrix.file", value: .string(Self.stored(file)))
    ]
    if let dataset = datasets.first {
      result.append(
        MetadataOverride(
          key: "quantize.imatrix.dataset", value: .string(Self.stored(dataset))))
    }
    result.append(
      MetadataOverride(
        key: "quantize.imatrix.entries_count", value: .uint32(UInt32(clamping: entries.count))))
    if chunkCount > 0 {
      result.append(
        MetadataOverride(
          key: "quantize.imatrix.chunks_count", value: .uint32(UInt32(clamping: chunkCount))))
    }
    return result
  }

  private static func stored(_ text: String) -> String {
    var scalars = String.UnicodeScalarView()
    var byteCount = 0
    for scalar in text.unicodeScalars {
      // The tool's texts end at the first NUL.
      byteCount += UTF8.width(scalar)
      if scalar == "\0" || byteCount > maximumStoredTextByteCount { break }
      scalars.append(scalar)
    }
    return String(scalars)
  }
}
