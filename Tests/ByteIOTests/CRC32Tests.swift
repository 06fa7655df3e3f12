import ByteIO
import TestSupport
import Testing

/// Long strings are taken in as four parts side by side: around the length where that begins, and
/// with what is left over, the checksum is that of one byte after the other.
@Test func checksumIsThatOfSingleBytes() {
  var state: UInt64 = 1
  let bytes = (0..<200_003).map { _ -> UInt8 in
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return UInt8(truncatingIfNeeded: state >> 56)
  }
  for count in [0, 1, 7, 8, 9, 65_535, 65_536, 65_537, 65_567, 65_568, 131_079, 200_003] {
    let text = Array(bytes[..<count])
    var crc = CRC32()
    crc.update(text)
    #expect(crc.value == text.withUnsafeBytes { crc32($0) }, "\(count)")
    // Behind something else.
    var both = CRC32()
    both.update(Array(bytes[1..<4]))
    both.update(text)
    #expect(both.value == (bytes[1..<4] + text).withUnsafeBytes { crc32($0) }, "\(count)")
  }
}
