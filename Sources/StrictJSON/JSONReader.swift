import ByteIO

/// A strict pull reader of RFC 8259 JSON over bytes in memory.
///
/// Refuses what lenient readers let pass: duplicate keys (also when one is spelled with `\u`
/// escapes), trailing commas, byte order marks, UTF-16, lone surrogates, control characters,
/// leading zeros, NaN, text after the value, and nesting deeper than 64. It builds no tree, so a
/// 30 MB tokenizer costs its bytes only.
///
/// Use: `beginObject()`, then `while let key = try nextKey() { … }`; `beginArray()`, then
/// `while try nextElement() { … }`. Every value has to be consumed, if only by `skipValue()`.
public struct JSONReader {
  public static let depthLimit = 64

  public let file: String
  let bytes: [UInt8]
  /// Position of the next byte to look at, in `bytes`.
  public private(set) var position: Int
  /// Position of `bytes[0]` in the file.
  let base: UInt64
  private let end: Int
  private var stack: [Level] = []

  private struct Level {
    var isObject: Bool
    var isFirst = true
    var keys: Set<ExactString>?
  }

  public enum Kind: String, Sendable { case object, array, string, number, bool, null }

  /// - Parameters:
  ///   - bytes: the document, from its first to its last byte.
  ///   - file: named in errors.
  ///   - base: position of the document in that file.
  public init(_ bytes: [UInt8], file: String, base: UInt64 = 0) {
    self.bytes = bytes
    self.file = file
    self.base = base
    position = 0
    end = bytes.count
  }

  // MARK: Structure

  /// The kind of the next value, without consuming it.
  public mutating func peek(_ field: String = "json") throws(FormatError) -> Kind {
    skipSpace()
    guard position < end else { throw truncated(field) }
    switch bytes[position] {
    case UInt8(ascii: "{"): return .object
    case UInt8(ascii: "["): return .array
    case UInt8(ascii: "\""): return .string
    case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
    case UInt8(ascii: "n"): return .null
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
    default: throw malformed(field, "not the start of a JSON value")
    }
  }

  /// Enters an object.
  ///
  /// `rejectingDuplicates: false` is for objects with many keys whose caller detects duplicates.
  public mutating func beginObject(_ field: String = "json", rejectingDuplicates: Bool = true)
    throws(FormatError)
  {
    try expect(.object, field)
    try push(Level(isObject: true, keys: rejectingDuplicates ? [] : nil), field)
  }

  public mutating func beginArray(_ field: String = "json") throws(FormatError) {
    try expect(.array, field)
    try push(Level(isObject: false, keys: nil), field)
  }

  /// The next key of the current object, or `nil` after leaving it at its closing brace.
  public mutating func nextKey(_ field: String = "json") throws(FormatError) -> String? {
    precondition(stack.last?.isObject == true, "nextKey outside an object")
    guard try advance(to: UInt8(ascii: "}"), field) else { return nil }
    guard position < end, bytes[position] == UInt8(ascii: "\"") else {
      throw malformed(field, "expected a key in quotes")
    }
    let start = position
    let key = try readString(field)
    let level = stack.count - 1
    if stack[level].keys?.insert(ExactString(key)).inserted == false {
      throw error(field, .duplicate("key \"\(printable(key, limit: 80))\""), at: start)
    }
    skipSpace()
    guard position < end, bytes[position] == UInt8(ascii: ":") else {
      throw malformed(field, "expected ':' after a key")
    }
    position += 1
    return key
  }

  /// Whether the current array has another element; `false` after leaving it at its bracket.
  public mutating func nextElement(_ field: String = "json") throws(FormatError) -> Bool {
    precondition(stack.last?.isObject == false, "nextElement outside an array")
    return try advance(to: UInt8(ascii: "]"), field)
  }

  /// Checks that nothing but white space follows the document.
  public mutating func finish(_ field: String = "json") throws(FormatError) {
    skipSpace()
    if position < end { throw malformed(field, "text after the end of the document") }
  }

  /// Reads past one value, checking it as strictly as if it were wanted.
  public mutating func skipValue(_ field: String = "json") throws(FormatError) {
    switch try peek(field) {
    case .object:
      try beginObject(field)
      while try nextKey(field) != nil { try skipValue(field) }
    case .array:
      try beginArray(field)
      while try nextElement(field) { try skipValue(field) }
    case .string: _ = try readStringBytes(field)
    case .number: _ = try readNumber(field)
    case .bool: _ = try readBool(field)
    case .null: try readNull(field)
    }
  }

  // MARK: Scalars

  public mutating func readNull(_ field: String = "json") throws(FormatError) {
    try readWord("null", field)
  }

  public mutating func readBool(_ field: String = "json") throws(FormatError) -> Bool {
    guard try peek(field) == .bool else { throw wrongKind(field, allowed: "true or false") }
    if bytes[position] == UInt8(ascii: "t") {
      try readWord("true", field)
      return true
    }
    try readWord("false", field)
    return false
  }

  public mutating func readNumber(_ field: String = "json") throws(FormatError) -> JSONNumber {
    guard try peek(field) == .number else { throw wrongKind(field, allowed: "a number") }
    let start = position
    func isDigit(_ at: Int) -> Bool { at < end && bytes[at] &- UInt8(ascii: "0") < 10 }
    func byte(_ at: Int) -> UInt8 { at < end ? bytes[at] : 0 }
    var at = position
    var isInteger = true
    if byte(at) == UInt8(ascii: "-") { at += 1 }
    guard isDigit(at) else { throw malformed(field, "a number without digits") }
    if byte(at) == UInt8(ascii: "0"), isDigit(at + 1) {
      throw malformed(field, "a number with a leading zero")
    }
    while isDigit(at) { at += 1 }
    if byte(at) == UInt8(ascii: ".") {
      isInteger = false
      at += 1
      guard isDigit(at) else { throw malformed(field, "a number without digits after its point") }
      while isDigit(at) { at += 1 }
    }
    if byte(at) | 0x20 == UInt8(ascii: "e") {
      isInteger = false
      at += 1
      if byte(at) == UInt8(ascii: "+") || byte(at) == UInt8(ascii: "-") { at += 1 }
      guard isDigit(at) else { throw malformed(field, "a number without digits in its exponent") }
      while isDigit(at) { at += 1 }
    }
    guard at - start <= 1024 else { throw malformed(field, "a number of over 1024 characters") }
    position = at
    return JSONNumber(
      text: String(decoding: bytes[start..<at], as: UTF8.self), isIntegerLiteral: isInteger)
  }

  public mutating func readInt(_ field: String = "json") throws(FormatError) -> Int {
    let start = (try peek(field), position).1
    guard let value = try readNumber(field).int else {
      throw error(field, .outOfRange(found: "another number", allowed: "an integer"), at: start)
    }
    return value
  }

  public mutating func readString(_ field: String = "json") throws(FormatError) -> String {
    let start = position
    guard let text = String(validating: try readStringBytes(field), as: UTF8.self) else {
      throw error(field, .malformed("text that is not valid UTF-8"), at: start)
    }
    return text
  }

  /// The UTF-8 bytes of a string, escapes decoded, validated.
  public mutating func readStringBytes(_ field: String = "json") throws(FormatError) -> [UInt8] {
    var result: [UInt8] = []
    try readStringBytes(appendingTo: &result, field)
    return result
  }

  /// Appends the UTF-8 bytes of a string; for many strings that share one buffer.
  public mutating func readStringBytes(appendingTo result: inout [UInt8], _ field: String = "json")
    throws(FormatError)
  {
    guard try peek(field) == .string else { throw wrongKind(field, allowed: "a string") }
    let start = position
    let resultStart = result.count
    position += 1
    var hasHighBytes = false
    while true {
      let runStart = position
      while position < end {
        let byte = bytes[position]
        if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte < 0x20 { break }
        if byte >= 0x80 { hasHighBytes = true }
        position += 1
      }
      result.append(contentsOf: bytes[runStart..<position])
      guard position < end else { throw truncated(field) }
      switch bytes[position] {
      case UInt8(ascii: "\""):
        position += 1
        if hasHighBytes, !Self.isValidUTF8(result[resultStart...]) {
          throw error(field, .malformed("text that is not valid UTF-8"), at: start)
        }
        return
      case UInt8(ascii: "\\"): try readEscape(appendingTo: &result, field)
      default: throw malformed(field, "a control character inside a string")
      }
    }
  }

  // MARK: Errors

  public func error(_ field: String, _ reason: FormatError.Reason, at: Int? = nil) -> FormatError {
    FormatError(
      file: file, fileOffset: base + UInt64(at ?? position), field: field, reason: reason)
  }

  private func malformed(_ field: String, _ what: String) -> FormatError {
    error(field, .malformed(what))
  }

  private func truncated(_ field: String) -> FormatError {
    error(field, .truncated(needed: 1, available: 0))
  }

  private mutating func wrongKind(_ field: String, allowed: String) -> FormatError {
    let found = (try? peek(field))?.rawValue ?? "nothing"
    return error(field, .outOfRange(found: found, allowed: allowed))
  }

  // MARK: Grammar

  private mutating func push(_ level: Level, _ field: String) throws(FormatError) {
    guard stack.count < Self.depthLimit else {
      throw malformed(field, "nested deeper than \(Self.depthLimit) levels")
    }
    stack.append(level)
    position += 1
  }

  private mutating func expect(_ kind: Kind, _ field: String) throws(FormatError) {
    guard try peek(field) == kind else {
      throw wrongKind(field, allowed: "an \(kind.rawValue)")
    }
  }

  /// Moves to the next member; `false` after consuming the closing byte.
  private mutating func advance(to closing: UInt8, _ field: String) throws(FormatError) -> Bool {
    skipSpace()
    guard position < end else { throw truncated(field) }
    let level = stack.count - 1
    if bytes[position] == closing {
      position += 1
      stack.removeLast()
      return false
    }
    if stack[level].isFirst {
      stack[level].isFirst = false
      return true
    }
    guard bytes[position] == UInt8(ascii: ",") else {
      throw malformed(field, "expected ',' or '\(Character(Unicode.Scalar(closing)))'")
    }
    position += 1
    skipSpace()
    guard position < end else { throw truncated(field) }
    if bytes[position] == closing { throw malformed(field, "a comma before the closing bracket") }
    return true
  }

  private mutating func skipSpace() {
    while position < end {
      switch bytes[position] {
      case 0x20, 0x09, 0x0A, 0x0D: position += 1
      default: return
      }
    }
  }

  private mutating func readWord(_ word: StaticString, _ field: String) throws(FormatError) {
    skipSpace()
    let matches = word.withUTF8Buffer { word in
      end - position >= word.count && bytes[position..<position + word.count].elementsEqual(word)
    }
    guard matches else { throw wrongKind(field, allowed: "\(word)") }
    position += word.utf8CodeUnitCount
  }

  private mutating func readEscape(appendingTo result: inout [UInt8], _ field: String)
    throws(FormatError)
  {
    guard end - position >= 2 else { throw truncated(field) }
    let letter = bytes[position + 1]
    position += 2
    switch letter {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): result.append(letter)
    case UInt8(ascii: "b"): result.append(0x08)
    case UInt8(ascii: "f"): result.append(0x0C)
    case UInt8(ascii: "n"): result.append(0x0A)
    case UInt8(ascii: "r"): result.append(0x0D)
    case UInt8(ascii: "t"): result.append(0x09)
    case UInt8(ascii: "u"):
      var code = UInt32(try readHex(field))
      if code & 0xFC00 == 0xD800 {
        guard end - position >= 2, bytes[position] == UInt8(ascii: "\\"),
          bytes[position + 1] == UInt8(ascii: "u")
        else { throw malformed(field, "half of a surrogate pair") }
        position += 2
        let low = UInt32(try readHex(field))
        guard low & 0xFC00 == 0xDC00 else { throw malformed(field, "half of a surrogate pair") }
        code = 0x10000 + (code & 0x3FF) << 10 + (low & 0x3FF)
      }
      guard let scalar = Unicode.Scalar(code) else {
        throw malformed(field, "half of a surrogate pair")
      }
      result.append(contentsOf: UTF8.encode(scalar).map { Array($0) } ?? [])
    default: throw malformed(field, "an unknown escape")
    }
  }

  private mutating func readHex(_ field: String) throws(FormatError) -> UInt16 {
    guard end - position >= 4 else { throw truncated(field) }
    var value: UInt16 = 0
    for byte in bytes[position..<position + 4] {
      guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
        throw malformed(field, "an escape without four hexadecimal digits")
      }
      value = value << 4 | UInt16(digit)
    }
    position += 4
    return value
  }

  private static func isValidUTF8(_ bytes: ArraySlice<UInt8>) -> Bool {
    bytes.withUnsafeBufferPointer { String(validating: $0, as: UTF8.self) != nil }
  }
}
