import ByteIO

extension ZIPEntry {
  /// Reads the local header and the descriptor, which have to say what the directory says.
  ///
  ///     0  4  signature           14  4  CRC-32
  ///     4  2  version needed      18  4  stored byte count
  ///     6  2  flags               22  4  byte count
  ///     8  2  method              26  2  name's byte count
  ///    10  4  time, date          28  2  extra fields' byte count
  ///
  /// - Parameters:
  ///   - file: the archive.
  ///   - limit: where the next entry or the directory starts.
  /// - Returns: the end of the entry with its descriptor.
  /// - Throws: `FormatError` where they differ, or where the entry reaches beyond `limit`.
  mutating func readLocalHeader(_ file: PositionalFile, limit: UInt64) throws(FormatError)
    -> UInt64
  {
    // Torch pads with an extra field, so that data starts at a multiple of 64.
    var cursor = FileCursor(file, from: headerOffset, to: limit, windowByteCount: 256)
    let field = "zip entry \(printable(name.string, limit: 120))"
    guard cursor.bytesLeft >= UInt64(ZIPFormat.localByteCount) else {
      throw cursor.error(field, .inconsistent("overlaps what starts at byte \(limit)"))
    }
    let signature: UInt32 = try cursor.readInteger(field)
    guard signature == ZIPFormat.localSignature else {
      throw cursor.error(field, .malformed("no local header"), at: headerOffset)
    }
    try cursor.skip(2, field)
    let localFlags: UInt16 = try cursor.readInteger(field)
    let method: UInt16 = try cursor.readInteger(field)
    try cursor.skip(4, field)
    let localCRC: UInt32 = try cursor.readInteger(field)
    let stored32: UInt32 = try cursor.readInteger(field)
    let count32: UInt32 = try cursor.readInteger(field)
    let nameByteCount: UInt16 = try cursor.readInteger(field)
    let extraByteCount: UInt16 = try cursor.readInteger(field)
    let localName = try cursor.readBytes(UInt64(nameByteCount), field)
    let extra = try cursor.readBytes(UInt64(extraByteCount), field)
    let wide = try ZIPWideSizes(
      extra, wanted: [count32 == .max, stored32 == .max, false, false], cursor: cursor,
      at: headerOffset)

    func differ(_ what: String) -> FormatError {
      cursor.error(
        field, .inconsistent("local header and directory differ in \(what)"), at: headerOffset)
    }
    guard localName.elementsEqual(name.utf8) else { throw differ("the name") }
    guard localFlags == flags else { throw differ("the flags") }
    guard method == 0 else { throw differ("the method") }
    let hasDescriptor = flags & ZIPFormat.descriptorFlag != 0
    func agrees<T: FixedWidthInteger>(_ local: T, _ central: T) -> Bool {
      local == central || (hasDescriptor && local == 0)
    }
    guard agrees(wide.byteCount ?? UInt64(count32), byteCount),
      agrees(wide.storedByteCount ?? UInt64(stored32), byteCount)
    else { throw differ("the size") }
    guard agrees(localCRC, crc32) else { throw differ("the checksum") }

    dataOffset = cursor.offset
    guard byteCount <= cursor.bytesLeft else {
      throw cursor.error(
        field,
        .inconsistent("\(byteCount) bytes overlap what starts at byte \(limit)"))
    }
    try cursor.skip(byteCount, field)
    guard hasDescriptor else { return cursor.offset }
    return try readDescriptor(&cursor, field)
  }

  /// `[signature] u32 CRC-32, stored byte count, byte count`; counts of 4 or 8 bytes.
  ///
  /// Which of the four forms it is can only be told by what stands there.
  private func readDescriptor(_ cursor: inout FileCursor, _ field: String) throws(FormatError)
    -> UInt64
  {
    let start = cursor.offset
    let available = min(cursor.bytesLeft, 24)
    let bytes = try cursor.readBytes(available, field)
    for hasSignature in [true, false] {
      for width in [8, 4] {
        let needed = (hasSignature ? 4 : 0) + 4 + 2 * width
        var rest = bytes[...]
        guard rest.count >= needed else { continue }
        if hasSignature, rest.take(4) != UInt64(ZIPFormat.descriptorSignature) { continue }
        if rest.take(4) == UInt64(crc32), rest.take(width) == byteCount,
          rest.take(width) == byteCount
        {
          return start + UInt64(needed)
        }
      }
    }
    throw cursor.error(
      field, .inconsistent("the descriptor behind the data differs from the directory"), at: start)
  }
}
