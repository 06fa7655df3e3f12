import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What the file system says about names; links are followed unless said otherwise.
package enum DirectoryListing {
  /// Names in a folder, in the order of their bytes, without `.` and `..`.
  ///
  /// The order in which the file system lists them differs between machines and is never used.
  package static func names(in folder: String) throws(FormatError) -> [String] {
    guard let stream = opendir(folder) else {
      let code = Errno(rawValue: errno)
      throw FormatError(
        file: folder, field: "directory",
        reason: code == .noSuchFileOrDirectory
          ? .fileNotFound : .readFailed(errno: code.rawValue, description: code.description))
    }
    defer { closedir(stream) }
    var names: [ExactString] = []
    // The end and a failure look alike but for `errno`.
    errno = 0
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
        ExactString(utf8: raw.prefix { $0 != 0 })
      }
      // A name that is not UTF-8 can be no file that a checkpoint uses.
      if let name, name != ".", name != ".." { names.append(name) }
      errno = 0
    }
    let code = Errno(rawValue: errno)
    if code.rawValue != 0 {
      throw FormatError(
        file: folder, field: "directory",
        reason: .readFailed(errno: code.rawValue, description: code.description))
    }
    return names.sorted().map(\.string)
  }

  package static func isFolder(_ path: String) -> Bool { mode(path, followLinks: true) == S_IFDIR }
  /// Whether something is there; also where the system cannot tell, so that opening it says why.
  package static func exists(_ path: String) -> Bool {
    var status = stat()
    if stat(path, &status) == 0 { return true }
    switch Errno(rawValue: errno) {
    case .noSuchFileOrDirectory, .notDirectory, .tooManySymbolicLinkLevels, .fileNameTooLong:
      return false
    default: return true
    }
  }
  /// A link whose target is not there.
  package static func isDanglingLink(_ path: String) -> Bool {
    mode(path, followLinks: false) == S_IFLNK && !exists(path)
  }

  /// The absolute path without links.
  package static func realPath(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  private static func mode(_ path: String, followLinks: Bool) -> mode_t? {
    var status = stat()
    guard (followLinks ? stat(path, &status) : lstat(path, &status)) == 0 else { return nil }
    return status.st_mode & S_IFMT
  }

  /// `name` inside `folder`.
  package static func join(_ folder: String, _ name: String) -> String {
    FilePath(folder).appending(name).string
  }
}
