import ByteIO

/// One stored record of a ZIP archive, its local header already compared with the directory.
struct ZIPEntry: Hashable, Sendable {
  var name: ExactString
  /// Position of the local header.
  var headerOffset: UInt64
  /// Position of the first byte of the record.
  var dataOffset: UInt64 = 0
  var byteCount: UInt64
  /// 0 in every entry where the writer computed none.
  var crc32: UInt32
  var flags: UInt16
}

/// Numbers of the ZIP format that this reader uses.
///
/// Source: formats/pytorch.md
enum ZIPFormat {
  static let localSignature: UInt32 = 0x0403_4B50
  static let directorySignature: UInt32 = 0x0201_4B50
  static let descriptorSignature: UInt32 = 0x0807_4B50
  static let zip64EndSignature: UInt32 = 0x0606_4B50
  static let zip64LocatorSignature: UInt32 = 0x0706_4B50
  static let endSignature: UInt32 = 0x0605_4B50

  static let endByteCount = 22
  static let locatorByteCount: UInt64 = 20
  static let zip64EndByteCount: UInt64 = 56
  static let localByteCount = 30
  static let directoryEntryByteCount: UInt64 = 46
  static let maximumCommentByteCount = 65_535
  static let zip64FieldID: UInt16 = 1

  /// Sizes and checksum stand behind the data.
  static let descriptorFlag: UInt16 = 1 << 3
  /// Compressor's setting, descriptor, names in UTF-8: everything else changes what the bytes mean.
  static let allowedFlags: UInt16 = 0x0806 | descriptorFlag

  /// Far above every known checkpoint file, which has a record per tensor.
  static let maximumEntryCount: UInt64 = 1_048_576
}
