import TestSupport

/// Builds the bytes of a GGUF file, right or wrong, field by field.
struct GGUFBytes {
  var bytes: [UInt8] = []

  /// Starts with magic, version and counts.
  static func header(
    magic: String = "GGUF", version: UInt32 = 3, tensors: UInt64 = 0, keys: UInt64 = 0
  ) -> GGUFBytes {
    var result = GGUFBytes()
    result.bytes = Array(magic.utf8)
    return result.integer(version).integer(tensors).integer(keys)
  }

  func raw(_ more: [UInt8]) -> GGUFBytes {
    var result = self
    result.bytes += more
    return result
  }

  func integer(_ value: some FixedWidthInteger) -> GGUFBytes {
    raw(withUnsafeBytes(of: value.littleEndian) { Array($0) })
  }

  /// A length and as many bytes; `declared` lies about the length.
  func string(_ text: String, declared: UInt64? = nil) -> GGUFBytes {
    integer(declared ?? UInt64(text.utf8.count)).raw(Array(text.utf8))
  }

  /// A key and the number of its value type; the value is to follow.
  func key(_ name: String, type: UInt32) -> GGUFBytes { string(name).integer(type) }

  func key(_ name: String, uint32 value: UInt32) -> GGUFBytes { key(name, type: 4).integer(value) }

  func key(_ name: String, string value: String) -> GGUFBytes { key(name, type: 8).string(value) }

  /// The start of an array value.
  func array(of type: UInt32, count: UInt64) -> GGUFBytes { integer(type).integer(count) }

  /// A tensor info; dimensions in the order of the file.
  func tensor(
    _ name: String, _ dimensions: [UInt64], declaredDimensions: UInt32? = nil, type: UInt32 = 0,
    at offset: UInt64 = 0
  ) -> GGUFBytes {
    var result = string(name).integer(declaredDimensions ?? UInt32(dimensions.count))
    for dimension in dimensions { result = result.integer(dimension) }
    return result.integer(type).integer(offset)
  }

  func padded(to alignment: Int = 32) -> GGUFBytes {
    raw([UInt8](repeating: 0, count: (alignment - bytes.count % alignment) % alignment))
  }

  func data(_ count: Int) -> GGUFBytes { raw((0..<count).map { UInt8($0 & 255) }) }

  func float(_ values: [Float]) -> GGUFBytes {
    values.reduce(self) { $0.integer($1.bitPattern) }
  }
}

extension TemporaryFolder {
  /// Writes a file and returns its path.
  @discardableResult
  func write(_ bytes: [UInt8], _ name: String = "file.gguf") -> String { write(name, bytes) }
}
