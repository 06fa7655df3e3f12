import ByteIO
import Planning
import Tensors
import Testing

@Test func overrideIsLowerCasedAndEndsAtTheFirstEquals() throws {
  let override = try TensorTypeOverride(#"BLK\.\D+\.Attn_V=Q8_0"#)
  #expect(override.pattern == #"blk\.\d+\.attn_v"#)
  #expect(override.type == .q8_0)
  #expect(try TensorTypeOverride("é.=f16").pattern == "é.")
}

@Test(arguments: [
  ("attn_v", "should be PATTERN=TYPE"), ("=q8_0", "no pattern"), ("attn_v=", "no type after"),
  ("attn_v=q9", "no such type"), ("a=b=q8_0", "no such type"), ("attn_v=q8_K", "no such type"),
  ("attn_v=i8", "no such type"), ("(=q8_0", "no regular expression"),
  ("*=q8_0", "no regular expression"), ("[b-a]=q8_0", "no regular expression"),
  (#"\1=q8_0"#, "no regular expression"),
  ("x{9999999999999999999999}=f16", "no regular expression"),
  (String(repeating: "(", count: 999) + "=f16", "no regular expression"),
  (String(repeating: "a", count: 1_001) + "=f16", "longer than 1000 bytes"),
])
func badOverrideIsReported(_ text: String, _ problem: String) {
  let error = #expect(throws: OptionError.self) { try TensorTypeOverride(text) }
  #expect(error?.option == "--tensor-type")
  #expect(error?.problem.contains(problem) == true, "\(error?.problem ?? "")")
}

@Test func fileOfOverridesIsSplitAtAnyWhiteSpace() throws {
  let bytes = Array("attn_v=q8_0 ffn_down=Q6_K\n\n\t^token=f16\r\n".utf8)
  let overrides = try TensorTypeOverride.list(bytes, file: "types.txt")
  #expect(overrides.map(\.pattern) == ["attn_v", "ffn_down", "^token"])
  #expect(overrides.map(\.type) == [.q8_0, .q6_K, .f16])
  #expect(try TensorTypeOverride.list([], file: "types.txt") == [])
}

@Test func faultyFileOfOverridesNamesTheByte() {
  let error = #expect(throws: FormatError.self) {
    try TensorTypeOverride.list(Array("attn_v=q8_0\nffn_down\n".utf8), file: "types.txt")
  }
  #expect(error?.file == "types.txt")
  #expect(error?.fileOffset == 12)
  #expect(error?.field == "ffn_down")
  let binary = #expect(throws: FormatError.self) {
    try TensorTypeOverride.list([0x20, 0xFF, 0x3D, 0x66], file: "types.txt")
  }
  #expect(binary?.fileOffset == 1)
  #expect(throws: FormatError.self) { try TensorTypeOverride.list(file: "/nonexistent/types.txt") }
}
