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

  /// Whether a tokenizer's `decoder` turns this alphabet into bytes.
  static func isDecoder(_ decoder: JSONValue?) -> Bool {
    if let decoders = decoder?["decoders"]?.array { return decoders.contains(where: isDecoder) }
    return decoder?["type"]?.string == "ByteLevel"
  }
}
