/// Bytes that were read or unpacked once and are shared by those who want them again.
final class CachedBytes: Sendable {
  /// Filled before the object is shared, and never changed afterwards.
  nonisolated(unsafe) private let storage: UnsafeMutableRawBufferPointer

  /// Allocates memory that `fill` writes whole, or throws.
  init(
    byteCount: Int, fill: (UnsafeMutableRawBufferPointer) throws(FormatError) -> Void
  ) throws(FormatError) {
    // A property that is set would be freed by `deinit`, too, if `fill` throws.
    let storage = FreedBytes.shared.take(max(1, byteCount))
    do throws(FormatError) {
      try fill(UnsafeMutableRawBufferPointer(rebasing: storage[..<byteCount]))
    } catch {
      FreedBytes.shared.give(storage)
      throw error
    }
    self.storage = storage
  }

  deinit { FreedBytes.shared.give(storage) }

  var byteCount: Int { storage.count }
  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(storage) }

  func integer<T: FixedWidthInteger>(at offset: Int, as type: T.Type) -> T {
    T(littleEndian: storage.loadUnaligned(fromByteOffset: offset, as: T.self))
  }
}

/// Memory of cached bytes that nobody wants any more, for the next ones of the same size.
///
/// What one thread allocates and another frees stays with an allocator that has a heap for each
/// thread: with many threads, many times what the cache holds.
private final class FreedBytes: Sendable {
  static let shared = FreedBytes()

  /// Hands memory from one owner to the next; only its owner uses it.
  private struct Free: @unchecked Sendable { var bytes: UnsafeMutableRawBufferPointer }
  private let free = Guarded<[Free]>([])
  static let byteLimit = 4 << 20
  private static let countLimit = 32

  func take(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
    let known = free.withLock { free -> Free? in
      guard let index = free.lastIndex(where: { $0.bytes.count == byteCount }) else { return nil }
      return free.remove(at: index)
    }
    return known?.bytes ?? .allocate(byteCount: byteCount, alignment: 64)
  }

  /// The oldest go when there are too many.
  func give(_ bytes: UnsafeMutableRawBufferPointer) {
    let dropped = free.withLock { [bytes = Free(bytes: bytes)] free -> [Free] in
      free.append(bytes)
      var count = 0
      var byteCount = 0
      for bytes in free.reversed() {
        byteCount += bytes.bytes.count
        guard byteCount <= Self.byteLimit, count < Self.countLimit else { break }
        count += 1
      }
      let dropped = Array(free.dropLast(count))
      free.removeFirst(dropped.count)
      return dropped
    }
    for bytes in dropped { bytes.bytes.deallocate() }
  }
}

/// The frames and pages of packed files that were wanted last, of all files together.
///
/// One for the process: a checkpoint may have hundreds of packed files, and memory must not grow
/// with their number.
package final class FrameCache: Sendable {
  package static let shared = FrameCache(byteBudget: 8 << 20)

  struct Key: Hashable, Sendable {
    var archive: UInt64
    /// Frames from 0 on; pages of the frame table from −1 down.
    var index: Int
  }

  private struct State: Sendable {
    var items: [Key: (bytes: CachedBytes, lastUse: UInt64)] = [:]
    var byteCount = 0
    var uses: UInt64 = 0
    var archives: UInt64 = 0
    var largestFrameByteCount = 0
  }

  private let state = Guarded(State())
  /// What is kept at most; besides it, each thread holds what it unpacks.
  package let byteBudget: Int
  /// So that looking for the oldest takes little time where frames are small.
  private static let itemLimit = 256
  package static let bytesPerDecoder = 256 << 10

  init(byteBudget: Int) { self.byteBudget = byteBudget }

  /// A number for a new archive, whose largest frame has so much content.
  func makeArchiveNumber(frameByteLimit: Int) -> UInt64 {
    state.withLock { state in
      state.archives += 1
      state.largestFrameByteCount = max(state.largestFrameByteCount, frameByteLimit)
      return state.archives
    }
  }

  /// Whether a packed file was opened.
  package static var isInUse: Bool { shared.state.withLock { $0.archives > 0 } }

  /// Memory to set aside for reading packed files: the cache, and what each thread unpacks with; 0
  /// where none was opened.
  package static func byteCount(threadCount: Int) -> Int {
    let (isInUse, frame) = shared.state.withLock { ($0.archives > 0, $0.largestFrameByteCount) }
    // What is read, its planes, its content; and the library's state.
    return isInUse
      ? max(shared.byteBudget, frame) + FreedBytes.byteLimit
        + threadCount * (3 * frame + bytesPerDecoder) : 0
  }

  func find(_ key: Key) -> CachedBytes? {
    state.withLock { state in
      guard let bytes = state.items[key]?.bytes else { return nil }
      state.uses += 1
      state.items[key]?.lastUse = state.uses
      return bytes
    }
  }

  func insert(_ bytes: CachedBytes, _ key: Key) {
    state.withLock { state in
      state.uses += 1
      if let old = state.items.updateValue((bytes, state.uses), forKey: key) {
        state.byteCount -= old.bytes.byteCount
      }
      state.byteCount += bytes.byteCount
      while state.items.count > 1,
        state.byteCount > byteBudget || state.items.count > Self.itemLimit
      {
        guard let oldest = state.items.min(by: { $0.value.lastUse < $1.value.lastUse }) else {
          return
        }
        state.items[oldest.key] = nil
        state.byteCount -= oldest.value.bytes.byteCount
      }
    }
  }

  /// The bytes under a key, made where they are not there.
  ///
  /// Two threads that want the same bytes at the same moment both make them.
  func bytes(_ key: Key, make: () throws(FormatError) -> CachedBytes) throws(FormatError)
    -> CachedBytes
  {
    if let bytes = find(key) { return bytes }
    let bytes = try make()
    insert(bytes, key)
    return bytes
  }

  /// Drops what belongs to an archive that is closed.
  func remove(archive: UInt64) {
    state.withLock { state in
      for (key, value) in state.items where key.archive == archive {
        state.items[key] = nil
        state.byteCount -= value.bytes.byteCount
      }
    }
  }
}
