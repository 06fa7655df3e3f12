import ByteIO

/// The part of a file of weights that says what is in it: names, shapes, places, and no weight.
///
/// Its hash tells one release from another without reading gigabytes.
package enum WeightFileHeader {
  /// SHA-256 of the header of a safetensors or PyTorch file.
  ///
  /// Of safetensors: length and header. Of a ZIP archive of torch: `data.pkl`, then all behind the
  /// records, which is the directory with every record's size and checksum. Of torch's older form:
  /// everything before the first storage.
  ///
  /// - Returns: `nil` for a file of another kind.
  package static func sha256(_ file: PositionalFile) throws(FormatError) -> String? {
    let magicByteCount = min(UInt64(WeightFormat.magicByteCount), file.byteCount)
    let magic = try file.read(at: 0, count: Int(magicByteCount), field: "magic")
    switch WeightFormat(magic: magic) {
    case .safetensors:
      var cursor = FileCursor(file, windowByteCount: 64)
      let headerByteCount: UInt64 = try cursor.readInteger("header length")
      try cursor.skip(headerByteCount, "header")
      return try file.sha256(of: [0..<cursor.offset], field: "header")
    case .pytorch:
      return try file.sha256(of: PyTorchContent.headerRanges(of: file), field: "header")
    case nil:
      return nil
    }
  }
}

extension PyTorchContent {
  /// Where everything but the weights stands.
  fileprivate static func headerRanges(of file: PositionalFile) throws(FormatError)
    -> [Range<UInt64>]
  {
    switch try PyTorchForm(file) {
    case .zip:
      let end = try ZIPEnd(file)
      let pickle = try ZIPArchive(file).entries.first { $0.name.string.hasSuffix("/data.pkl") }
      let record = pickle.map { [$0.dataOffset..<$0.dataOffset + $0.byteCount] } ?? []
      return record + [end.directoryOffset..<file.byteCount]
    case .legacy:
      let records = try PyTorchContent(legacy: file).records
      return [0..<(records.map(\.fileOffset).min() ?? file.byteCount)]
    }
  }
}
