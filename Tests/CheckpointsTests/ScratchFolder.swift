import ByteIO
import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A folder that a test fills and that is removed with it.
final class ScratchFolder {
  let path: String

  init() throws {
    var template = Array("/tmp/ingot-checkpoints-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { throw Errno(rawValue: errno) }
    path = String(cString: made)
  }

  deinit { ScratchFolder.remove(path) }

  func path(_ name: String) -> String { FilePath(path).appending(name).string }

  @discardableResult
  func write(_ bytes: [UInt8], _ name: String) throws -> String {
    let file = try FileDescriptor.open(
      FilePath(path(name)), .writeOnly, options: [.create, .truncate],
      permissions: .ownerReadWrite)
    try file.closeAfter { _ = try file.writeAll(bytes) }
    return path(name)
  }

  @discardableResult
  func write(_ text: String, _ name: String) throws -> String {
    try write(Array(text.utf8), name)
  }

  func makeFolder(_ name: String) throws -> String {
    guard mkdir(path(name), 0o755) == 0 else { throw Errno(rawValue: errno) }
    return path(name)
  }

  func link(_ name: String, to target: String) throws {
    guard symlink(target, path(name)) == 0 else { throw Errno(rawValue: errno) }
  }

  /// Removes a file, a link, or a folder with all that it holds.
  private static func remove(_ path: String) {
    if unlink(path) == 0 { return }
    var names: [String] = []
    if let stream = opendir(path) {
      while let entry = readdir(stream) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
          String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != ".", name != ".." { names.append(name) }
      }
      closedir(stream)
    }
    for name in names { remove(FilePath(path).appending(name).string) }
    rmdir(path)
  }
}
