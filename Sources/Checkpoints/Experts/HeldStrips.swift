import ByteIO
import Synchronization
import Tensors

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The strip of a transposed matrix that is being read, shared by all threads.
///
/// Every chunk of rows of such a matrix touches every row of the file, and of a packed file every
/// frame. A strip that is as wide as memory allows has them unpacked once for many chunks.
final class HeldStrips: @unchecked Sendable {
  /// Most bytes of a strip; 0: none is held.
  let byteLimit = Atomic(0)

  // Stays where it is while threads wait on it. Readers of the strip hold it for reading.
  private let lock = UnsafeMutablePointer<pthread_rwlock_t>.allocate(capacity: 1)
  /// Guarded by `lock`, as are the others.
  private var current: HeldStrip?
  /// What strips stand in, one after the other: memory that many threads allocate and free in turn
  /// would stay with each of them.
  private var storage = UnsafeMutableRawBufferPointer(start: nil, count: 0)
  /// The strip before, and how often it was wanted since.
  private var passed: (key: HeldStrip.Key, count: Int)?
  /// Threads that come late want a chunk each; who wants more begins anew.
  private static let lateReadLimit = 32

  init() { pthread_rwlock_init(lock, nil) }

  deinit {
    pthread_rwlock_destroy(lock)
    lock.deallocate()
    storage.deallocate()
  }

  /// Calls `body` with the strip of a key, which replaces the one before when nobody reads that any
  /// more; with `nil` where a late thread wants the one before.
  func withStrip(
    _ key: HeldStrip.Key, _ body: (HeldStrip?) throws(FormatError) -> Void
  ) throws(FormatError) {
    while true {
      pthread_rwlock_rdlock(lock)
      if let strip = current, strip.key == key {
        defer { pthread_rwlock_unlock(lock) }
        return try body(strip)
      }
      pthread_rwlock_unlock(lock)
      guard makeCurrent(key) else { return try body(nil) }
    }
  }

  private func makeCurrent(_ key: HeldStrip.Key) -> Bool {
    pthread_rwlock_wrlock(lock)
    defer { pthread_rwlock_unlock(lock) }
    if current?.key == key { return true }
    if let late = passed, late.key == key, late.count < Self.lateReadLimit {
      passed?.count += 1
      return false
    }
    passed = current.map { ($0.key, 0) }
    if storage.count < key.byteCount {
      storage.deallocate()
      storage = .allocate(byteCount: key.byteCount, alignment: 64)
    }
    current = HeldStrip(key, in: storage)
    return true
  }
}
