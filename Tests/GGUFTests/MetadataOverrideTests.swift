import GGUF
import Tensors
import Testing

@Test(arguments: [
  ("llama.context_length=int:4096", "llama.context_length", MetadataValue.uint32(4096)),
  ("a=float:1e-5", "a", .float32(1e-5)),
  ("a=float:-2", "a", .float32(-2)),
  ("a=bool:true", "a", .bool(true)),
  ("a=bool:false", "a", .bool(false)),
  ("a=str:", "a", .string("")),
  ("a=str:b=int:c", "a", .string("b=int:c")),
])
func parsesOverride(_ text: String, _ key: String, _ value: MetadataValue) throws {
  let override = try MetadataOverride(parsing: text)
  #expect(override.key == key)
  #expect(override.value == value)
}

@Test(arguments: [
  "", "a", "a=", "a=1", "=int:1", "a=int:", "a=int:1x", "a=int:-1", "a=int:4294967296",
  "a=float:", "a=float:x", "a=float:nan", "a=float:inf", "a=float:1e39", "a=bool:1",
  "a=bool:True", "a=u8:1", "a=INT:1",
  "a=str:" + String(repeating: "x", count: 128), String(repeating: "k", count: 128) + "=int:1",
])
func refusesOverride(_ text: String) {
  #expect(throws: MetadataOverride.ParseError.self) { try MetadataOverride(parsing: text) }
}

@Test func overridesMoveToTheEnd() throws {
  var metadata = Metadata()
  metadata["a"] = .uint32(1)
  metadata["b"] = .uint32(2)
  metadata.apply([
    try MetadataOverride(parsing: "a=str:x"), try MetadataOverride(parsing: "c=bool:true"),
  ])
  #expect(metadata.keys == ["b", "a", "c"])
  #expect(metadata["a"] == .string("x"))
}
