import ByteIO

extension PyTorchContent {
  /// The ZIP form: `NAME/data.pkl`, `NAME/byteorder`, and `NAME/data/KEY` for every storage.
  init(zip file: PositionalFile) throws(FormatError) {
    let archive = try ZIPArchive(file)
    var entries: [ExactString: ZIPEntry] = [:]
    var roots: [String] = []
    for entry in archive.entries {
      entries[entry.name] = entry
      let parts = entry.name.string.split(separator: "/", omittingEmptySubsequences: false)
      if parts.count == 2, parts[1] == "data.pkl" { roots.append(String(parts[0])) }
    }
    guard let root = roots.first, let pickle = entries[ExactString(root + "/data.pkl")] else {
      throw FormatError(
        file: file.path, field: "zip", reason: .missing("NAME/data.pkl: no file of torch.save"))
    }
    guard roots.count == 1 else {
      throw FormatError(file: file.path, field: "zip", reason: .duplicate("data.pkl"))
    }
    guard entries[ExactString(root + "/constants.pkl")] == nil else {
      throw FormatError(
        file: file.path, field: "zip",
        reason: .unsupported(found: "a TorchScript program", allowed: "files of torch.save"),
        advice: "save the state dictionary of the model with torch.save or safetensors")
    }
    // `torch.serialization.set_crc32_options(False)` writes 0 everywhere.
    let hasChecksums = archive.entries.contains { $0.crc32 != 0 }
    if let order = entries[ExactString(root + "/byteorder")] {
      try Self.checkByteOrder(order.record(hasChecksum: hasChecksums), file)
    }
    guard pickle.byteCount <= PickleLimits.byteCount else {
      throw FormatError(
        file: file.path, fileOffset: pickle.dataOffset, field: "data.pkl",
        reason: .outOfRange(
          found: "\(pickle.byteCount) bytes", allowed: "at most \(PickleLimits.byteCount)"))
    }
    try pickle.record(hasChecksum: hasChecksums).checkChecksum(file)
    var reader = PickleReader(
      FileCursor(
        file, from: pickle.dataOffset, to: pickle.dataOffset + pickle.byteCount,
        windowByteCount: 1 << 16))
    self.root = try reader.read()
    guard reader.cursor.bytesLeft == 0 else {
      throw reader.cursor.error(
        "pickle.STOP", .malformed("\(reader.cursor.bytesLeft) bytes follow the end of data.pkl"))
    }
    heap = reader.heap
    records = []
    for storage in heap.storages {
      let name = "\(root)/data/\(storage.key)"
      guard let entry = entries[ExactString(name)] else {
        throw FormatError(
          file: file.path, field: "zip",
          reason: .missing("entry \(printable(name, limit: 120)), which data.pkl names"))
      }
      guard entry.byteCount == UInt64(storage.byteCount) else {
        throw FormatError(
          file: file.path, fileOffset: entry.dataOffset,
          field: "zip entry \(printable(name, limit: 120))",
          reason: .inconsistent(
            "holds \(entry.byteCount) bytes, but \(storage.elementCount) elements of "
              + "\(storage.type?.name ?? "one byte") take \(storage.byteCount)"))
      }
      records.append(entry.record(hasChecksum: hasChecksums))
    }
  }

  private static func checkByteOrder(_ record: StorageRecord, _ file: PositionalFile)
    throws(FormatError)
  {
    try record.checkChecksum(file)
    let limit: UInt64 = 16
    let bytes = try file.read(
      at: record.fileOffset, count: Int(min(record.byteCount, limit)), field: "byteorder")
    guard bytes == Array("little".utf8) else {
      throw FormatError(
        file: file.path, fileOffset: record.fileOffset, field: "byteorder",
        reason: .unsupported(
          found: "\"\(printable(String(decoding: bytes, as: UTF8.self), limit: 16))\"",
          allowed: "\"little\""))
    }
  }
}

extension ZIPEntry {
  fileprivate func record(hasChecksum: Bool) -> StorageRecord {
    StorageRecord(
      name: name.string, fileOffset: dataOffset, byteCount: byteCount,
      crc32: hasChecksum ? crc32 : nil)
  }
}

extension StorageRecord {
  fileprivate func checkChecksum(_ file: PositionalFile) throws(FormatError) {
    guard let expected = crc32 else { return }
    let found = try file.crc32(at: fileOffset, byteCount: byteCount)
    guard found == expected else {
      throw file.checksumError(self, found: found, expected: expected)
    }
  }
}
