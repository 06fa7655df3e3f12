import ByteIO

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A folder that goes away with its last reference.
final class TemporaryDirectory {
  let path: String
  private var names: Set<String> = []

  init() {
    var template = Array("/tmp/ingot-tokenizers-XXXXXX".utf8CString)
    path = template.withUnsafeMutableBufferPointer { buffer in
      buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) } ?? "/nowhere"
    }
  }

  deinit {
    for name in names { unlink(path + "/" + name) }
    rmdir(path)
  }

  func write(_ name: String, _ bytes: [UInt8]) throws {
    names.insert(name)
    let file = try OutputFile(path + "/" + name)
    try bytes.withUnsafeBytes { try file.write($0, at: 0) }
    try file.commit()
  }

  func write(_ name: String, _ text: String) throws { try write(name, Array(text.utf8)) }
}
