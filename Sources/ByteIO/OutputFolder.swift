import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A folder that appears under its final name only when everything in it is complete.
///
/// Files go to a hidden neighbour that nobody else knows (`.NAME.ingot-RANDOM.partial`), so that no
/// link in an older folder can lead them elsewhere. A killed run's neighbour is left, and removed by
/// the next run with the same output.
package final class OutputFolder: Sendable {
  package let path: String
  package let temporaryPath: String
  private let state = Guarded(true)
  /// Holds a lock for as long as this run lives, which other machines see too.
  private let lock: FileDescriptor?

  /// - Throws: where something stands under the name, unless it is an empty folder.
  package init(_ path: String) throws(OutputError) {
    var end = path[...]
    while end.count > 1, end.hasSuffix("/") { end = end.dropLast() }
    self.path = String(end)
    let final = FilePath(self.path)
    guard let name = final.lastComponent?.string, name != ".." else {
      throw OutputError(path: path, step: .create, reason: "not a name of a folder")
    }
    var status = stat()
    if lstat(self.path, &status) == 0 {
      guard status.st_mode & S_IFMT == S_IFDIR else {
        throw OutputError(path: path, step: .create, reason: "exists and is not a folder")
      }
      guard (try? DirectoryListing.names(in: self.path, leavesOutOthers: false))?.isEmpty ?? false
      else { throw OutputError(path: path, step: .create, reason: "exists and is not empty") }
    }
    let parent = final.removingLastComponent()
    let folder: FilePath = parent.isEmpty ? "." : parent
    let prefix = ".\(name).ingot-"
    Self.removeLeftovers(in: folder, prefix: prefix)
    do throws(Errno) {
      (temporaryPath, lock) = try Self.create(in: folder, prefix: prefix)
    } catch {
      throw OutputError(
        path: path, step: .create,
        reason: error == .noSuchFileOrDirectory
          ? "there is no folder \(printable(folder.string))" : error.description)
    }
  }

  /// Makes a locked folder of a new name; without a lock where the file system has none.
  private static func create(in folder: FilePath, prefix: String) throws(Errno)
    -> (path: String, lock: FileDescriptor?)
  {
    for _ in 0..<16 {
      let suffix = String(UInt64.random(in: 0...UInt64.max), radix: 36)
      let path = folder.appending("\(prefix)\(suffix).partial")
      guard mkdir(path.string, 0o777) == 0 else {
        if errno == EEXIST { continue }
        throw Errno(rawValue: errno)
      }
      guard let lock = try? FileDescriptor.open(path, .readOnly, options: .closeOnExec) else {
        return (path.string, nil)
      }
      // Another run may have taken the folder for a leftover before it was locked.
      let isTaken = flock(lock.rawValue, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
      var status = stat()
      if !isTaken, lstat(path.string, &status) == 0 { return (path.string, lock) }
      try? lock.close()
    }
    throw .fileExists
  }

  deinit {
    discard()
    try? lock?.close()
  }

  /// Makes a folder inside, and those that it lies in.
  ///
  /// - Precondition: `name` is a relative path of plain components.
  package func makeFolder(_ name: String) throws(OutputError) {
    var inner = FilePath(temporaryPath)
    for component in FilePath(name).components {
      inner.append(component)
      if mkdir(inner.string, 0o777) != 0, errno != EEXIST {
        throw OutputError(
          path: path + "/" + name, step: .create, reason: Errno(rawValue: errno).description)
      }
    }
  }

  /// Makes a file inside.
  ///
  /// - Precondition: `name` is a relative path of plain components.
  package func makeFile(_ name: String) throws(OutputError) -> FolderFile {
    let inner = FilePath(name).removingLastComponent().string
    if !inner.isEmpty { try makeFolder(inner) }
    return try FolderFile(
      DirectoryListing.join(temporaryPath, name), shownAs: path + "/" + name)
  }

  /// Gives the folder its name; what is in it was synced before.
  package func commit() throws(OutputError) {
    Self.syncTree(temporaryPath)
    guard state.exchange(false) else { preconditionFailure("commit after commit or discard") }
    guard rename(temporaryPath, path) == 0 else {
      let code = Errno(rawValue: errno)
      Self.remove(temporaryPath)
      throw OutputError(path: path, step: .rename, reason: code.description)
    }
    OutputFile.syncFolder(of: path)
  }

  /// Removes the unfinished folder; does nothing after `commit`.
  package func discard() {
    if state.exchange(false) { Self.remove(temporaryPath) }
  }

  /// Makes the names in a folder durable; files were synced when they were complete.
  private static func sync(_ folder: String) {
    guard let descriptor = try? FileDescriptor.open(FilePath(folder), .readOnly) else { return }
    defer { try? descriptor.close() }
    _ = fsync(descriptor.rawValue)
  }

  /// Syncs a folder of ours and those in it.
  private static func syncTree(_ folder: String) {
    for name in names(in: folder) {
      let path = DirectoryListing.join(folder, name)
      if isPlainFolder(path) { syncTree(path) }
    }
    sync(folder)
  }

  /// Removes a folder of ours with everything in it; links are removed, not followed.
  private static func remove(_ folder: String) {
    for name in names(in: folder) {
      let path = DirectoryListing.join(folder, name)
      if isPlainFolder(path) { remove(path) } else { unlink(path) }
    }
    rmdir(folder)
  }

  private static func isPlainFolder(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  private static func names(in folder: String) -> [String] {
    (try? DirectoryListing.names(in: folder)) ?? []
  }

  /// Folders of runs that are no more: nobody holds their locks.
  private static func removeLeftovers(in folder: FilePath, prefix: String) {
    for name in names(in: folder.string) where name.hasPrefix(prefix) && name.hasSuffix(".partial")
    {
      let path = folder.appending(name)
      guard let descriptor = try? FileDescriptor.open(path, .readOnly, options: .noFollow) else {
        continue
      }
      defer { try? descriptor.close() }
      if flock(descriptor.rawValue, LOCK_EX | LOCK_NB) == 0 { remove(path.string) }
    }
  }
}

/// A new file inside an unfinished folder.
package final class FolderFile: Sendable {
  private let file: WritableFile

  fileprivate init(_ path: String, shownAs shown: String) throws(OutputError) {
    do {
      let descriptor = try FileDescriptor.open(
        FilePath(path), .writeOnly,
        options: [.create, .exclusiveCreate, .closeOnExec, .noFollow],
        permissions: [.ownerReadWrite, .groupRead, .otherRead])
      file = WritableFile(path: shown, descriptor: descriptor)
    } catch {
      throw OutputError(path: shown, step: .create, reason: "\(error)")
    }
  }

  deinit { try? file.descriptor.close() }

  /// Writes all of `bytes` at `offset`; safe from any thread.
  package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(OutputError) {
    try file.write(bytes, at: offset)
  }

  package func sync() throws(OutputError) { try file.sync() }
}
