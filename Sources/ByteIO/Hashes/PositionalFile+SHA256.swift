extension PositionalFile {
  /// Bytes that are read and hashed at a time.
  private static let tileByteCount = 1 << 20

  /// SHA-256 of ranges of the file, one behind the other, in memory of a fixed size.
  ///
  /// - Parameters:
  ///   - ranges: inside the file.
  ///   - field: named in errors.
  ///   - isCancelled: asked between tiles.
  /// - Returns: 64 lower-case hexadecimal digits; `nil` when it was cancelled.
  /// - Throws: when the file cannot be read.
  package func sha256(
    of ranges: [Range<UInt64>], field: String, isCancelled: () -> Bool = { false }
  ) throws(FormatError) -> String? {
    let longest = ranges.map { $0.upperBound - $0.lowerBound }.max() ?? 0
    let tile = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(1, Int(min(longest, UInt64(Self.tileByteCount)))), alignment: 64)
    defer { tile.deallocate() }
    let stream = SHA256Stream()
    for range in ranges {
      var offset = range.lowerBound
      while offset < range.upperBound {
        if isCancelled() { return nil }
        let count = Int(min(UInt64(tile.count), range.upperBound - offset))
        let bytes = UnsafeMutableRawBufferPointer(rebasing: tile[..<count])
        try read(at: offset, into: bytes, field: field)
        stream.update(UnsafeRawBufferPointer(bytes))
        offset += UInt64(count)
      }
    }
    return stream.finish()
  }

  /// SHA-256 of ranges of the file, one behind the other.
  package func sha256(of ranges: [Range<UInt64>], field: String) throws(FormatError) -> String {
    guard let digest = try sha256(of: ranges, field: field, isCancelled: { false }) else {
      preconditionFailure("cancelled by nobody")
    }
    return digest
  }
}
