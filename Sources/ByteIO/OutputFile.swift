import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A failure to create or write an output.
public struct OutputError: Error, Hashable, Sendable, CustomStringConvertible {
  public enum Step: String, Hashable, Sendable {
    case create, lock, write, sync, rename, freeSpace
  }
  public var path: String
  public var step: Step
  public var reason: String
  /// What the user can do next, if there is something.
  public var advice: String?

  public init(path: String, step: Step, reason: String, advice: String? = nil) {
    self.path = path
    self.step = step
    self.reason = reason
    self.advice = advice
  }

  public var description: String {
    let verb =
      switch step {
      case .create: "cannot create"
      case .lock, .write: "cannot write"
      case .sync: "cannot sync"
      case .rename: "cannot rename to"
      case .freeSpace: "not enough free disk space for"
      }
    let text = "\(verb) \(printable(path)): \(reason)"
    return advice.map { "\(text); \($0)" } ?? text
  }
}

/// A file that appears under its final name only when it is complete.
///
/// Bytes go to a hidden neighbour (`.NAME.ingot-RANDOM.partial`), at any position and from any
/// thread; `commit` syncs it, renames it and syncs the folder. Without `commit`, `discard` (or
/// `deinit`) removes the neighbour, and a file that already had the final name is untouched. What a
/// killed run left is removed by the next one with the same output.
public final class OutputFile: Sendable {
  public let path: String
  public let temporaryPath: String
  private let file: WritableFile
  private let state = Guarded(State.open)
  private enum State { case open, closed }

  public init(_ path: String) throws(OutputError) {
    self.path = path
    let final = FilePath(path)
    try Self.checkReplaceable(path)
    let name = Self.name(of: path)
    do {
      let descriptor: FileDescriptor
      (temporaryPath, descriptor) = try TemporaryFile.create(beside: final, name: name)
      file = WritableFile(path: path, descriptor: descriptor)
    } catch Errno.noSuchFileOrDirectory {
      throw OutputError(
        path: path, step: .create, reason: "there is no folder \(printable(Self.folder(of: path)))")
    } catch {
      throw OutputError(path: path, step: .create, reason: "\(error)")
    }
  }

  deinit { discard() }

  /// Writes all of `bytes` at `offset`; safe from any thread.
  public func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(OutputError) {
    try file.write(bytes, at: offset)
  }

  /// Writes all of `bytes` at `offset`.
  public func write(_ bytes: [UInt8], at offset: UInt64) throws(OutputError) {
    try file.write(bytes, at: offset)
  }

  /// Sets the length of the file; what no `write` reached reads as zero.
  public func setByteCount(_ byteCount: UInt64) throws(OutputError) {
    try file.setByteCount(byteCount)
  }

  /// Starts writing a finished range to disk, so that `commit` has less to wait for.
  package func startWriteBack(at offset: UInt64, byteCount: UInt64) {
    file.startWriteBack(at: offset, byteCount: byteCount)
  }

  /// Makes the bytes durable without giving the file its name yet.
  public func sync() throws(OutputError) { try file.sync() }

  /// Writes a small file whole; one that was there is replaced when the new one is on disk.
  public static func write(_ bytes: [UInt8], to path: String) throws(OutputError) {
    let file = try OutputFile(path)
    try file.setByteCount(UInt64(bytes.count))
    try file.write(bytes, at: 0)
    try file.commit()
  }

  /// Gives the synced file its final name and makes the name durable.
  public func commit() throws(OutputError) {
    try sync()
    guard state.exchange(.closed) == .open else {
      preconditionFailure("commit after commit or discard")
    }
    if rename(temporaryPath, path) != 0 {
      let code = Errno(rawValue: errno)
      unlink(temporaryPath)
      try? file.descriptor.close()
      throw OutputError(path: path, step: .rename, reason: code.description)
    }
    try? file.descriptor.close()
    Self.syncFolder(of: path)
  }

  /// Removes the unfinished file; does nothing after `commit`.
  public func discard() {
    guard state.exchange(.closed) == .open else { return }
    unlink(temporaryPath)
    try? file.descriptor.close()
  }

  /// Throws when this is no name for a file, or something other than a regular file has it.
  package static func checkReplaceable(_ path: String) throws(OutputError) {
    guard FilePath(path).lastComponent != nil, !path.hasSuffix("/") else {
      throw OutputError(path: path, step: .create, reason: "not a file name")
    }
    var status = stat()
    if stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
      throw OutputError(path: path, step: .create, reason: "exists and is not a regular file")
    }
  }

  /// Removes a file that was committed, where another of its set could not be.
  public static func remove(_ path: String) { unlink(path) }

  /// Removes a file so that it stays away after a power cut.
  package static func removeDurably(_ path: String) {
    if unlink(path) == 0 { syncFolder(of: path) }
  }

  /// Removes what killed runs left of unfinished files with this final name.
  package static func removeLeftovers(of path: String) {
    TemporaryFile.removeLeftovers(beside: FilePath(path), name: name(of: path))
  }

  /// Throws when no file can be made in the folder of `path`, without trying.
  public static func checkFolder(of path: String) throws(OutputError) {
    var status = stat()
    if stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
      throw OutputError(
        path: path, step: .create, reason: "is a folder", advice: "name a file in it")
    }
    guard access(folder(of: path), W_OK | X_OK) != 0 else { return }
    let code = Errno(rawValue: errno)
    throw OutputError(
      path: path, step: .create,
      reason: "folder \(printable(folder(of: path))): \(code.description)")
  }

  /// Free bytes that an unprivileged user may write in the folder of `path`.
  public static func freeByteCount(inFolderOf path: String) -> UInt64? {
    var status = statvfs()
    guard statvfs(folder(of: path), &status) == 0 else { return nil }
    let (bytes, overflow) = UInt64(status.f_bavail).multipliedReportingOverflow(
      by: UInt64(status.f_frsize))
    return overflow ? nil : bytes
  }

  /// Whether two paths lead to the same existing file, through links too.
  public static func isSameFile(_ a: String, _ b: String) -> Bool {
    guard let first = status(a), let second = status(b) else { return false }
    return first.st_dev == second.st_dev && first.st_ino == second.st_ino
  }

  /// Of a file, or of the packed file that a path leads into.
  private static func status(_ path: String) -> stat? {
    var result = stat()
    var prefix = FilePath(path)
    while stat(prefix.string, &result) != 0 {
      guard errno == ENOTDIR, prefix.removeLastComponent() else { return nil }
    }
    return result
  }

  /// Whether two paths name the same place, be there a file or not.
  public static func isSamePlace(_ a: String, _ b: String) -> Bool {
    isSameFile(a, b)
      || FilePath(a).lastComponent == FilePath(b).lastComponent
        && isSameFile(folder(of: a), folder(of: b))
  }

  /// Whether `path` names an existing file in `folder` itself.
  public static func exists(_ path: String, directlyIn folder: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && isSameFile(Self.folder(of: path), folder)
  }

  /// Whether `path` names a place in `folder`, at any depth.
  public static func isInside(_ path: String, folder: String) -> Bool {
    guard let outer = realpath(folder, nil) else { return false }
    defer { free(outer) }
    return FilePath(absolutePath(path)).starts(with: FilePath(String(cString: outer)))
  }

  /// Whether two paths name places in one folder.
  public static func isSameFolder(_ a: String, _ b: String) -> Bool {
    folder(of: a) == folder(of: b) || isSameFile(folder(of: a), folder(of: b))
  }

  /// Last component of a path.
  public static func name(of path: String) -> String {
    FilePath(path).lastComponent?.string ?? path
  }

  /// The path from the root, for a file that is named somewhere else.
  public static func absolutePath(_ path: String) -> String {
    guard let folder = realpath(folder(of: path), nil) else { return path }
    defer { free(folder) }
    return FilePath(String(cString: folder)).appending(name(of: path)).string
  }

  package static func folder(of path: String) -> String {
    let folder = FilePath(path).removingLastComponent().string
    return folder.isEmpty ? "." : folder
  }

  /// Makes a rename durable where the file system lets a folder be synced; the rename itself has
  /// happened, so a folder that cannot be opened or synced is no failure.
  static func syncFolder(of path: String) {
    guard let folder = try? FileDescriptor.open(FilePath(Self.folder(of: path)), .readOnly) else {
      return
    }
    _ = fsync(folder.rawValue)
    try? folder.close()
  }
}
