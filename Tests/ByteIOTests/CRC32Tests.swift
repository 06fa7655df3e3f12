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

/// The remainders of strips of columns, each with zeros in the others' place, add up to the whole.
@Test(arguments: [[512, 512], [8, 100, 3], [1, 7, 9, 64]])
func checksumIsTheSumOfStrips(_ widths: [Int]) {
  let rowByteCount = widths.reduce(0, +)
  for rowCount in [1, 2, 3, 4, 5, 11] {
    let bytes = (0..<rowCount * rowByteCount).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 3) }
    var (sum, column) = (UInt32(0), 0)
    for width in widths {
      let strip = (0..<rowCount).flatMap { row in
        bytes[(row * rowByteCount + column)..<(row * rowByteCount + column + width)]
      }
      let remainder = strip.withUnsafeBytes {
        CRC32.remainder(ofRuns: $0, byteCount: width, stride: UInt64(rowByteCount))
      }
      column += width
      sum ^= CRC32.remainder(remainder, zeroByteCount: UInt64(rowByteCount - column))
    }
    let found = CRC32.value(ofRemainder: sum, byteCount: UInt64(bytes.count))
    #expect(found == bytes.withUnsafeBytes { crc32($0) }, "\(rowCount) rows")
  }
}
