import ByteIO
import Tensors

/// Everything before the tensor data of one GGUF file, checked against the file's size.
///
/// Little-endian versions 2 and 3. After `init` every tensor is known to lie inside the file, at an
/// aligned offset, and not to share a byte with another; tensors may come in any order.
///
/// Source: formats/gguf.md
package struct GGUFHeader: Sendable {
  package var version: UInt32
  package var metadata: Metadata
  /// A power of two.
  package var alignment: Int
  /// Absolute position of the tensor data.
  package var dataOffset: UInt64
  /// In the order of the file.
  package var tensors: [TensorDescriptor]

  /// Reads the header.
  ///
  /// - Parameters:
  ///   - file: opened for reading.
  ///   - fileIndex: goes into the regions of the tensors; see `TensorSource.files`.
  /// - Throws: `FormatError` for everything that formats/gguf.md does not allow.
  package init(_ file: PositionalFile, fileIndex: Int = 0) throws(FormatError) {
    var cursor = FileCursor(file, to: GGUFFormat.maximumHeaderByteCount)
    let infos: [TensorInfo]
    do throws(FormatError) {
      version = try Self.readVersion(&cursor)
      let tensorCount = try cursor.readInteger("gguf.tensor_count", as: UInt64.self)
      let keyCount = try cursor.readInteger("gguf.kv_count", as: UInt64.self)
      try Self.requireRoom(
        for: tensorCount, of: GGUFFormat.minimumTensorInfoByteCount, "gguf.tensor_count", cursor)
      try Self.requireRoom(
        for: keyCount, of: GGUFFormat.minimumKeyByteCount, "gguf.kv_count", cursor)
      try Self.checkCounts(keys: keyCount, tensors: tensorCount, file: file.path)
      metadata = try Self.readMetadata(count: keyCount, &cursor)
      alignment = try Self.alignment(metadata, file: file.path)
      infos = try Self.readTensorInfos(count: tensorCount, &cursor)
    } catch {
      throw Self.explain(error, file)
    }
    guard let dataOffset = aligned(cursor.offset, to: alignment),
      infos.isEmpty || dataOffset <= file.byteCount
    else {
      throw cursor.error(
        "gguf.padding",
        .truncated(needed: UInt64(alignment), available: file.byteCount - cursor.offset))
    }
    self.dataOffset = dataOffset
    tensors = try Self.place(
      infos, from: dataOffset, alignment: alignment, in: file, fileIndex: fileIndex)
  }

  /// Where a file ends that holds nothing but header and tensors, with the padding of the last one;
  /// `nil` where there is no such position.
  package var contentEnd: UInt64? {
    let end = tensors.lazy.flatMap(\.regions).map { $0.fileOffset + UInt64($0.byteCount) }.max()
    return aligned(max(end ?? dataOffset, dataOffset), to: alignment)
  }

  /// Where the cursor's limit ended reading and not the file, says so.
  private static func explain(_ error: FormatError, _ file: PositionalFile) -> FormatError {
    let limit = GGUFFormat.maximumHeaderByteCount
    guard case .truncated = error.reason, file.byteCount > limit else { return error }
    return FormatError(
      file: file.path, fileOffset: error.fileOffset, field: error.field,
      reason: .outOfRange(
        found: "a header longer than \(limit) bytes", allowed: "at most \(limit) bytes"))
  }

  private static func readVersion(_ cursor: inout FileCursor) throws(FormatError) -> UInt32 {
    let magic = try cursor.readBytes(4, "gguf.magic")
    guard magic == GGUFFormat.magic else {
      throw cursor.error(
        "gguf.magic",
        .malformed("not a GGUF file: starts with \(hexadecimal(magic)), not 47 47 55 46"), at: 0)
    }
    let version = try cursor.readInteger("gguf.version", as: UInt32.self)
    guard GGUFFormat.readVersions.contains(version) else {
      let isBigEndian = GGUFFormat.readVersions.contains(version.byteSwapped)
      let found = isBigEndian ? "\(version.byteSwapped), big-endian" : "\(version)"
      throw cursor.error(
        "gguf.version", .unsupported(found: found, allowed: "2 and 3, little-endian"), at: 4,
        advice: version == 1 || isBigEndian ? "convert the model again with current tools" : nil)
    }
    return version
  }

  /// Throws unless `count` things of at least `byteCount` bytes fit into what is left.
  static func requireRoom(
    for count: UInt64, of byteCount: UInt64, _ field: String, _ cursor: FileCursor
  ) throws(FormatError) {
    guard count <= cursor.bytesLeft / byteCount else {
      let (needed, overflow) = count.multipliedReportingOverflow(by: byteCount)
      throw cursor.error(
        field, .truncated(needed: overflow ? .max : needed, available: cursor.bytesLeft))
    }
  }

  /// Throws when there are more keys or tensors than any model has.
  ///
  /// In memory each of them is several times as large as in the file.
  static func checkCounts(keys: UInt64, tensors: UInt64, file: String) throws(FormatError) {
    for (field, count, limit) in [
      ("gguf.kv_count", keys, GGUFFormat.maximumKeyCount),
      ("gguf.tensor_count", tensors, GGUFFormat.maximumTensorCount),
    ] where count > UInt64(limit) {
      throw FormatError(
        file: file, field: field, reason: .outOfRange(found: "\(count)", allowed: "0 to \(limit)"))
    }
  }

  /// The alignment that the metadata asks for.
  static func alignment(_ metadata: Metadata, file: String) throws(FormatError) -> Int {
    guard let value = metadata[GGUFFormat.Key.alignment] else { return GGUFFormat.defaultAlignment }
    guard case .uint32(let alignment) = value else {
      throw FormatError(
        file: file, field: GGUFFormat.Key.alignment,
        reason: .outOfRange(found: "a value of type \(value.ggufType)", allowed: "uint32"))
    }
    guard alignment.nonzeroBitCount == 1, alignment <= GGUFFormat.maximumAlignment else {
      throw FormatError(
        file: file, field: GGUFFormat.Key.alignment,
        reason: .outOfRange(
          found: "\(alignment)",
          allowed: "a power of two from 1 to \(GGUFFormat.maximumAlignment)"))
    }
    return Int(alignment)
  }
}

private func hexadecimal(_ bytes: [UInt8]) -> String {
  bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
}
