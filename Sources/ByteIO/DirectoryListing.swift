import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What the file system says about names; links are followed unless said otherwise.
///
/// A packed folder counts as a folder.
package enum DirectoryListing {
  /// Names in a folder, in the order of their bytes, without `.` and `..`.
  ///
  /// The order in which the file system lists them differs between machines and is never used.
  ///
  /// Names that are not UTF-8 can be no file that a checkpoint uses; without `leavesOutOthers` they
  /// are refused.
  package static func names(in folder: String, leavesOutOthers: Bool = true) throws(FormatError)
    -> [String]
  {
    guard let stream = opendir(folder) else {
      let code = Errno(rawValue: errno)
      if code == .notDirectory, let packed = try PackedPath(folder) {
        guard packed.exists else {
          throw FormatError(file: folder, field: "directory", reason: .fileNotFound)
        }
        if packed.isFolder { return packed.names }
      }
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
      guard let name else {
        if leavesOutOthers { continue }
        throw FormatError(
          file: folder, field: "directory", reason: .malformed("holds a name that is not UTF-8"))
      }
      if name != ".", name != ".." { names.append(name) }
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

  /// Whether a path leads to a folder, packed ones included.
  package static func isFolder(_ path: String) -> Bool {
    switch mode(path, followLinks: true) {
    case S_IFDIR: true
    case S_IFREG, nil: (try? PackedPath(path))?.isFolder ?? false
    default: false
    }
  }

  /// Whether something is there; also where the system cannot tell, so that opening it says why.
  package static func exists(_ path: String) -> Bool {
    var status = stat()
    if stat(path, &status) == 0 { return true }
    switch Errno(rawValue: errno) {
    case .notDirectory: return (try? PackedPath(path))?.exists ?? false
    case .noSuchFileOrDirectory, .tooManySymbolicLinkLevels, .fileNameTooLong: return false
    default: return true
    }
  }

  /// The name that a folder had when it was packed, where a path leads to a packed folder itself.
  package static func packedName(of path: String) -> String? {
    guard let packed = try? PackedPath(path), packed.name == "" else { return nil }
    return packed.archive.directory.rootName
  }

  /// A link whose target is not there.
  package static func isDanglingLink(_ path: String) -> Bool {
    mode(path, followLinks: false) == S_IFLNK && !exists(path)
  }

  /// The absolute path without links.
  package static func realPath(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else {
      guard let packed = try? PackedPath(path), packed.exists, packed.name != "",
        let container = realPath(packed.container)
      else { return nil }
      return join(container, packed.name.string)
    }
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
