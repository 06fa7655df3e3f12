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
    #if canImport(Glibc) || canImport(Musl)
      // "VmHWM:\t   17000 kB". Not `getrusage`: its peak is inherited from the process that started
      // this one.
      for line in firstBytes(of: "/proc/self/status", limit: 16384).split(separator: "\n")
      where line.hasPrefix("VmHWM:") {
        if let kilobytes = UInt64(line.filter(\.isNumber)) { return kilobytes << 10 }
      }
    #endif
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
      // "size resident shared …" in pages.
      let fields = firstBytes(of: "/proc/self/statm", limit: 256).split(separator: " ")
      if fields.count > 1, let pages = UInt64(fields[1]) {
        return pages * UInt64(sysconf(Int32(_SC_PAGESIZE)))
      }
    #endif
    return peakResidentByteCount
  }

  /// Processors that this process may use: those that are on, less what its affinity and its
  /// control group leave out.
  public static var processorCount: Int {
    var count = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    #if canImport(Glibc) || canImport(Musl)
      // "Cpus_allowed:\tff,ffffffff": a bit for each processor.
      for line in firstBytes(of: "/proc/self/status", limit: 16384).split(separator: "\n")
      where line.hasPrefix("Cpus_allowed:") {
        let digits = line.dropFirst("Cpus_allowed:".count).compactMap(\.hexDigitValue)
        let allowed = digits.reduce(0) { $0 + $1.nonzeroBitCount }
        if allowed > 0 { count = min(count, allowed) }
      }
      // "200000 100000": microseconds of processor time in each period; "max" when not limited.
      let quota = firstBytes(of: "/sys/fs/cgroup/cpu.max", limit: 128).split(separator: " ")
      if quota.count == 2, let time = Int(quota[0]),
        let period = Int(quota[1].filter(\.isNumber)), period > 0, time > 0
      {
        count = min(count, max(1, (time + period - 1) / period))
      }
    #endif
    return count
  }

  #if canImport(Glibc) || canImport(Musl)
    /// The start of a file of the kernel's, which has no length; empty when it is not there.
    private static func firstBytes(of path: String, limit: Int) -> String {
      guard let file = fopen(path, "r") else { return "" }
      defer { fclose(file) }
      var buffer = [UInt8](repeating: 0, count: limit)
      let count = fread(&buffer, 1, limit, file)
      return String(decoding: buffer.prefix(count), as: UTF8.self)
    }
  #endif
}
