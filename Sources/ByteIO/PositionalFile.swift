import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A regular file that is read at positions; it has no file position, so any thread may read.
///
/// Inputs are never mapped: a mapped file that is truncated while being read kills the process.
///
/// A packed file reads as the file that was packed, and `ARCHIVE/NAME` as that file of a packed folder:
/// nobody who reads needs to know. Offsets are then the content's, the identity is the packed file's.
public final class PositionalFile: Sendable {
  /// What `fstat` said when the file was opened; a later difference means that it was changed.
  public struct Identity: Hashable, Sendable {
    public var device: UInt64
    public var inode: UInt64
    public var byteCount: UInt64
    public var modifiedSeconds: Int64
    public var modifiedNanoseconds: Int64
  }

  public let path: String
  public let identity: Identity
  private let storage: Storage
  private enum Storage: Sendable {
    case plain(OpenDescriptor)
    case packed(PackedContent)
  }

  public var byteCount: UInt64 {
    switch storage {
    case .plain: identity.byteCount
    case .packed(let packed): packed.byteCount
    }
  }

  /// Opens a regular file, plain or packed, for reading.
  ///
  /// Links are followed; pipes, devices and folders are refused, packed folders too.
  public convenience init(_ path: String) throws(FormatError) {
    let plain: PositionalFile
    do throws(FormatError) {
      plain = try PositionalFile(plain: path)
    } catch {
      guard error.reason == .fileNotFound, let inner = try PackedPath(path) else { throw error }
      if inner.isFolder { throw Self.notRegular(path, kind: "a folder") }
      guard let file = inner.file else { throw error }
      self.init(path, file)
      return
    }
    guard let packed = try OpenedPacked(plain) else {
      self.init(plain)
      return
    }
    guard let file = packed.singleFile else {
      throw Self.notRegular(path, kind: "a packed folder")
    }
    self.init(path, file)
  }

  private init(_ plain: PositionalFile) {
    path = plain.path
    identity = plain.identity
    storage = plain.storage
  }

  private init(_ path: String, _ packed: PackedContent) {
    self.path = path
    identity = packed.content.file.identity
    storage = .packed(packed)
  }

  /// Opens a regular file as it lies on disk.
  package init(plain path: String) throws(FormatError) {
    self.path = path
    let descriptor: OpenDescriptor
    do {
      // Without O_NONBLOCK, opening a FIFO would wait for a writer for ever.
      descriptor = OpenDescriptor(
        try FileDescriptor.open(
          FilePath(path), .readOnly, options: [.closeOnExec, .nonBlocking]))
    } catch {
      throw Self.failure(path, error)
    }
    identity = try Self.identify(path, descriptor.descriptor)
    storage = .plain(descriptor)
  }

  /// Fills `buffer` from `offset`; short reads and interruptions are continued.
  ///
  /// - Throws: `FormatError.truncated` when the file ends first.
  public func read(
    at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer, field: String = "data"
  ) throws(FormatError) {
    let (end, overflow) = offset.addingReportingOverflow(UInt64(buffer.count))
    if overflow || end > byteCount {
      throw FormatError(
        file: path, fileOffset: offset, field: field,
        reason: .truncated(
          needed: UInt64(buffer.count), available: byteCount > offset ? byteCount - offset : 0))
    }
    switch storage {
    case .plain(let descriptor):
      try read(descriptor.descriptor, at: offset, into: buffer, field: field)
    case .packed(let packed):
      try packed.content.read(at: packed.start + offset, into: buffer)
    }
  }

  private func read(
    _ descriptor: FileDescriptor, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer,
    field: String
  ) throws(FormatError) {
    var done = 0
    while done < buffer.count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
      let got: Int
      do {
        got = try descriptor.read(
          fromAbsoluteOffset: Int64(offset) + Int64(done), into: rest, retryOnInterrupt: true)
      } catch {
        throw Self.failure(path, error, offset: offset + UInt64(done), field: field)
      }
      if got == 0 {
        throw FormatError(
          file: path, fileOffset: offset + UInt64(done), field: field,
          reason: .truncated(needed: UInt64(buffer.count - done), available: 0),
          advice: "the file became shorter while it was being read")
      }
      done += got
    }
  }

  /// Reads `count` bytes, already checked against a limit, into a new array.
  public func read(at offset: UInt64, count: Int, field: String = "data") throws(FormatError)
    -> [UInt8]
  {
    precondition(count >= 0)
    guard UInt64(count) <= byteCount, offset <= byteCount - UInt64(count) else {
      throw FormatError(
        file: path, fileOffset: offset, field: field,
        reason: .truncated(
          needed: UInt64(count), available: byteCount > offset ? byteCount - offset : 0))
    }
    var failure: FormatError?
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initializedCount in
      do throws(FormatError) {
        let target = UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count)
        try read(at: offset, into: target, field: field)
        initializedCount = count
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return bytes
  }

  /// Reads a whole small file, refusing one larger than `limit` bytes.
  public static func readAll(_ path: String, limit: UInt64, field: String = "file")
    throws(FormatError) -> [UInt8]
  {
    let file = try PositionalFile(path)
    try file.refuseGitPointer()
    guard file.byteCount <= limit else {
      throw FormatError(
        file: path, field: field,
        reason: .outOfRange(found: "\(file.byteCount) bytes", allowed: "at most \(limit) bytes"))
    }
    let bytes = try file.read(at: 0, count: Int(file.byteCount), field: field)
    try file.checkUnchanged()
    return bytes
  }

  /// Throws when the file is no longer what it was when it was opened, or no longer under its name.
  public func checkUnchanged() throws(FormatError) {
    let descriptor: FileDescriptor
    switch storage {
    case .plain(let open): descriptor = open.descriptor
    case .packed(let packed):
      try packed.content.file.checkUnchanged()
      return
    }
    var named = stat()
    guard try Self.identify(path, descriptor) == identity, stat(path, &named) == 0,
      UInt64(truncatingIfNeeded: named.st_dev) == identity.device,
      UInt64(truncatingIfNeeded: named.st_ino) == identity.inode
    else {
      throw FormatError(
        file: path, field: "file", reason: .inconsistent("was changed while it was being read"),
        advice: "wait until the download is complete, then start again")
    }
  }

  /// Tells the system that these bytes will be wanted soon.
  public func prefetch(at offset: UInt64, byteCount: Int) {
    switch storage {
    case .plain(let open):
      #if canImport(Glibc) || canImport(Musl)
        _ = posix_fadvise(
          open.descriptor.rawValue, off_t(offset), off_t(byteCount), POSIX_FADV_WILLNEED)
      #endif
    case .packed(let packed):
      packed.content.prefetch(at: packed.start + offset, byteCount: byteCount)
    }
  }

  private static func identify(_ path: String, _ descriptor: FileDescriptor) throws(FormatError)
    -> Identity
  {
    var status = stat()
    guard fstat(descriptor.rawValue, &status) == 0 else {
      throw failure(path, Errno(rawValue: errno))
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      let kind = status.st_mode & S_IFMT == S_IFDIR ? "a folder" : "a device, pipe or socket"
      throw notRegular(path, kind: kind)
    }
    return Identity(status)
  }

  private static func notRegular(_ path: String, kind: String) -> FormatError {
    FormatError(
      file: path, field: "file", reason: .unsupported(found: kind, allowed: "a regular file"))
  }

  private static func failure(
    _ path: String, _ error: any Error, offset: UInt64? = nil, field: String = "file"
  ) -> FormatError {
    let code = error as? Errno ?? .ioError
    if code == .noSuchAddressOrDevice {  // a socket, or a device that is not there
      return notRegular(path, kind: "a device, pipe or socket")
    }
    let reason: FormatError.Reason =
      code == .noSuchFileOrDirectory || code == .notDirectory
      ? .fileNotFound : .readFailed(errno: code.rawValue, description: code.description)
    return FormatError(file: path, fileOffset: offset, field: field, reason: reason)
  }
}

/// A descriptor that is closed when nobody holds it any more.
private final class OpenDescriptor: Sendable {
  let descriptor: FileDescriptor
  init(_ descriptor: FileDescriptor) { self.descriptor = descriptor }
  deinit { try? descriptor.close() }
}

extension PositionalFile.Identity {
  /// What a call of the `stat` family said.
  init(_ status: stat) {
    #if canImport(Darwin)
      let modified = status.st_mtimespec
    #else
      let modified = status.st_mtim
    #endif
    self.init(
      device: UInt64(truncatingIfNeeded: status.st_dev),
      inode: UInt64(truncatingIfNeeded: status.st_ino), byteCount: UInt64(status.st_size),
      modifiedSeconds: Int64(modified.tv_sec), modifiedNanoseconds: Int64(modified.tv_nsec))
  }

  /// Whether a later change could not leave the times as they are: the clock that they are taken from
  /// may stand still for some milliseconds, on other machines for two seconds.
  package var isSettled: Bool {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    // Files may have any date.
    return modifiedSeconds < Int64(now.tv_sec) - 2
  }
}
