import ByteIO

/// The lines of a tiktoken file: base64, one space, a decimal number.
struct RankedLines {
  private let bytes: [UInt8]
  private let file: String
  private var position = 0
  private var line = 0
  private var lineStart = 0

  init(bytes: [UInt8], file: String) {
    self.bytes = bytes
    self.file = file
  }

  /// An error about the line that was read last.
  func error(_ reason: FormatError.Reason) -> FormatError {
    FormatError(
      file: file, fileOffset: UInt64(lineStart), field: "line \(line)", reason: reason,
      advice: "the file may be incomplete, or no tokenizer of Llama 3")
  }

  /// The next token and its rank; empty lines are passed over, `nil` at the end.
  mutating func next() throws(FormatError) -> (token: [UInt8], rank: Int)? {
    while position < bytes.count {
      lineStart = position
      line += 1
      let end = bytes[position...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
      var text = bytes[position..<end]
      position = end + 1
      if text.last == UInt8(ascii: "\r") { text.removeLast() }
      if !text.isEmpty { return try parse(text) }
    }
    return nil
  }

  private func parse(_ text: ArraySlice<UInt8>) throws(FormatError) -> (token: [UInt8], rank: Int) {
    guard let space = text.firstIndex(of: UInt8(ascii: " ")) else {
      throw error(.malformed("no token and rank with one space between"))
    }
    let digits = text[(space + 1)...]
    guard (1...9).contains(digits.count), digits.allSatisfy({ $0 &- UInt8(ascii: "0") < 10 }),
      let rank = Int(String(decoding: digits, as: UTF8.self))
    else {
      throw error(
        .outOfRange(
          found: "\"\(printable(String(decoding: digits, as: UTF8.self), limit: 20))\"",
          allowed: "a rank"))
    }
    // Four letters for three bytes.
    let letters = text[..<space]
    guard letters.count <= (RankedTokens.tokenByteLimit + 2) / 3 * 4 else {
      throw error(
        .outOfRange(
          found: "\(letters.count) letters",
          allowed: "a token of at most \(RankedTokens.tokenByteLimit) bytes"))
    }
    guard let token = Base64.decode(letters), !token.isEmpty else {
      throw error(.malformed("a token that is not base64"))
    }
    return (token, rank)
  }
}

/// The encoding of bytes in letters of RFC 4648, section 4.
enum Base64 {
  /// Value of each letter, -1 for what is none.
  private static let values: [Int8] = {
    var values = [Int8](repeating: -1, count: 256)
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for (value, letter) in alphabet.utf8.enumerated() { values[Int(letter)] = Int8(value) }
    return values
  }()

  /// The bytes; `nil` for other letters, missing padding, or bits that belong to no byte.
  static func decode(_ letters: ArraySlice<UInt8>) -> [UInt8]? {
    guard letters.count % 4 == 0 else { return nil }
    let padding = letters.reversed().prefix { $0 == UInt8(ascii: "=") }.count
    guard padding <= 2 else { return nil }
    var result: [UInt8] = []
    result.reserveCapacity(letters.count / 4 * 3)
    var bits: UInt32 = 0
    var bitCount = 0
    for letter in letters.dropLast(padding) {
      let value = values[Int(letter)]
      guard value >= 0 else { return nil }
      bits = bits << 6 | UInt32(value)
      bitCount += 6
      if bitCount >= 8 {
        bitCount -= 8
        result.append(UInt8(truncatingIfNeeded: bits >> UInt32(bitCount)))
        bits &= (1 << UInt32(bitCount)) - 1
      }
    }
    return bits == 0 ? result : nil
  }
}
