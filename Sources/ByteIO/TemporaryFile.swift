import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Makes hidden files beside a final name, and clears away those that a killed run left there.
///
/// Whoever writes one holds a lock on it, which ends with the process however it ends. So a file of
/// that name that nobody has locked is left over from a run that was killed.
enum TemporaryFile {
  /// Opens a new locked file beside `path`: `.NAME.ingot-RANDOM.partial`.
  static func create(beside path: FilePath, name: String) throws
    -> (path: String, descriptor: FileDescriptor)
  {
    removeLeftovers(beside: path, name: name)
    var failure: any Error = Errno.fileExists
    for _ in 0..<16 {
      let suffix = String(UInt64.random(in: 0...UInt64.max), radix: 36)
      let temporary = folder(of: path).appending(prefix(name) + suffix + Self.suffix)
      do {
        let descriptor = try FileDescriptor.open(
          temporary, .readWrite, options: [.create, .exclusiveCreate, .closeOnExec],
          permissions: [.ownerReadWrite, .groupRead, .otherRead])
        // A file system without locks still works; its leftovers then stay.
        _ = flock(descriptor.rawValue, LOCK_EX | LOCK_NB)
        var status = stat()
        guard fstat(descriptor.rawValue, &status) == 0 else {
          let code = Errno(rawValue: errno)
          unlink(temporary.string)
          try? descriptor.close()
          throw code
        }
        // Another run may have taken the file for a leftover before it was locked.
        if status.st_nlink > 0 { return (temporary.string, descriptor) }
        try? descriptor.close()
      } catch Errno.fileExists {
        failure = Errno.fileExists
      }
    }
    throw failure
  }

  static func removeLeftovers(beside path: FilePath, name: String) {
    let folder = folder(of: path)
    guard let stream = opendir(folder.string) else { return }
    defer { closedir(stream) }
    while let entry = readdir(stream) {
      let found = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
        String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
      }
      guard found.hasPrefix(prefix(name)), found.hasSuffix(suffix) else { continue }
      let leftover = folder.appending(found)
      guard let descriptor = try? FileDescriptor.open(leftover, .readWrite, options: .noFollow)
      else { continue }
      if flock(descriptor.rawValue, LOCK_EX | LOCK_NB) == 0 { unlink(leftover.string) }
      try? descriptor.close()
    }
  }

  private static func prefix(_ name: String) -> String { ".\(name).ingot-" }
  private static let suffix = ".partial"

  private static func folder(of path: FilePath) -> FilePath {
    let folder = path.removingLastComponent()
    return folder.isEmpty ? "." : folder
  }
}
