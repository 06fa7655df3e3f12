#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Lets numbered jobs through one by one in the order of their numbers, whichever thread has them.
///
/// What depends on all jobs before, such as a place in a file, is decided here; the work before and
/// after goes on in parallel.
package final class Turnstile: @unchecked Sendable {
  // Both stay where they are while threads wait on them.
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let turned = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  /// Guarded by `mutex`.
  private var next = 0
  private var isStopped = false

  package init() {
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(turned, nil)
  }

  deinit {
    pthread_cond_destroy(turned)
    pthread_mutex_destroy(mutex)
    turned.deallocate()
    mutex.deallocate()
  }

  /// Waits until all jobs before `number` are through, then calls `body`, alone.
  ///
  /// - Returns: `nil`, without calling, when the turnstile was stopped.
  package func pass<Result>(_ number: Int, _ body: () -> Result) -> Result? {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while next < number, !isStopped { pthread_cond_wait(turned, mutex) }
    guard !isStopped else { return nil }
    let result = body()
    next = number + 1
    pthread_cond_broadcast(turned)
    return result
  }

  /// Lets nobody through any more, because a job failed and will never come.
  package func stop() {
    pthread_mutex_lock(mutex)
    isStopped = true
    pthread_cond_broadcast(turned)
    pthread_mutex_unlock(mutex)
  }
}
