import ByteIO
import StrictJSON
import Tensors
import TestSupport
import Testing
import Tokenizers

/// Small tokenizers with the entries that the reference converter writes for them; the file says
/// how they were recorded.
struct ReferenceCase: CustomTestStringConvertible, Sendable {
  var name: String
  var architecture: String
  var files: [(name: String, content: String)]
  var expected: [JSONValue]
  var testDescription: String { name }

  static let all: [ReferenceCase] = {
    let path = Fixtures.path("tokenizers/cases.json")
    guard let root = try? JSONValue(file: path, limit: 4 << 20) else { return [] }
    return (root["cases"]?.array ?? []).map { node in
      ReferenceCase(
        name: node["name"]?.string ?? "", architecture: node["architecture"]?.string ?? "",
        files: (node["files"]?.object?.members ?? []).map { ($0.key, $0.value.string ?? "") },
        expected: node["expected"]?.array ?? [])
    }
  }()

  func directory() throws -> TemporaryFolder {
    let directory = TemporaryFolder()
    for (name, content) in files {
      if name.hasSuffix(".model") {
        directory.write(name, try #require(bytes(hexadecimal: content)))
      } else {
        directory.write(name, content)
      }
    }
    return directory
  }
}

func bytes(hexadecimal text: String) -> [UInt8]? {
  let digits = Array(text.utf8)
  guard digits.count.isMultiple(of: 2) else { return nil }
  return stride(from: 0, to: digits.count, by: 2).compactMap {
    UInt8(String(decoding: digits[$0..<$0 + 2], as: UTF8.self), radix: 16)
  }
}

@Test func casesArePresent() { #expect(ReferenceCase.all.count >= 60) }

@Test(arguments: ReferenceCase.all)
func entriesMatchReference(_ reference: ReferenceCase) throws {
  let directory = try reference.directory()
  let result = try readTokenizer(
    directory: directory.path, options: TokenizerOptions(architecture: reference.architecture))
  #expect(
    result.entries.keys.map(\.string) == reference.expected.map { $0.array?[0].string ?? "" })
  for entry in reference.expected {
    let key = try #require(entry.array?[0].string)
    let type = try #require(entry.array?[1].string)
    let expected = try #require(entry.array?[2])
    let found = try #require(result.entries[key])
    #expect(describe(found) == (type, expected), "\(key)")
  }
}

private func == (a: (String, JSONValue), b: (String, JSONValue)) -> Bool {
  a.0 == b.0 && a.1 == b.1
}

private func checksum(_ bytes: [UInt8]) -> UInt32 { bytes.withUnsafeBytes { crc32($0) } }

/// A value as the cases write it.
private func describe(_ value: MetadataValue) -> (String, JSONValue) {
  func number(_ text: String) -> JSONValue {
    (try? JSONValue(parsing: Array(text.utf8), file: "")) ?? .null
  }
  func list(_ type: String, _ elements: [[UInt8]], isText: Bool) -> (String, JSONValue) {
    if elements.count <= 64 {
      return (
        type,
        .array(
          elements.map {
            let text = String(decoding: $0, as: UTF8.self)
            return isText ? .string(text) : number(text)
          })
      )
    }
    let sum = checksum(elements.flatMap { $0 + [UInt8(ascii: "\n")] })
    var object = JSONObject()
    object.set("count", number("\(elements.count)"))
    object.set("crc32", number("\(sum)"))
    return (type, .object(object))
  }
  switch value {
  case .string(let text): return ("string", .string(text))
  case .bool(let flag): return ("bool", .bool(flag))
  case .uint32(let id): return ("uint32", number("\(id)"))
  case .array(.string(let table)): return list("array string", table.map(Array.init), isText: true)
  case .array(.int32(let values)):
    return list("array int32", values.map { Array("\($0)".utf8) }, isText: false)
  case .array(.float32(let values)):
    return list("array float32", values.map { Array("\($0.bitPattern)".utf8) }, isText: false)
  default: return ("another", .null)
  }
}

@Test(arguments: ["llama2", "llama3"])
func bundledModelsMatchReference(_ model: String) throws {
  let golden = try JSONValue(
    file: Fixtures.path("models/expected/\(model)-F32.json"), limit: 4 << 20)
  let expected = try #require(golden["metadata"]?.object).members.filter {
    $0.key.hasPrefix("tokenizer.")
  }
  let result = try readTokenizer(
    directory: Fixtures.path("models/\(model)"), options: TokenizerOptions())
  #expect(result.entries.keys.map(\.string) == expected.map(\.key))
  #expect(result.tokenCount == 2048)
  for (key, value) in expected {
    switch try #require(result.entries[key]) {
    case .string(let text): #expect(value.string == text)
    case .bool(let flag): #expect(value.bool == flag)
    case .uint32(let id): #expect(value.int == Int(id))
    case .array(let array):
      let json =
        switch array {
        case .string(let table): asciiJSON(table.indices.map(table.text))
        case .int32(let values): "[" + values.map { "\($0)" }.joined(separator: ", ") + "]"
        case .float32(let values):
          "[" + values.map { "\(Double($0))" }.joined(separator: ", ") + "]"
        default: ""
        }
      #expect(value["count"]?.int == array.count, "\(key)")
      #expect(value["crc32_of_json"]?.int == Int(checksum(Array(json.utf8))), "\(key)")
    default: Issue.record("unexpected type of \(key)")
    }
  }
}
