import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// An open file that is written at positions, from any thread; what every output is made of.
struct WritableFile: Sendable {
  /// The name that errors give: the final one, which the user knows.
  let path: String
  let descriptor: FileDescriptor

  /// Writes all of `bytes` at `offset`; short writes and interruptions are continued.
  func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(OutputError) {
    var done = 0
    while done < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
      do {
        let written = try descriptor.write(
          toAbsoluteOffset: Int64(offset) + Int64(done), rest, retryOnInterrupt: true)
        if written == 0 { throw Errno.ioError }
        done += written
      } catch {
        throw OutputError(path: path, step: .write, reason: "\(error)")
      }
    }
  }

  func write(_ bytes: [UInt8], at offset: UInt64) throws(OutputError) {
    var failure: OutputError?
    bytes.withUnsafeBytes { bytes in
      do throws(OutputError) {
        try write(bytes, at: offset)
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
  }

  /// Starts writing a finished range to disk, so that a sync has less to wait for.
  func startWriteBack(at offset: UInt64, byteCount: UInt64) {
    #if canImport(Glibc) || canImport(Musl)
      // Linux begins asynchronous write-back of dirty pages on this advice and drops clean ones.
      _ = posix_fadvise(
        descriptor.rawValue, off_t(offset), off_t(byteCount), POSIX_FADV_DONTNEED)
    #endif
  }

  /// Sets the length of the file; what no `write` reached reads as zero.
  func setByteCount(_ byteCount: UInt64) throws(OutputError) {
    while ftruncate(descriptor.rawValue, off_t(byteCount)) != 0 {
      let code = Errno(rawValue: errno)
      if code != .interrupted {
        throw OutputError(path: path, step: .write, reason: code.description)
      }
    }
  }

  func sync() throws(OutputError) {
    while fsync(descriptor.rawValue) != 0 {
      let code = Errno(rawValue: errno)
      if code != .interrupted {
        throw OutputError(path: path, step: .sync, reason: code.description)
      }
    }
  }
}
