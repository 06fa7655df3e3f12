import StrictJSON

/// The alphabet in which byte-level tokenizers write their tokens: one printable letter per byte.
///
/// Bytes 33 to 126, 161 to 172 and 174 to 255 stand for themselves as code points; the other 68
/// are U+0100, U+0101 and so on, in their order. Source: formats/tokenizers/README.md
enum ByteLevelText {
  private static let bytes: [UInt32: UInt8] = {
    var bytes: [UInt32: UInt8] = [:]
    var other: UInt32 = 0x100
    for byte in UInt8.min...UInt8.max {
      switch byte {
      case 33...126, 161...172, 174...255: bytes[UInt32(byte)] = byte
      default:
        bytes[other] = byte
        other += 1
      }
    }
    return bytes
  }()

  /// The text that a token stands for; a token with letters outside the alphabet is its own text.
  static func decode(_ token: String) -> String {
    var text: [UInt8] = []
    for scalar in token.unicodeScalars {
      guard let byte = bytes[scalar.value] else { return token }
      text.append(byte)
    }
    return String(decoding: text, as: UTF8.self)
  }

  /// The bytes that a text in the alphabet stands for; `nil` when a letter is outside it.
  static func bytes(of letters: some Sequence<UInt8>) -> [UInt8]? {
    var result: [UInt8] = []
    var lead: UInt32?
    for unit in letters {
      let scalar: UInt32
      if let first = lead {
        guard unit & 0xC0 == 0x80 else { return nil }
        scalar = first << 6 | UInt32(unit & 0x3F)
        lead = nil
      } else if unit < 0x80 {
        scalar = UInt32(unit)
      } else {
        // Letters of the alphabet that are not ASCII are U+00A1 to U+0143: two bytes each.
        guard 0xC2...0xC5 ~= unit else { return nil }
        lead = UInt32(unit & 0x1F)
        continue
      }
      guard scalar < byteTable.count, byteTable[Int(scalar)] >= 0 else { return nil }
      result.append(UInt8(byteTable[Int(scalar)]))
    }
    return lead == nil ? result : nil
  }

  /// The letters that bytes are written in, as UTF-8.
  static func letters(of bytes: some Sequence<UInt8>) -> [UInt8] {
    bytes.flatMap { letterTable[Int($0)] }
  }

  /// Letter by byte, as UTF-8.
  private static let letterTable: [[UInt8]] = {
    var table = [[UInt8]](repeating: [], count: 256)
    for (scalar, byte) in bytes {
      guard let letter = Unicode.Scalar(scalar) else { continue }
      table[Int(byte)] = Array(String(letter).utf8)
    }
    return table
  }()

  /// Byte by code point, -1 where the code point is no letter of the alphabet.
  private static let byteTable: [Int16] = (0..<0x144).map {
    bytes[UInt32($0)].map { Int16($0) } ?? -1
  }

  /// Whether a tokenizer's `decoder` turns this alphabet into bytes.
  static func isDecoder(_ decoder: JSONValue?) -> Bool {
    if let decoders = decoder?["decoders"]?.array { return decoders.contains(where: isDecoder) }
    return decoder?["type"]?.string == "ByteLevel"
  }
}
