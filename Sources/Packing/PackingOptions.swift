import ByteIO
import CLZ4
import CZstd

/// How files are packed.
public struct PackingOptions: Hashable, Sendable {
  public enum Codec: String, CaseIterable, Sendable {
    /// Zstandard where it pays, else stored.
    case auto
    /// Zstandard wherever it makes a plane smaller at all.
    case zstd
    /// LZ4 wherever it makes a plane smaller at all.
    case lz4
  }

  public enum Format: String, CaseIterable, Sendable {
    /// Ingot's own: planes, files and folders. Source: formats/packed-archive.md
    case ingot
    /// The seekable format of Zstandard, which `zstd -d` restores: one file, no planes.
    case seekableZstd = "seekable-zstd"
  }

  public var codec = Codec.auto
  /// Of the codec: 1 to 22 for Zstandard, 1 to 12 for LZ4; `nil`: what is fast.
  public var level: Int?
  public var format = Format.ingot

  public init() {}

  /// Levels that may be asked for.
  public var levels: ClosedRange<Int> {
    codec == .lz4 ? 1...Int(LZ4HC_CLEVEL_MAX) : 1...Int(ZSTD_maxCLevel())
  }

  /// Content of a frame: one block of Zstandard is 128 KiB, which the exponents of 256 KiB of BF16 are.
  static let frameByteCount = 256 << 10
  /// Without planes, larger frames find more repetitions.
  static let seekableFrameByteCount = 1 << 20
  /// Of Zstandard for what is not weights.
  static let textLevel = 3

  /// Content of a frame of a file of so many bytes; `nil` where the format has no room for it.
  ///
  /// Seekable Zstandard has one table, which readers hold: larger files have larger frames.
  package func frameByteCount(contentByteCount: UInt64) -> Int? {
    guard format == .seekableZstd else { return Self.frameByteCount }
    var frame = Self.seekableFrameByteCount
    while contentByteCount > UInt64(frame) * UInt64(SeekableZstd.frameCountLimit) {
      frame *= 2
      guard frame <= Int(SeekableZstd.frameByteLimit) else { return nil }
    }
    return frame
  }
}

/// What the caller sees of running work.
public struct PackingProgress: Sendable {
  /// Bytes of content, unpacked.
  public var finishedByteCount: UInt64
  public var totalByteCount: UInt64
}

/// Packing or unpacking that was stopped by a signal; nothing was left behind.
public struct PackingCancelled: Error, Sendable, CustomStringConvertible {
  public var description: String {
    "interrupted; nothing was written: the same command starts again"
  }
}

/// Something that the options, the input and the output together make impossible.
public struct PackingRefusal: Error, Hashable, Sendable, CustomStringConvertible {
  public var description: String
  init(_ description: String) { self.description = description }
}
