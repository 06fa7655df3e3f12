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
