import ByteIO
import StrictJSON
import Testing

private func parse(_ text: String) throws -> JSONValue {
  try JSONValue(parsing: Array(text.utf8), file: "test.json")
}

@Test func readsEveryKindOfValue() throws {
  let value = try parse(
    #" {"a": [1, -2.5e3, true, false, null], "b": {"ü": "\u00fc\n\ud83d\ude00"}} "#)
  let array = try #require(value["a"]?.array)
  #expect(array.count == 5)
  #expect(array[0].int == 1)
  #expect(array[1].int == nil)
  #expect(array[1].double == -2500)
  #expect(array[2].bool == true)
  #expect(array[4].isNull)
  #expect(value["b"]?["ü"]?.string == "ü\n😀")
}

@Test func keepsIntegersExact() throws {
  #expect(try parse("9007199254740993").int == 9_007_199_254_740_993)
  #expect(try parse("2.0").int == nil)
  #expect(try parse("99999999999999999999").int == nil)
  #expect(try parse("1e999").double == .infinity)
}

@Test func keysAreComparedByBytes() throws {
  // Composed and decomposed é are equal Swift strings, but two keys.
  let value = try parse("{\"\u{e9}\": 1, \"e\u{301}\": 2}")
  #expect(value.object?.members.count == 2)
}

@Test(arguments: [
  ("", "empty"),
  ("{\"a\": 1, \"a\": 2}", "duplicate key"),
  (#"{"a": 1, "\u0061": 2}"#, "duplicate key through an escape"),
  ("[1, 2,]", "trailing comma in an array"),
  ("{\"a\": 1,}", "trailing comma in an object"),
  ("[1 2]", "missing comma"),
  ("{\"a\" 1}", "missing colon"),
  ("{a: 1}", "key without quotes"),
  ("[1", "unclosed array"),
  ("{\"a\": 1", "unclosed object"),
  ("\"abc", "unclosed string"),
  ("\"\\", "cut escape"),
  ("\"\\x\"", "unknown escape"),
  ("\"\\u12g4\"", "escape of no hexadecimal digits"),
  ("\"\\u12", "cut hexadecimal escape"),
  ("\"\\ud800\"", "high surrogate alone"),
  ("\"\\udc00\"", "low surrogate alone"),
  ("\"\\ud800\\u0041\"", "high surrogate before a letter"),
  ("\"\u{1}\"", "control character"),
  ("01", "leading zero"),
  ("-", "minus alone"),
  ("1.", "point without digits"),
  (".5", "no digit before the point"),
  ("1e", "exponent without digits"),
  ("+1", "plus sign"),
  ("NaN", "NaN"),
  ("Infinity", "infinity"),
  ("nul", "cut word"),
  ("true false", "text after the document"),
  ("\u{FEFF}{}", "byte order mark"),
  ("'a'", "single quotes"),
  ("// c\n1", "comment"),
])
func rejects(_ text: String, _ what: String) {
  #expect(throws: FormatError.self, "\(what)") { try parse(text) }
}

@Test func rejectsInvalidUTF8() {
  for bytes: [UInt8] in [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xE2, 0x82]] {
    #expect(throws: FormatError.self) {
      try JSONValue(parsing: [0x22] + bytes + [0x22], file: "test.json")
    }
  }
}

@Test func refusesDeepNesting() throws {
  let depth = JSONReader.depthLimit
  _ = try parse(String(repeating: "[", count: depth) + String(repeating: "]", count: depth))
  #expect(throws: FormatError.self) {
    try parse(String(repeating: "[", count: depth + 1) + String(repeating: "]", count: depth + 1))
  }
  #expect(throws: FormatError.self) { try parse(String(repeating: "[", count: 1_000_000)) }
  #expect(throws: FormatError.self) { try parse(String(repeating: "{\"a\":", count: 100_000)) }
}

@Test func errorsNameFileAndOffset() {
  let error = #expect(throws: FormatError.self) { try parse("{\"a\": 1, \"a\": 2}") }
  #expect(error?.file == "test.json")
  #expect(error?.fileOffset == 9)
  #expect(error?.reason == .duplicate("key \"a\""))
}

/// Every prefix of a document is refused, never a crash.
@Test func everyTruncationIsRefused() throws {
  let text = #"{"name": "x\u00e9\ud83d\ude00", "list": [1.5e-3, true, null, {"k": []}]}"#
  let bytes = Array(text.utf8)
  _ = try JSONValue(parsing: bytes, file: "test.json")
  for count in 0..<bytes.count {
    #expect(throws: FormatError.self) {
      try JSONValue(parsing: Array(bytes.prefix(count)), file: "test.json")
    }
  }
}

/// Single-byte mutations either parse or throw.
@Test func everyMutationIsSurvived() {
  let text = #"{"name": "x\u00e9\ud83d\ude00", "list": [1.5e-3, true, null, {"k": []}]}"#
  let bytes = Array(text.utf8)
  for index in bytes.indices {
    for value in stride(from: 0, to: 256, by: 3) {
      var mutated = bytes
      mutated[index] = UInt8(value)
      _ = try? JSONValue(parsing: mutated, file: "test.json")
    }
  }
}

@Test func writerProducesStableText() throws {
  var writer = JSONWriter()
  writer.object { json in
    json.key("list")
    json.array { json in
      json.value(1)
      json.value(2.5)
      json.value(Double.nan)
    }
    json.key("empty")
    json.object { _ in }
    json.key("text")
    json.value("a\"\\\n\u{1}é")
  }
  #expect(
    writer.text == """
      {
        "list": [
          1,
          2.5,
          null
        ],
        "empty": {},
        "text": "a\\"\\\\\\n\\u0001é"
      }
      """)
  let back = try parse(writer.text)
  #expect(back["text"]?.string == "a\"\\\n\u{1}é")
}
