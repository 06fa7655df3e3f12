/// CRC-32 of ZIP, PNG and zlib: polynomial 0xEDB88320, reflected.
package func crc32(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
  var crc = ~UInt32(0)
  for byte in bytes { crc = crcTable[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] ^ (crc >> 8) }
  return ~crc
}

private let crcTable: [UInt32] = (0..<256).map { index in
  (0..<8).reduce(UInt32(index)) { crc, _ in
    crc & 1 == 0 ? crc >> 1 : crc >> 1 ^ 0xEDB8_8320
  }
}
