/// The numbers of a packed archive: see formats/packed-archive.md.
///
///     offset            bytes  part
///          0               16  header: magic, version, flags
///         16                   frames, one behind the other
///     frame table   4096 each  pages: places and checksums of up to 255 frames
///     directory                names, sizes and regions of the files
///     end − 64             64  trailer: where everything is, and checksums
package enum PackedFormat {
  /// Not ASCII first, and a line end: transfers that change text damage it.
  package static let magic: [UInt8] = [0x89, 0x49, 0x4E, 0x47, 0x4F, 0x54, 0x0D, 0x0A]
  package static let endMagic: [UInt8] = Array("INGOTEND".utf8)
  package static let version: UInt32 = 1

  package static let headerByteCount: UInt64 = 16
  package static let trailerByteCount: UInt64 = 64

  package static let pageByteCount = 4096
  /// Frames that a page has room for.
  ///
  ///     offset  bytes  field
  ///          0      8  where the first frame of the page begins
  ///          8     16  × 255: where the frame ends, checksum of its content
  ///       4088      8  checksum of the bytes before
  package static let framesPerPage = 255
  package static let pageChecksumOffset = pageByteCount - 8

  /// Most bytes that one frame unpacks to, which bounds a reader's memory.
  package static let frameByteLimit = 1 << 20
  package static let directoryByteLimit: UInt64 = 16 << 20
  package static let entryCountLimit = 65_536
  /// Of the name of an entry.
  package static let nameByteLimit = 4096
  package static let componentByteLimit = 255
  package static let componentLimit = 64

  /// Bytes before the planes of a frame: one number for each.
  package static func planeHeaderByteCount(_ layout: PackedLayout) -> Int {
    4 * layout.planeCount
  }

  /// Most bytes that a frame takes: all planes stored.
  package static func frameByteLimit(content: Int, _ layout: PackedLayout) -> Int {
    content + planeHeaderByteCount(layout)
  }
}

/// How the words of a frame are taken apart before they are compressed.
///
/// The low four bits are the bytes of a word; `0x10` says that words are rotated left by one bit.
package enum PackedLayout: UInt8, CaseIterable, Sendable {
  /// As they come.
  case bytes = 0x01
  case words16 = 0x02
  case words32 = 0x04
  case words64 = 0x08
  /// Floats: the sign goes to the lowest bit, so that an exponent of eight bits fills a byte.
  case floats16 = 0x12
  case floats32 = 0x14
  case floats64 = 0x18

  package var wordByteCount: Int { Int(rawValue & 0x0F) }
  package var rotatesSign: Bool { rawValue & 0x10 != 0 }
  package var planeCount: Int { wordByteCount }
}

/// What the bytes of one plane are compressed with: the two high bits of its number.
package enum PackedCodec: UInt32, CaseIterable, Sendable {
  case stored = 0
  /// One frame of Zstandard that says how long its content is.
  case zstd = 1
  /// One raw block of LZ4.
  case lz4 = 2

  package var name: String { "\(self)" }
}

/// The header of a plane: `codec << 30 | byte count`.
package struct PackedPlane: Hashable, Sendable {
  package var codec: PackedCodec
  package var byteCount: Int

  package init(codec: PackedCodec, byteCount: Int) {
    self.codec = codec
    self.byteCount = byteCount
  }

  /// `nil` for a codec that there is not.
  package init?(number: UInt32) {
    guard let codec = PackedCodec(rawValue: number >> 30) else { return nil }
    self.init(codec: codec, byteCount: Int(number & 0x3FFF_FFFF))
  }

  package var number: UInt32 { codec.rawValue << 30 | UInt32(byteCount) }
}
