/// A file of safetensors with zeros as data.
func safetensors(header: String, dataByteCount: Int) -> [UInt8] {
  let text = Array(header.utf8)
  return littleEndian(text.count) + text + [UInt8](repeating: 0, count: dataByteCount)
}

/// The same file with a length that fits its header and data that reach as far as it says, so that a
/// change of the header is not refused for the length alone.
///
/// - Returns: `nil` where no header is found, or where the data would be large.
func repairedSafetensors(_ bytes: [UInt8]) -> [UInt8]? {
  let body = bytes.dropFirst(8)
  guard let end = endOfObject(body) else { return nil }
  let header = body[..<end]
  let needed = largestNumber(after: Array("\"data_offsets\":[".utf8), in: header)
  guard needed <= 1 << 18 else { return nil }
  var data = Array(body[end...].prefix(needed))
  data += [UInt8](repeating: 0x3C, count: needed - data.count)
  return littleEndian(header.count) + header + data
}

private func littleEndian(_ value: Int) -> [UInt8] {
  (0..<8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
}

/// The place behind the first JSON object and the spaces that follow it.
private func endOfObject(_ text: ArraySlice<UInt8>) -> Int? {
  var depth = 0
  var isText = false
  var isEscaped = false
  for index in text.indices {
    let byte = text[index]
    if isText {
      if byte == UInt8(ascii: "\""), !isEscaped { isText = false }
      isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
      continue
    }
    switch byte {
    case UInt8(ascii: "\""): isText = true
    case UInt8(ascii: "{"): depth += 1
    case UInt8(ascii: "}"):
      depth -= 1
      if depth == 0 {
        return text[(index + 1)...].firstIndex { $0 != UInt8(ascii: " ") } ?? text.endIndex
      }
    default: break
    }
  }
  return nil
}

/// The largest of the numbers in the lists that follow a word; 0 where there is none.
private func largestNumber(after word: [UInt8], in text: ArraySlice<UInt8>) -> Int {
  var largest = 0
  var index = text.startIndex
  while index < text.endIndex {
    guard text[index...].starts(with: word) else {
      index += 1
      continue
    }
    index += word.count
    var number = 0
    while index < text.endIndex, text[index] != UInt8(ascii: "]") {
      if let digit = Character(UnicodeScalar(text[index])).wholeNumberValue {
        number = min(number, 1 << 40) * 10 + digit
        largest = max(largest, number)
      } else {
        number = 0
      }
      index += 1
    }
  }
  return largest
}
