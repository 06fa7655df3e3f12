import ByteIO

/// The committed test inputs, found from this file's own path.
package enum Fixtures {
  /// Root of the package.
  package static let root: String = {
    let file = #filePath
    guard let range = file.range(of: "/Tests/TestSupport/") else { return "." }
    return String(file[..<range.lowerBound])
  }()

  package static func path(_ relative: String) -> String { root + "/Fixtures/" + relative }

  /// Whether the fixture is there.
  package static func exists(_ relative: String) -> Bool {
    (try? PositionalFile.readAll(path(relative), limit: 64 << 20)) != nil
  }

  /// A file that a test made, anywhere.
  package static func text(_ path: String) throws -> String {
    String(decoding: try PositionalFile.readAll(path, limit: 64 << 20), as: UTF8.self)
  }

  /// Whether two files that tests made have the same bytes.
  package static func isSame(_ a: String, _ b: String) throws -> Bool {
    try PositionalFile.readAll(a, limit: 1 << 28) == PositionalFile.readAll(b, limit: 1 << 28)
  }

  package static func bytes(_ relative: String) throws -> [UInt8] {
    try PositionalFile.readAll(path(relative), limit: 64 << 20)
  }

  /// Little-endian numbers of a raw fixture.
  package static func floats(_ relative: String) throws -> [Float] {
    let bytes = try bytes(relative)
    return bytes.withUnsafeBytes { raw in
      (0..<raw.count / 4).map {
        Float(
          bitPattern: UInt32(
            littleEndian: raw.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self)))
      }
    }
  }
}

extension String {
  /// First range of `other`, without Foundation.
  fileprivate func range(of other: String) -> Range<String.Index>? {
    ranges(of: other).first
  }
}
