import CKernels
import CLZ4
import CZstd

/// One thread's memory to unpack frames: what was read, planes before they are put together, and
/// the state of the library.
final class FrameDecoder {
  private let context: OpaquePointer?
  private var packed = UnsafeMutableRawBufferPointer(start: nil, count: 0)
  private var planes = UnsafeMutableRawBufferPointer(start: nil, count: 0)

  init() { context = ZSTD_createDCtx() }

  deinit {
    ZSTD_freeDCtx(context)
    packed.deallocate()
    planes.deallocate()
  }

  /// Room for a packed frame, valid until the next call.
  func packedBuffer(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
    Self.grow(&packed, to: byteCount)
    return UnsafeMutableRawBufferPointer(rebasing: packed[..<byteCount])
  }

  private static func grow(_ buffer: inout UnsafeMutableRawBufferPointer, to byteCount: Int) {
    guard buffer.count < byteCount else { return }
    buffer.deallocate()
    buffer = .allocate(byteCount: byteCount, alignment: 64)
  }

  /// What is wrong with a frame, and at which of its bytes.
  struct Fault: Error {
    var field: String
    var offset: Int
    var reason: FormatError.Reason
  }

  /// Puts the content of a frame together from all of its bytes.
  ///
  ///     offset  bytes  field
  ///          0      4  × planes: codec << 30 | byte count
  ///                    the planes, lowest bytes first, one behind the other
  ///
  /// `content` is whole words, and exactly as long as what the frame unpacks to.
  func unpack(
    _ frame: UnsafeRawBufferPointer, _ layout: PackedLayout,
    into content: UnsafeMutableRawBufferPointer
  ) throws(Fault) {
    let headers = try Self.headers(
      frame, layout, contentByteCount: content.count, frameByteCount: frame.count)
    let wordCount = content.count / layout.wordByteCount
    guard let target = content.baseAddress else { return }
    if layout.planeCount == 1 {
      let start = PackedFormat.planeHeaderByteCount(layout)
      let bytes = UnsafeRawBufferPointer(rebasing: frame[start...])
      try unpack(bytes, headers[0].codec, 0, at: start, into: content)
      return
    }
    Self.grow(&planes, to: content.count)
    var offset = PackedFormat.planeHeaderByteCount(layout)
    var places: [UnsafePointer<UInt8>] = []
    for (index, plane) in headers.enumerated() {
      let bytes = UnsafeRawBufferPointer(rebasing: frame[offset..<offset + plane.byteCount])
      let place: UnsafeRawBufferPointer
      if plane.codec == .stored {
        place = bytes
      } else {
        let room = UnsafeMutableRawBufferPointer(
          rebasing: planes[index * wordCount..<(index + 1) * wordCount])
        try unpack(bytes, plane.codec, index, at: offset, into: room)
        place = UnsafeRawBufferPointer(room)
      }
      guard let address = place.baseAddress else { return }
      places.append(address.assumingMemoryBound(to: UInt8.self))
      offset += plane.byteCount
    }
    places.withUnsafeBufferPointer { places in
      guard let places = places.baseAddress else { return }
      UnsafeRawPointer(places).withMemoryRebound(to: UnsafePointer<UInt8>.self, capacity: 1) {
        ingot_join_planes(
          $0, wordCount, Int32(layout.wordByteCount), layout.rotatesSign ? 1 : 0,
          target.assumingMemoryBound(to: UInt8.self))
      }
    }
  }

  /// The headers of the planes, which fill the frame exactly.
  ///
  /// `frame` holds its first bytes, at least the headers if it is long enough.
  static func headers(
    _ frame: UnsafeRawBufferPointer, _ layout: PackedLayout, contentByteCount: Int,
    frameByteCount: Int
  ) throws(Fault) -> [PackedPlane] {
    let headerByteCount = PackedFormat.planeHeaderByteCount(layout)
    guard frame.count >= headerByteCount else {
      throw Fault(
        field: "planes", offset: 0,
        reason: .truncated(needed: UInt64(headerByteCount), available: UInt64(frame.count)))
    }
    let wordCount = contentByteCount / layout.wordByteCount
    var planes: [PackedPlane] = []
    var end = headerByteCount
    for index in 0..<layout.planeCount {
      let number = UInt32(
        littleEndian: frame.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self))
      guard let plane = PackedPlane(number: number) else {
        throw Fault(
          field: "plane[\(index)].codec", offset: 4 * index,
          reason: .unsupported(found: "\(number >> 30)", allowed: "0, 1 and 2"))
      }
      let isRight =
        plane.codec == .stored ? plane.byteCount == wordCount : plane.byteCount < wordCount
      guard isRight, plane.byteCount <= frameByteCount - end else {
        throw Fault(
          field: "plane[\(index)].byte count", offset: 4 * index,
          reason: .outOfRange(
            found: "\(plane.byteCount)",
            allowed: plane.codec == .stored
              ? "\(wordCount), as it is stored" : "less than \(wordCount), and what the frame has"))
      }
      end += plane.byteCount
      planes.append(plane)
    }
    guard end == frameByteCount else {
      throw Fault(
        field: "planes", offset: end,
        reason: .inconsistent("end \(frameByteCount - end) bytes before the frame does"))
    }
    return planes
  }

  private func unpack(
    _ bytes: UnsafeRawBufferPointer, _ codec: PackedCodec, _ index: Int, at offset: Int,
    into plane: UnsafeMutableRawBufferPointer
  ) throws(Fault) {
    let fault: String?
    switch codec {
    case .stored:
      plane.copyMemory(from: bytes)
      fault = nil
    case .zstd: fault = unpackZstd(bytes, into: plane, declaresByteCount: true)
    case .lz4:
      let count = LZ4_decompress_safe(
        bytes.baseAddress, plane.baseAddress, Int32(bytes.count), Int32(plane.count))
      fault = count == plane.count ? nil : "LZ4 does not unpack it to \(plane.count) bytes"
    }
    if let fault {
      throw Fault(field: "plane[\(index)]", offset: offset, reason: .malformed(fault))
    }
  }

  /// Unpacks Zstandard to exactly the size of `target`.
  ///
  /// The bytes have to be one frame, which with `declaresByteCount` says how long its content is.
  /// The result is what is wrong.
  func unpackZstd(
    _ bytes: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer,
    declaresByteCount: Bool
  ) -> String? {
    guard let windowByteCount = ZstdFrame.windowByteCount(bytes) else {
      return "is no frame of Zstandard"
    }
    guard windowByteCount <= ZstdFrame.windowByteLimit else {
      return
        "asks for a window of \(windowByteCount) bytes, allowed are \(ZstdFrame.windowByteLimit)"
    }
    // One frame and nothing behind it, least of all one of a form before 1.0.
    guard ZSTD_findFrameCompressedSize(bytes.baseAddress, bytes.count) == bytes.count else {
      return "is not exactly one frame of Zstandard"
    }
    if declaresByteCount {
      let declared = ZSTD_getFrameContentSize(bytes.baseAddress, bytes.count)
      guard declared == UInt64(target.count) else {
        return "its frame of Zstandard does not declare \(target.count) bytes"
      }
    }
    // The target is the window, so nothing else is allocated whatever the frame asks for.
    let count = ZSTD_decompressDCtx(
      context, target.baseAddress, target.count, bytes.baseAddress, bytes.count)
    if ZSTD_isError(count) != 0 {
      return "Zstandard: \(String(cString: ZSTD_getErrorName(count)))"
    }
    return count == target.count ? nil : "unpacks to \(count) bytes, not \(target.count)"
  }
}

/// What the first bytes of a frame of Zstandard say (RFC 8878, section 3.1.1).
enum ZstdFrame {
  static let magic: UInt32 = 0xFD2F_B528
  static let windowByteLimit: UInt64 = 128 << 20

  /// Whether a number begins a frame that holds no content and is passed over (section 3.1.2).
  static func isSkippable(_ magic: UInt32) -> Bool { magic & ~0xF == 0x184D_2A50 }

  /// More than so many bytes cannot hold: a block takes at least 4 and has at most 128 KiB
  /// (section 3.1.1.2).
  static func contentByteLimit(packedByteCount: UInt32) -> UInt64 {
    UInt64(packedByteCount / 4) * (128 << 10)
  }

  /// Memory that a streaming decoder would need; 0 where the content is the window, `nil` for
  /// anything but a frame.
  static func windowByteCount(_ bytes: UnsafeRawBufferPointer) -> UInt64? {
    guard bytes.count >= 6,
      UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self)) == magic
    else { return nil }
    let isSingleSegment = bytes[4] & 0x20 != 0
    if isSingleSegment { return 0 }
    let base = UInt64(1) << (10 + UInt64(bytes[5] >> 3))
    return base + base / 8 * UInt64(bytes[5] & 7)
  }
}

/// Decoders that no thread is using; there are as many as threads ever unpacked at once.
final class FrameDecoderPool: Sendable {
  static let shared = FrameDecoderPool()

  /// Hands a decoder from one thread to the next; only its holder uses it.
  private struct Idle: @unchecked Sendable { var decoder: FrameDecoder }
  private let idle = Guarded<[Idle]>([])

  func withDecoder<Result>(_ body: (FrameDecoder) throws(FormatError) -> Result)
    throws(FormatError) -> Result
  {
    let decoder = idle.withLock { $0.popLast() } ?? Idle(decoder: FrameDecoder())
    defer { idle.withLock { $0.append(decoder) } }
    return try body(decoder.decoder)
  }
}
