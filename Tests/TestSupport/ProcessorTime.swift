#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Seconds of processor time that `body`, which stays on its thread, takes.
///
/// Not wall time, which is a matter of what else the machine does.
package func processorTime(_ body: () throws -> Void) rethrows -> Double {
  let start = threadSeconds()
  try body()
  return threadSeconds() - start
}

#if DEBUG
  private let slowdown = 25.0
#else
  private let slowdown = 4.0
#endif

/// Whether a time is of the order of one that a good machine needs for a release build.
///
/// Debug builds and poor or busy machines get their share: what this catches is many times slower.
package func isOfOrder(_ time: Double, of seconds: Double) -> Bool { time < slowdown * seconds }

private func threadSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// Bytes that `body`, which stays on its thread, reads from files; `nil` where the system does not
/// count them.
package func byteCountRead(_ body: () throws -> Void) rethrows -> Int? {
  let start = threadReadCount()
  try body()
  guard let start, let end = threadReadCount() else { return nil }
  return end - start
}

/// `rchar` of this thread, less than what reading it adds.
private func threadReadCount() -> Int? {
  guard let file = fopen("/proc/thread-self/io", "r") else { return nil }
  defer { fclose(file) }
  var buffer = [UInt8](repeating: 0, count: 256)
  let count = fread(&buffer, 1, buffer.count, file)
  let lines = String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n")
  return lines.first { $0.hasPrefix("rchar: ") }.flatMap { Int($0.dropFirst(7)) }
}

extension rusage {
  /// Processor time of a process that has ended, in seconds.
  var processorSeconds: Double {
    Double(ru_utime.tv_sec + ru_stime.tv_sec)
      + Double(ru_utime.tv_usec + ru_stime.tv_usec) * 1e-6
  }
}
