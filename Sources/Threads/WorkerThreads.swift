import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Runs one body on several threads and waits for all of them.
///
/// Plain threads instead of the cooperative pool: the bodies block in reads and writes, and their
/// number is the user's choice, not the machine's.
package enum WorkerThreads {
  /// Calls `body(0)`…`body(count - 1)`, each on a thread of its own; returns when all have returned.
  package static func run(count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    precondition(count > 0)
    var threads: [pthread_t] = []
    for index in 1..<max(count, 1) {
      if let thread = start({ body(index) }) { threads.append(thread) }
    }
    // The calling thread works too; if no thread could be started, it does everything.
    body(0)
    for thread in threads { pthread_join(thread, nil) }
  }

  private static func start(_ body: @escaping @Sendable () -> Void) -> pthread_t? {
    let job = Unmanaged.passRetained(Job(body)).toOpaque()
    let thread = UnsafeMutablePointer<Handle>.allocate(capacity: 1)
    defer { thread.deallocate() }
    guard pthread_create(thread, nil, runJob, job) == 0 else {
      Unmanaged<Job>.fromOpaque(job).release()
      return nil
    }
    return thread.pointee
  }
}

#if canImport(Darwin)
  private typealias Handle = pthread_t?
  private typealias Argument = UnsafeMutableRawPointer
#else
  private typealias Handle = pthread_t
  private typealias Argument = UnsafeMutableRawPointer?
#endif

/// Entry point of a thread: takes over the job that its argument retains.
private func runJob(_ argument: Argument) -> UnsafeMutableRawPointer? {
  let job: UnsafeMutableRawPointer? = argument
  if let job { Unmanaged<Job>.fromOpaque(job).takeRetainedValue().body() }
  return nil
}

private final class Job: Sendable {
  let body: @Sendable () -> Void
  init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// A flag that any thread, or a signal handler, may raise.
public final class CancellationFlag: Sendable {
  private let flag = Atomic(false)
  public init() {}
  public func cancel() { flag.store(true, ordering: .relaxed) }
  public var isCancelled: Bool { flag.load(ordering: .relaxed) }
}
