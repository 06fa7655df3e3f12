#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What the operating system says of this process's resident memory, in bytes.
public enum ProcessMemory {
  /// The most that was ever resident.
  public static var peakResidentByteCount: UInt64 {
    var usage = rusage()
    #if canImport(Darwin)
      guard getrusage(RUSAGE_SELF, &usage) == 0 else { return 0 }
      return UInt64(usage.ru_maxrss)
    #else
      guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
      return UInt64(usage.ru_maxrss) << 10
    #endif
  }

  /// What is resident now; the peak where the system does not tell.
  public static var residentByteCount: UInt64 {
    #if canImport(Glibc) || canImport(Musl)
      // "size resident shared …" in pages. The file has no length, so it is read with stdio.
      if let file = fopen("/proc/self/statm", "r") {
        defer { fclose(file) }
        var buffer = [CChar](repeating: 0, count: 256)
        if fgets(&buffer, Int32(buffer.count), file) != nil {
          let text = String(
            decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
          let fields = text.split(separator: " ")
          if fields.count > 1, let pages = UInt64(fields[1]) {
            return pages * UInt64(sysconf(Int32(_SC_PAGESIZE)))
          }
        }
      }
    #endif
    return peakResidentByteCount
  }

  /// Processors that this process may use.
  public static var processorCount: Int {
    max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
  }
}
