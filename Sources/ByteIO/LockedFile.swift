import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A file that stays when its process ends, under a name that the next run finds again.
///
/// Whoever has it open holds a lock on it, which ends with the process however it ends: no run
/// touches what another one is writing. Where a file system has no locks, nothing tells.
package final class LockedFile: Sendable {
  package enum Lock: Sendable {
    /// Nobody else has the file.
    case exclusive
    /// Others write to other places of it.
    case shared
  }

  /// The name under which it lies.
  package let path: String
  private let file: WritableFile
  private let isOpen = Guarded(true)
  /// Whether the file system has locks, so that nobody else writes it.
  package let isLocked: Bool

  /// Opens a file, and locks it; `nil` when there is none and none is to be made.
  ///
  /// - Parameters:
  ///   - path: where it lies.
  ///   - creating: makes an empty one where none is.
  ///   - lock: how much of it this process wants for itself.
  ///   - output: what the user knows it by, for errors.
  /// - Throws: `OutputError`, also when another process has it locked.
  package init?(_ path: String, creating: Bool, lock: Lock, output: String) throws(OutputError) {
    self.path = path
    // Between opening and locking, its owner may have removed or renamed it.
    for _ in 0..<64 {
      guard let (descriptor, isNew) = try Self.open(path, creating: creating, output: output) else {
        if creating { continue }
        return nil
      }
      do throws(OutputError) {
        let isLocked = try Self.lock(descriptor, lock, output: output, path: path)
        if try Self.hasName(descriptor, path, output: output) {
          self.isLocked = isLocked
          file = WritableFile(path: output, descriptor: descriptor)
          return
        }
      } catch {
        // Nothing stays of what could not begin, unless another process found it meanwhile. While it
        // is locked here and has its name, nobody puts another file there.
        if isNew, flock(descriptor.rawValue, LOCK_EX | LOCK_NB) == 0,
          (try? Self.hasName(descriptor, path, output: output)) == true
        {
          unlink(path)
        }
        try? descriptor.close()
        throw error
      }
      try? descriptor.close()
    }
    throw OutputError(path: output, step: .create, reason: "another process keeps replacing it")
  }

  deinit { close() }

  /// - Returns: the open file, and whether it was made; `nil` when there is none.
  private static func open(_ path: String, creating: Bool, output: String) throws(OutputError)
    -> (FileDescriptor, isNew: Bool)?
  {
    let options: FileDescriptor.OpenOptions = [.closeOnExec, .noFollow, .nonBlocking]
    do {
      if creating {
        do {
          let descriptor = try FileDescriptor.open(
            FilePath(path), .readWrite, options: options.union([.create, .exclusiveCreate]),
            permissions: [.ownerReadWrite, .groupRead, .otherRead])
          return (descriptor, true)
        } catch Errno.fileExists {
        } catch Errno.noSuchFileOrDirectory {
          throw OutputError(
            path: output, step: .create,
            reason: "there is no folder \(printable(OutputFile.folder(of: path)))")
        }
      }
      return (try FileDescriptor.open(FilePath(path), .readWrite, options: options), false)
    } catch Errno.noSuchFileOrDirectory {
      return nil
    } catch let error as OutputError {
      throw error
    } catch {
      throw OutputError(path: output, step: .create, reason: "\(error)")
    }
  }

  /// Locks an open file.
  ///
  /// - Returns: whether the file system has locks.
  private static func lock(
    _ descriptor: FileDescriptor, _ lock: Lock, output: String, path: String
  ) throws(OutputError) -> Bool {
    let operation = lock == .exclusive ? LOCK_EX : LOCK_SH
    while flock(descriptor.rawValue, operation | LOCK_NB) != 0 {
      let code = errno
      switch code {
      case EINTR: continue
      case EWOULDBLOCK:
        throw OutputError(
          path: output, step: .lock,
          reason:
            "another process is writing it (\(printable(OutputFile.name(of: path))) is locked)")
      case _ where lacksLocks(code): return false
      default:
        throw OutputError(
          path: output, step: .create,
          reason: "cannot lock \(printable(OutputFile.name(of: path))): "
            + Errno(rawValue: code).description)
      }
    }
    return true
  }

  /// Whether an error says that a file system has no locks.
  private static func lacksLocks(_ code: CInt) -> Bool {
    [ENOTSUP, EOPNOTSUPP, ENOSYS, ENOLCK].contains(code)
  }

  /// Whether an open file still has its name.
  private static func hasName(
    _ descriptor: FileDescriptor, _ path: String, output: String
  ) throws(OutputError) -> Bool {
    var (opened, named) = (stat(), stat())
    guard fstat(descriptor.rawValue, &opened) == 0 else {
      throw OutputError(path: output, step: .create, reason: Errno(rawValue: errno).description)
    }
    guard opened.st_mode & S_IFMT == S_IFREG else {
      throw OutputError(
        path: output, step: .create,
        reason: "\(printable(OutputFile.name(of: path))) is not a regular file")
    }
    return lstat(path, &named) == 0 && named.st_dev == opened.st_dev
      && named.st_ino == opened.st_ino
  }

  /// Takes the file for this process alone, if nobody else has it.
  package func becomeExclusive() -> Bool {
    while flock(file.descriptor.rawValue, LOCK_EX | LOCK_NB) != 0 {
      if errno != EINTR { return Self.lacksLocks(errno) }
    }
    return true
  }

  /// The length that the file has now.
  package var byteCount: UInt64 {
    get throws(OutputError) {
      var status = stat()
      guard fstat(file.descriptor.rawValue, &status) == 0 else {
        throw OutputError(
          path: file.path, step: .write,
          reason: "cannot tell its length: \(Errno(rawValue: errno))")
      }
      return UInt64(max(0, status.st_size))
    }
  }

  /// Fills `buffer` from `offset` as far as the file goes.
  ///
  /// - Returns: how many bytes were there.
  package func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer)
    throws(OutputError) -> Int
  {
    guard offset <= UInt64(Int64.max) - UInt64(buffer.count) else { return 0 }
    var done = 0
    while done < buffer.count {
      do {
        let got = try file.descriptor.read(
          fromAbsoluteOffset: Int64(offset) + Int64(done),
          into: UnsafeMutableRawBufferPointer(rebasing: buffer[done...]), retryOnInterrupt: true)
        if got == 0 { return done }
        done += got
      } catch {
        throw OutputError(
          path: file.path, step: .write, reason: "cannot read back what was written: \(error)")
      }
    }
    return done
  }

  /// Writes all of `bytes` at `offset`; safe from any thread.
  package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(OutputError) {
    try file.write(bytes, at: offset)
  }

  /// Writes all of `bytes` at `offset`.
  package func write(_ bytes: [UInt8], at offset: UInt64) throws(OutputError) {
    try file.write(bytes, at: offset)
  }

  /// Sets the length of the file; what no `write` reached reads as zero.
  package func setByteCount(_ byteCount: UInt64) throws(OutputError) {
    try file.setByteCount(byteCount)
  }

  /// Starts writing a finished range to disk, so that `sync` has less to wait for.
  package func startWriteBack(at offset: UInt64, byteCount: UInt64) {
    file.startWriteBack(at: offset, byteCount: byteCount)
  }

  /// Makes the bytes durable.
  ///
  /// - Throws: `OutputError`; what is read after that comes from the disk, as far as possible.
  package func sync() throws(OutputError) {
    do throws(OutputError) {
      try file.sync()
    } catch {
      startWriteBack(at: 0, byteCount: 0)
      throw error
    }
  }

  /// Gives the file its final name, which is durable when this returns, and lets go of it.
  package func rename(to name: String) throws(OutputError) {
    guard moves(path, to: name) else {
      throw OutputError(path: name, step: .rename, reason: Errno(rawValue: errno).description)
    }
    close()
    OutputFile.syncFolder(of: name)
  }

  /// Removes the file and lets go of it.
  package func remove() {
    guard isOpen.exchange(false) else { return }
    unlink(path)
    try? file.descriptor.close()
  }

  /// Lets go of the file, which stays.
  package func close() {
    guard isOpen.exchange(false) else { return }
    try? file.descriptor.close()
  }

  /// Bytes that the file system has given to a file; 0 where there is none.
  package static func allocatedByteCount(_ path: String) -> UInt64 {
    var status = stat()
    return lstat(path, &status) == 0 ? UInt64(max(0, status.st_blocks)) * 512 : 0
  }
}

/// The system's `rename`, for a class that has a method of that name.
private func moves(_ path: String, to name: String) -> Bool { rename(path, name) == 0 }
