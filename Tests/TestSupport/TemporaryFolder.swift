import ByteIO
import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A folder of its own for one test, removed with everything in it at the end.
package final class TemporaryFolder: Sendable {
  package let path: String

  package init(in parent: String = "/tmp") {
    var template = Array("\(parent)/ingot-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { fatalError("mkdtemp: errno \(errno)") }
    path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  deinit { Self.remove(path) }

  /// Writes a file and returns its path; folders in `name` are made.
  @discardableResult
  package func write(_ name: String, _ bytes: some Sequence<UInt8>) -> String {
    let target = FilePath(path).appending(name)
    Self.makeFolders(target.removingLastComponent())
    guard let file = fopen(target.string, "wb") else { fatalError("fopen \(target)") }
    let array = Array(bytes)
    let written = array.withUnsafeBytes { fwrite($0.baseAddress, 1, $0.count, file) }
    fclose(file)
    precondition(written == array.count)
    return target.string
  }

  @discardableResult
  package func write(_ name: String, _ text: String) -> String { write(name, Array(text.utf8)) }

  @discardableResult
  package func link(_ name: String, to target: String) -> String {
    let place = FilePath(path).appending(name)
    Self.makeFolders(place.removingLastComponent())
    precondition(symlink(target, place.string) == 0)
    return place.string
  }

  /// Makes a folder and those above it, and returns its path.
  @discardableResult
  package func makeFolder(_ name: String) -> String {
    let folder = FilePath(path).appending(name)
    Self.makeFolders(folder)
    return folder.string
  }

  package func file(_ name: String) -> String { path + "/" + name }

  /// Names of the entries of a folder inside, sorted, `.` and `..` left out.
  package func list(_ name: String = "") -> [String] {
    Self.entries(name.isEmpty ? path : path + "/" + name)
  }

  private static func makeFolders(_ folder: FilePath) {
    var current = FilePath(root: "/")
    for component in folder.components {
      current.append(component)
      mkdir(current.string, 0o755)
    }
  }

  private static func entries(_ folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
        String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  private static func remove(_ folder: String) {
    for name in entries(folder) {
      let path = folder + "/" + name
      if unlink(path) != 0 { remove(path) }
    }
    rmdir(folder)
  }
}
