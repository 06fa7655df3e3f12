import ByteIO
import Tensors

extension GGUFSplit {
  /// Who else writes such sets; the order of the keys differs, and nothing else.
  package enum KeyOrder: Sendable {
    /// `llama-gguf-split --split-max-size`: number, tensor count, part count.
    case splitter
    /// `llama-quantize --keep-split` and the converter: number, part count, tensor count.
    case quantizer
  }

  /// Divides tensors over files, none of which is larger than `maximumByteCount`.
  ///
  /// Counts tensors with their padding and, unlike `llama-gguf-split`, the headers too: a limit is
  /// there because a file system or a hub has one. Keeps the order; a tensor that is larger than
  /// the limit gets a file of its own.
  ///
  /// - Parameters:
  ///   - tensors: in the order of the archive.
  ///   - maximumByteCount: of one file.
  ///   - headerByteCount: of the archive as one file; the first part's header is no larger.
  ///   - alignment: of tensor data.
  /// - Returns: the tensors of each file.
  package static func ranges(
    _ tensors: [GGUFTensorInfo], maximumByteCount: UInt64, headerByteCount: Int = 0,
    alignment: Int = 32
  ) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    var start = 0
    var byteCount = UInt64(headerByteCount)
    // Fixed fields, three split keys, the alignment key, and padding.
    let laterHeader = headerByteCount == 0 ? 0 : UInt64(256 + 2 * alignment)
    for (index, tensor) in tensors.enumerated() {
      var next = aligned(UInt64(tensor.byteCount ?? 0), to: alignment) ?? .max
      if !ranges.isEmpty, headerByteCount > 0 {
        // A later part lists its tensors itself: name, dimensions, type, offset.
        next = next.addingReportingOverflow(UInt64(tensor.name.utf8.count + 64)).partialValue
      }
      let (sum, overflow) = byteCount.addingReportingOverflow(next)
      if index > start, overflow || sum > maximumByteCount {
        ranges.append(start..<index)
        start = index
        byteCount = laterHeader.addingReportingOverflow(next).partialValue
      } else {
        byteCount = sum
      }
    }
    if start < tensors.count || ranges.isEmpty { ranges.append(start..<tensors.count) }
    return ranges
  }

  /// The metadata of part `part`: the first has all of the archive's, the others the split keys.
  ///
  /// - Parameters:
  ///   - metadata: of the whole archive; split keys in it are replaced.
  ///   - part: from 0.
  ///   - partCount: 1 gives the metadata without split keys.
  ///   - tensorCount: of all parts together.
  ///   - order: whose key order.
  ///   - file: named in errors.
  /// - Returns: the keys of that part in the order in which they are written.
  /// - Throws: when the parts or tensors are more than the keys can count.
  package static func metadata(
    _ metadata: Metadata, part: Int, of partCount: Int, tensorCount: Int, order: KeyOrder,
    file: String = "output"
  ) throws(FormatError) -> Metadata {
    precondition((0..<partCount).contains(part))
    var result = part == 0 ? metadata : Metadata()
    for key in GGUFFormat.Key.allSplitKeys { result[key] = nil }
    if part > 0 {
      // Every part has its own offsets, so the alignment belongs into every part.
      result[GGUFFormat.Key.alignment] = metadata[GGUFFormat.Key.alignment]
    }
    guard partCount > 1 else { return result }
    guard let count = UInt16(exactly: partCount), let tensors = Int32(exactly: tensorCount) else {
      throw FormatError(
        file: file, field: GGUFFormat.Key.splitCount,
        reason: .outOfRange(
          found: "\(partCount) parts with \(tensorCount) tensors",
          allowed: "at most \(UInt16.max) parts and \(Int32.max) tensors"))
    }
    result[GGUFFormat.Key.splitNumber] = .uint16(UInt16(part))
    if order == .quantizer { result[GGUFFormat.Key.splitCount] = .uint16(count) }
    result[GGUFFormat.Key.splitTensorCount] = .int32(tensors)
    if order == .splitter { result[GGUFFormat.Key.splitCount] = .uint16(count) }
    return result
  }
}
