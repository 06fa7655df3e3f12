/// The bytes of a safetensors file with any header, right or wrong.
enum SafetensorsBytes {
  static func file(
    _ header: String, dataByteCount: Int = 0, declaredLength: UInt64? = nil
  ) -> [UInt8] {
    let text = Array(header.utf8)
    let length = declaredLength ?? UInt64(text.count)
    let data = (0..<dataByteCount).map { UInt8(truncatingIfNeeded: $0) }
    return (0..<8).map { UInt8(truncatingIfNeeded: length >> ($0 * 8)) } + text + data
  }

  /// A header of F32 vectors, one after the other.
  static func vectors(_ tensors: [(name: String, count: Int)]) -> [UInt8] {
    var entries: [String] = []
    var offset = 0
    for (name, count) in tensors {
      entries.append(
        "\"\(name)\":{\"dtype\":\"F32\",\"shape\":[\(count)],\"data_offsets\":[\(offset),\(offset + count * 4)]}"
      )
      offset += count * 4
    }
    return file("{" + entries.joined(separator: ",") + "}", dataByteCount: offset)
  }
}
