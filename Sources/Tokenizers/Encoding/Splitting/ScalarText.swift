/// A text as code points with their classes, for the scanners.
struct ScalarText {
  private(set) var scalars: [UInt32] = []
  private(set) var classes: [CharacterClass] = []

  var count: Int { scalars.count }

  /// Decodes UTF-8, and what is none as llama.cpp does.
  ///
  /// Each byte that starts no character becomes U+FFFD; overlong forms and surrogates are taken as
  /// they are. Numbers above U+10FFFF, which make llama.cpp give up, become U+FFFD as well.
  init(_ bytes: ArraySlice<UInt8>, _ table: CharacterClasses) {
    scalars.reserveCapacity(bytes.count)
    var index = bytes.startIndex
    while index < bytes.endIndex {
      let (scalar, byteCount) = Self.decode(bytes, index)
      scalars.append(scalar)
      index += byteCount
    }
    classes = scalars.map { table[$0] }
  }

  private static func decode(_ bytes: ArraySlice<UInt8>, _ index: Int) -> (UInt32, Int) {
    let lead = bytes[index]
    let byteCount: Int
    var scalar: UInt32
    switch lead {
    case 0..<0x80: return (UInt32(lead), 1)
    case 0xC0..<0xE0: (byteCount, scalar) = (2, UInt32(lead & 0x1F))
    case 0xE0..<0xF0: (byteCount, scalar) = (3, UInt32(lead & 0x0F))
    case 0xF0..<0xF8: (byteCount, scalar) = (4, UInt32(lead & 0x07))
    default: return (0xFFFD, 1)
    }
    guard index + byteCount <= bytes.endIndex else { return (0xFFFD, 1) }
    for byte in bytes[(index + 1)..<(index + byteCount)] {
      guard byte & 0xC0 == 0x80 else { return (0xFFFD, 1) }
      scalar = scalar << 6 | UInt32(byte & 0x3F)
    }
    return (scalar < 0x110000 ? scalar : 0xFFFD, byteCount)
  }

  /// Appends the UTF-8 of some of the code points.
  func appendUTF8(_ range: Range<Int>, to bytes: inout [UInt8]) {
    for scalar in scalars[range] {
      switch scalar {
      case 0..<0x80: bytes.append(UInt8(scalar))
      case 0x80..<0x800:
        bytes.append(UInt8(0xC0 | scalar >> 6))
        bytes.append(UInt8(0x80 | scalar & 0x3F))
      case 0x800..<0x10000:
        bytes.append(UInt8(0xE0 | scalar >> 12))
        bytes.append(UInt8(0x80 | scalar >> 6 & 0x3F))
        bytes.append(UInt8(0x80 | scalar & 0x3F))
      default:
        bytes.append(UInt8(0xF0 | scalar >> 18 & 0x07))
        bytes.append(UInt8(0x80 | scalar >> 12 & 0x3F))
        bytes.append(UInt8(0x80 | scalar >> 6 & 0x3F))
        bytes.append(UInt8(0x80 | scalar & 0x3F))
      }
    }
  }
}
