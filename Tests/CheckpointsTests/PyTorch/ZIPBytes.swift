import TestSupport

/// The bytes of a ZIP archive with any headers, right or wrong.
struct ZIPBytes {
  /// One entry; what is `nil` is as it should be.
  struct Entry {
    var name: String
    var data: [UInt8]
    var flags: UInt16 = 0x0800
    var method: UInt16 = 0
    var crc: UInt32?
    var byteCount: UInt32?
    var headerOffset: UInt32?
    var disk: UInt16 = 0
    var extra: [UInt8] = []
    var comment = ""
    var localSignature: UInt32 = 0x0403_4B50
    var localName: String?
    var localFlags: UInt16?
    var localMethod: UInt16?
    var localCRC: UInt32?
    var localByteCount: UInt32?
    var localExtra: [UInt8] = []
    /// Bytes between the data and the next header.
    var descriptor: [UInt8] = []
    /// Bytes before the local header that belong to nobody.
    var gap: [UInt8] = []

    init(_ name: String, _ data: [UInt8]) {
      self.name = name
      self.data = data
    }

    var trueCRC: UInt32 { data.withUnsafeBytes { crc32($0) } }
  }

  var entries: [Entry]
  var hasZip64End = false
  var comment: [UInt8] = []
  var trailing: [UInt8] = []
  var entryCount: UInt16?
  var directoryOffset: UInt32?
  var directoryByteCount: UInt32?
  var zip64EntryCount: UInt64?
  var zip64Offset: UInt64?
  /// Entries of the directory by index, where they are not all once in order.
  var directoryOrder: [Int]?

  /// A file of `torch.save` with one tensor, changed by `change`.
  static func torch(
    _ pickle: PickleBytes = .plain(), _ change: (inout ZIPBytes) -> Void = { _ in }
  ) -> ZIPBytes {
    var zip = ZIPBytes(entries: [
      Entry("archive/data.pkl", pickle.bytes), Entry("archive/byteorder", Array("little".utf8)),
      Entry("archive/data/0", floats(6)), Entry("archive/version", Array("3\n".utf8)),
    ])
    change(&zip)
    return zip
  }

  var bytes: [UInt8] {
    var file: [UInt8] = []
    var offsets: [Int] = []
    for entry in entries {
      file += entry.gap
      offsets.append(file.count)
      let count = entry.localByteCount ?? UInt32(entry.data.count)
      let name = Array((entry.localName ?? entry.name).utf8)
      file += littleEndian(entry.localSignature) + littleEndian(UInt16(20))
      file += littleEndian(entry.localFlags ?? entry.flags)
      file += littleEndian(entry.localMethod ?? entry.method) + littleEndian(UInt32(0))
      file += littleEndian(entry.localCRC ?? entry.crc ?? entry.trueCRC)
      file += littleEndian(count) + littleEndian(count)
      file += littleEndian(UInt16(name.count)) + littleEndian(UInt16(entry.localExtra.count))
      file += name + entry.localExtra + entry.data + entry.descriptor
    }
    let start = file.count
    for index in directoryOrder ?? Array(entries.indices) {
      let entry = entries[index]
      let count = entry.byteCount ?? UInt32(entry.data.count)
      file += littleEndian(UInt32(0x0201_4B50)) + littleEndian(UInt16(20))
      file += littleEndian(UInt16(20)) + littleEndian(entry.flags) + littleEndian(entry.method)
      file += littleEndian(UInt32(0)) + littleEndian(entry.crc ?? entry.trueCRC)
      file += littleEndian(count) + littleEndian(count)
      file += littleEndian(UInt16(entry.name.utf8.count))
      file += littleEndian(UInt16(entry.extra.count))
      file += littleEndian(UInt16(entry.comment.utf8.count)) + littleEndian(entry.disk)
      file += [UInt8](repeating: 0, count: 6)
      file += littleEndian(entry.headerOffset ?? UInt32(offsets[index]))
      file += Array(entry.name.utf8) + entry.extra + Array(entry.comment.utf8)
    }
    let byteCount = file.count - start
    let count = (directoryOrder ?? Array(entries.indices)).count
    if hasZip64End {
      let end = file.count
      file += littleEndian(UInt32(0x0606_4B50)) + littleEndian(UInt64(44))
      file += littleEndian(UInt32(0x002D_002D)) + [UInt8](repeating: 0, count: 8)
      let stated = zip64EntryCount ?? UInt64(count)
      file += littleEndian(stated) + littleEndian(stated)
      file += littleEndian(UInt64(byteCount)) + littleEndian(UInt64(start))
      file += littleEndian(UInt32(0x0706_4B50)) + littleEndian(UInt32(0))
      file += littleEndian(zip64Offset ?? UInt64(end)) + littleEndian(UInt32(1))
    }
    file += littleEndian(UInt32(0x0605_4B50)) + littleEndian(UInt32(0))
    file += littleEndian(entryCount ?? UInt16(count)) + littleEndian(entryCount ?? UInt16(count))
    file += littleEndian(directoryByteCount ?? UInt32(byteCount))
    file += littleEndian(directoryOffset ?? UInt32(start))
    return file + littleEndian(UInt16(comment.count)) + comment + trailing
  }
}
