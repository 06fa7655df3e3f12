import ByteIO

extension PyTorchContent {
  /// 0x1950A86A20F9469CFC6C, little-endian.
  private static let magicNumber: [UInt8] = [
    0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19,
  ]
  private static let protocolVersion = 1001

  /// The form before torch 1.6: five pickles, then the storages.
  ///
  ///     pickle  magic number
  ///     pickle  1001
  ///     pickle  {"protocol_version": 1001, "little_endian": True, "type_sizes": {…}}
  ///     pickle  the dictionary of tensors
  ///     pickle  keys of the storages, a list of texts
  ///     u64     element count, then the elements; per key in the order of the list
  init(legacy file: PositionalFile) throws(FormatError) {
    var cursor = FileCursor(file, windowByteCount: 1 << 16)
    var heap = PickleHeap()
    func next(_ field: String, _ isRight: (PickleValue, PickleHeap) -> Bool)
      throws(FormatError) -> PickleValue
    {
      let start = cursor.offset
      var reader = PickleReader(cursor, heap: heap)
      let value = try reader.read()
      (cursor, heap) = (reader.cursor, reader.heap)
      guard isRight(value, heap) else {
        throw cursor.error(
          field, .unsupported(found: value.kind, allowed: "what torch.save writes there"),
          at: start)
      }
      return value
    }
    _ = try next("magic number") { value, heap in
      if case .long(let index) = value { heap.longs[index] == Self.magicNumber } else { false }
    }
    _ = try next("protocol") { value, _ in
      if case .int(Self.protocolVersion) = value { true } else { false }
    }
    _ = try next("system info") { value, heap in
      guard case .dictionary(let info) = value else { return false }
      return heap.entries(info).contains { key, value in
        if heap.text(key) == "little_endian", case .bool(true) = value { true } else { false }
      }
    }
    root = try next("state dictionary") { _, _ in true }
    let keys = try next("storage keys") { value, _ in
      if case .list = value { true } else { false }
    }
    guard case .list(let list) = keys else { preconditionFailure("checked") }
    self.heap = heap
    records = try Self.readStorages(&cursor, heap.containers[list], heap)
    guard cursor.bytesLeft == 0 else {
      throw cursor.error(
        "storages", .malformed("\(cursor.bytesLeft) bytes follow the last storage"))
    }
  }

  /// Finds the place of every storage; their data is passed over.
  private static func readStorages(
    _ cursor: inout FileCursor, _ keys: [PickleValue], _ heap: PickleHeap
  ) throws(FormatError) -> [StorageRecord] {
    let file = cursor.file
    // Only the counts between the storages are read.
    cursor = FileCursor(file, from: cursor.offset, windowByteCount: 8)
    var records: [ExactString: StorageRecord] = [:]
    for value in keys {
      guard let key = heap.text(value), let storage = heap.storage(key) else {
        throw cursor.error(
          "storage keys",
          .inconsistent("a storage that no tensor uses, so that its type is not known"))
      }
      let name = "storage \(printable(key.string, limit: 40))"
      let elementCount: UInt64 = try cursor.readInteger(name)
      guard elementCount == UInt64(storage.elementCount) else {
        throw cursor.error(
          name,
          .inconsistent(
            "holds \(elementCount) elements, its tensors say \(storage.elementCount)"))
      }
      let record = StorageRecord(
        name: key.string, fileOffset: cursor.offset, byteCount: UInt64(storage.byteCount),
        crc32: nil)
      guard records.updateValue(record, forKey: key) == nil else {
        throw cursor.error(name, .duplicate("storage key"))
      }
      try cursor.skip(UInt64(storage.byteCount), name)
    }
    var ordered: [StorageRecord] = []
    for storage in heap.storages {
      guard let record = records[storage.key] else {
        throw FormatError(
          file: file.path, field: "storage keys",
          reason: .missing("storage \(printable(storage.key.string, limit: 40))"))
      }
      ordered.append(record)
    }
    return ordered
  }
}
