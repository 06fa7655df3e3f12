import ForwardRuns

/// What measurements depend on, in lines that are compared.
extension Fitter {
  /// What a checkpoint's configuration says decides over every harm: rotation and norms, too.
  static func configuration(_ folder: String?) throws(FormatError) -> [String] {
    guard let folder else { return [] }
    var lines: [String] = []
    for name in ["config.json", "params.json"] {
      let bytes: [UInt8]
      do throws(FormatError) {
        bytes = try PositionalFile.readAll(folder + "/" + name, limit: 64 << 20)
      } catch {
        if error.reason == .fileNotFound { continue }
        throw error
      }
      var checksum = CRC32()
      checksum.update(bytes)
      lines.append("\(name), CRC-32 \(String(checksum.value, radix: 16))")
    }
    return lines
  }

  /// Of the tokens that are read, which the tokenizer makes of a text.
  static func checksum(_ text: ChunkedText) -> String {
    var checksum = CRC32()
    for token in text.input(ofChunks: 0..<text.chunkCount) {
      checksum.update((0..<4).map { UInt8(truncatingIfNeeded: token >> ($0 * 8)) })
    }
    return String(checksum.value, radix: 16)
  }

  static func identity(_ path: String) throws(FormatError) -> String {
    let identity = try PositionalFile(path).identity
    return "\(OutputFile.name(of: path)) of \(identity.byteCount) bytes, changed "
      + "\(identity.modifiedSeconds).\(identity.modifiedNanoseconds)"
  }
}
