#if THREAD_SANITIZER
  import Glibc
#else
  import Synchronization
#endif

/// A value behind a mutex, usable as a stored property of a Sendable class.
package final class Guarded<Value: Sendable>: Sendable {
  private let mutex: Mutex<Value>

  package init(_ value: Value) { mutex = Mutex(value) }

  package func withLock<Result: Sendable>(_ body: (inout Value) -> Result) -> Result {
    mutex.withLock { (value: inout sending Value) in body(&value) }
  }

  /// - Returns: `nil` where another thread holds the value.
  package func withLockIfAvailable<Result: Sendable>(_ body: (inout Value) -> Result) -> Result? {
    mutex.withLockIfAvailable { (value: inout sending Value) in body(&value) }
  }

  package func exchange(_ new: Value) -> Value {
    withLock { value in
      defer { value = new }
      return value
    }
  }
}

#if THREAD_SANITIZER
  /// Stands in for the library's, which waits in the kernel without the thread sanitizer's seeing it:
  /// that one knows the system's mutexes only.
  private final class Mutex<Value>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var value: Value

    init(_ value: Value) {
      pthread_mutex_init(mutex, nil)
      self.value = value
    }

    deinit {
      pthread_mutex_destroy(mutex)
      mutex.deallocate()
    }

    func withLock<Result>(_ body: (inout sending Value) -> Result) -> Result {
      pthread_mutex_lock(mutex)
      defer { pthread_mutex_unlock(mutex) }
      return body(&value)
    }

    func withLockIfAvailable<Result>(_ body: (inout sending Value) -> Result) -> Result? {
      guard pthread_mutex_trylock(mutex) == 0 else { return nil }
      defer { pthread_mutex_unlock(mutex) }
      return body(&value)
    }
  }
#endif
