import ByteIO
import CKernels
import CLZ4
import CZstd

/// What one thread needs to pack frames.
protocol ContentEncoder: AnyObject {
  /// Packs the content of a frame.
  ///
  /// - Returns: the bytes, valid until the next call.
  func pack(_ content: UnsafeRawBufferPointer, _ region: PackedDirectory.Region) throws
    -> UnsafeRawBufferPointer
}

/// Takes content apart into planes and compresses each by itself.
final class FrameEncoder: ContentEncoder {
  private let options: PackingOptions
  private let entropy: ZstdCompressor
  private let search: ZstdCompressor
  private let planes: UnsafeMutableRawBufferPointer
  /// The frame, and room for a plane that is tried.
  private let packed: UnsafeMutableRawBufferPointer
  private let trial: UnsafeMutableRawBufferPointer
  /// Of LZ4 at high levels.
  private let lz4State: UnsafeMutableRawBufferPointer

  init(_ options: PackingOptions, contentByteLimit: Int) throws {
    self.options = options
    let modes = Self.modes(options)
    entropy = try ZstdCompressor(modes[0])
    search = try ZstdCompressor(modes[1])
    planes = .allocate(byteCount: contentByteLimit, alignment: 64)
    let bound = Self.trialByteCount(contentByteLimit)
    packed = .allocate(
      byteCount: PackedFormat.frameByteLimit(content: contentByteLimit, .words64) + bound,
      alignment: 64)
    trial = .allocate(byteCount: bound, alignment: 64)
    lz4State = .allocate(byteCount: Self.lz4StateByteCount, alignment: 16)
  }

  deinit {
    planes.deallocate()
    packed.deallocate()
    trial.deallocate()
    lz4State.deallocate()
  }

  /// Bytes that one encoder allocates, the library's own included.
  static func byteCount(_ options: PackingOptions, contentByteLimit: Int) -> Int {
    let bound = trialByteCount(contentByteLimit)
    let buffers =
      contentByteLimit + bound
      + PackedFormat.frameByteLimit(content: contentByteLimit, .words64) + bound
    return buffers + lz4StateByteCount
      + (options.codec == .lz4
        ? 0
        : modes(options).reduce(0) {
          $0 + ZstdCompressor.byteCount($1, contentByteLimit: contentByteLimit)
        })
  }

  private static func modes(_ options: PackingOptions) -> [ZstdCompressor.Mode] {
    [.entropyOnly, .level(options.level ?? PackingOptions.textLevel)]
  }

  /// Room that either codec may ask for.
  private static func trialByteCount(_ contentByteLimit: Int) -> Int {
    max(ZSTD_compressBound(contentByteLimit), Int(LZ4_compressBound(Int32(contentByteLimit))))
  }

  private static var lz4StateByteCount: Int {
    Int(max(LZ4_sizeofState(), LZ4_sizeofStateHC()))
  }

  func pack(_ content: UnsafeRawBufferPointer, _ region: PackedDirectory.Region) throws
    -> UnsafeRawBufferPointer
  {
    let layout = region.layout
    let wordCount = content.count / layout.wordByteCount
    if let from = content.baseAddress, let to = planes.baseAddress {
      ingot_split_planes(
        from.assumingMemoryBound(to: UInt8.self), wordCount, Int32(layout.wordByteCount),
        layout.rotatesSign ? 1 : 0, to.assumingMemoryBound(to: UInt8.self))
    }
    var end = PackedFormat.planeHeaderByteCount(layout)
    for index in 0..<layout.planeCount {
      let plane = UnsafeRawBufferPointer(
        rebasing: planes[index * wordCount..<(index + 1) * wordCount])
      let header = try append(plane, isWeights: region.typeName != nil, at: end)
      packed.storeBytes(of: header.number.littleEndian, toByteOffset: 4 * index, as: UInt32.self)
      end += header.byteCount
    }
    return UnsafeRawBufferPointer(rebasing: packed[..<end])
  }

  /// Compresses a plane to `packed` from `offset` on, or copies it there where that does not pay.
  private func append(_ plane: UnsafeRawBufferPointer, isWeights: Bool, at offset: Int) throws
    -> PackedPlane
  {
    let room = UnsafeMutableRawBufferPointer(rebasing: packed[offset...])
    var codec = PackedCodec.zstd
    var byteCount: Int
    switch options.codec {
    case .lz4:
      codec = .lz4
      byteCount = compressLZ4(plane, into: room)
    case .auto, .zstd:
      // What there is to gain in weights is how often each byte occurs. A search for repetitions
      // finds chance ones, which cost more than they save.
      let first = isWeights ? entropy : search
      byteCount = try first.compress(plane, into: room)
      if isWeights, options.level != nil {
        let other = try search.compress(plane, into: trial)
        if other < byteCount {
          room.copyMemory(from: UnsafeRawBufferPointer(rebasing: trial[..<other]))
          byteCount = other
        }
      }
    }
    // A stored plane costs a reader nothing, so a gain below 1/64 is left where it is.
    let limit = options.codec == .auto ? plane.count - plane.count / 64 : plane.count
    guard byteCount > 0, byteCount < limit else {
      room.copyMemory(from: plane)
      return PackedPlane(codec: .stored, byteCount: plane.count)
    }
    return PackedPlane(codec: codec, byteCount: byteCount)
  }

  /// - Returns: 0 when it does not fit.
  private func compressLZ4(
    _ plane: UnsafeRawBufferPointer, into room: UnsafeMutableRawBufferPointer
  ) -> Int {
    guard let from = plane.baseAddress, let to = room.baseAddress, let state = lz4State.baseAddress
    else { return 0 }
    let source = from.assumingMemoryBound(to: CChar.self)
    let target = to.assumingMemoryBound(to: CChar.self)
    let level = Int32(options.level ?? 1)
    let count =
      level > 1
      ? LZ4_compress_HC_extStateHC(
        state, source, target, Int32(plane.count), Int32(room.count), level)
      : LZ4_compress_fast_extState(
        state, source, target, Int32(plane.count), Int32(room.count), 1)
    return Int(count)
  }
}

/// One frame of Zstandard for each frame, with a checksum of its own: what `zstd -d` restores.
final class SeekableEncoder: ContentEncoder {
  private let compressor: ZstdCompressor
  private let packed: UnsafeMutableRawBufferPointer

  init(_ options: PackingOptions, contentByteLimit: Int) throws {
    compressor = try ZstdCompressor(Self.mode(options), hasChecksum: true)
    packed = .allocate(byteCount: ZSTD_compressBound(contentByteLimit), alignment: 64)
  }

  private static func mode(_ options: PackingOptions) -> ZstdCompressor.Mode {
    .level(options.level ?? PackingOptions.textLevel)
  }

  /// Bytes that one encoder allocates, the library's own included.
  static func byteCount(_ options: PackingOptions, contentByteLimit: Int) -> Int {
    ZSTD_compressBound(contentByteLimit)
      + ZstdCompressor.byteCount(mode(options), contentByteLimit: contentByteLimit)
  }

  deinit { packed.deallocate() }

  func pack(_ content: UnsafeRawBufferPointer, _ region: PackedDirectory.Region) throws
    -> UnsafeRawBufferPointer
  {
    let count = try compressor.compress(content, into: packed)
    return UnsafeRawBufferPointer(rebasing: packed[..<count])
  }
}
