/// A word as a shell takes it.
package func shellWord(_ word: String) -> String {
  let plain = word.utf8.allSatisfy { byte in
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: "/._-+=:,@%".utf8.contains(byte)
    }
  }
  return plain && !word.isEmpty ? word : "'" + quoted(word) + "'"
}

/// Scalar by scalar: with a combining mark behind it a quote is another character, and ends the word
/// all the same.
private func quoted(_ word: String) -> String {
  var text = String.UnicodeScalarView()
  for scalar in word.unicodeScalars {
    if scalar == "'" {
      text.append(contentsOf: "'\\''".unicodeScalars)
    } else {
      text.append(scalar)
    }
  }
  return String(text)
}
