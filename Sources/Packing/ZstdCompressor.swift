import CZstd

/// A compressor of Zstandard with fixed parameters.
package final class ZstdCompressor {
  package enum Mode: Sendable {
    /// Huffman coding of single bytes, no repetitions.
    case entropyOnly
    case level(Int)

    var level: Int32 {
      switch self {
      case .entropyOnly: ZSTD_minCLevel()
      case .level(let level): Int32(level)
      }
    }
  }

  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  private let context: OpaquePointer?

  package init(_ mode: Mode, hasChecksum: Bool = false) throws {
    context = ZSTD_createCCtx()
    try set(ZSTD_c_compressionLevel, mode.level)
    if case .entropyOnly = mode {
      // The fastest level looks for repetitions at next to no place. It would leave literals as they
      // are, unless told otherwise: parameter 5 is the "literal compression mode", 1 is "enable".
      // A library in which this means something else is asked for its fastest ordinary level.
      do { try set(ZSTD_c_experimentalParam5, 1) } catch { try set(ZSTD_c_compressionLevel, 1) }
    }
    try set(ZSTD_c_contentSizeFlag, 1)
    try set(ZSTD_c_checksumFlag, hasChecksum ? 1 : 0)
  }

  deinit { ZSTD_freeCCtx(context) }

  /// What the library allocates to compress contents of at most so many bytes, one after another.
  ///
  /// Its parameters come from a table for each of four classes of sizes, and grow with the size
  /// within a class; a smaller class may ask for more than a larger one.
  package static func byteCount(_ mode: Mode, contentByteLimit: Int) -> Int {
    let classes = [16 << 10, 128 << 10, 256 << 10].filter { $0 < contentByteLimit }
    // 0 would mean that the size is not known.
    return (classes + [max(1, contentByteLimit)]).map { byteCount in
      ZSTD_estimateCCtxSize_usingCParams(
        ZSTD_getCParams(mode.level, UInt64(byteCount), 0))
    }.max() ?? 0
  }

  /// What the library holds now.
  package var byteCount: Int { ZSTD_sizeof_CCtx(context) }

  private func set(_ parameter: ZSTD_cParameter, _ value: Int32) throws {
    try Self.check(ZSTD_CCtx_setParameter(context, parameter, value))
  }

  /// - Returns: bytes written.
  package func compress(
    _ bytes: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
  ) throws -> Int {
    try Self.check(
      ZSTD_compress2(context, target.baseAddress, target.count, bytes.baseAddress, bytes.count))
  }

  @discardableResult
  private static func check(_ result: Int) throws -> Int {
    guard ZSTD_isError(result) == 0 else {
      throw Failure(description: "Zstandard: \(String(cString: ZSTD_getErrorName(result)))")
    }
    return result
  }
}
