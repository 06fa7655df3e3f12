import ByteIO
import Checkpoints
import Tensors
import TestSupport
import Testing

private func open(_ bytes: [UInt8]) throws -> SafetensorsFile {
  let folder = TemporaryFolder()
  return try SafetensorsFile(folder.write("model.safetensors", bytes))
}

private func failure(_ bytes: [UInt8]) throws -> FormatError? {
  do {
    _ = try open(bytes)
    return nil
  } catch let error as FormatError {
    return error
  }
}

/// One F32 vector of two entries with one member of its entry replaced.
private func entry(
  name: String = "\"t\"", dtype: String = #""F32""#, shape: String = "[2]",
  offsets: String = "[0,8]"
) -> String {
  "{\(name):{\"dtype\":\(dtype),\"shape\":\(shape),\"data_offsets\":\(offsets)}}"
}

@Test func readsTensorsInOrderOfTheHeader() throws {
  let header = """
    {"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2,3],"data_offsets":[4,16]},
    "a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},
    "empty":{"dtype":"BF16","shape":[0,5],"data_offsets":[4,4]}}
    """
  let file = try open(SafetensorsBytes.file(header, dataByteCount: 16))
  #expect(file.tensors.map(\.name) == ["b", "a", "empty"])
  #expect(file.tensors.map(\.shape) == [Shape([2, 3]), Shape([]), Shape([0, 5])])
  #expect(file.tensors.map(\.type) == [.f16, .f32, .bf16])
  #expect(file.header.metadata.map(\.key) == ["format"])
  var bytes = [UInt8](repeating: 0, count: 6)
  try bytes.withUnsafeMutableBytes { try file.read(file.tensors[0], at: 2, into: $0) }
  #expect(bytes == [6, 7, 8, 9, 10, 11])
}

@Test(arguments: [
  "  " + entry(), entry() + "      ", entry(name: #""\u00e9""#), entry(name: "\"模型\""),
  #"{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"extra":[1,{"x":null}]}}"#,
  entry(dtype: #""\u0046\u0033\u0032""#),
])
func acceptsUnusualButValidHeaders(_ header: String) throws {
  let file = try open(SafetensorsBytes.file(header, dataByteCount: 8))
  #expect(file.tensors.map(\.byteCount) == [8])
}

@Test func acceptsAFileWithoutTensors() throws {
  #expect(try open(SafetensorsBytes.file("{}")).tensors.isEmpty)
}

@Test func namesThatOnlyLookEqualAreTwoTensors() throws {
  let file = try open(SafetensorsBytes.vectors([("\u{E9}", 1), ("e\u{301}", 1)]))
  #expect(Set(file.tensors.map(\.name)).count == 2)
}

@Test func readsEveryElementTypeOfThePage() throws {
  let page = String(
    decoding: try PositionalFile.readAll(
      Fixtures.root + "/formats/safetensors.md", limit: 1 << 20), as: UTF8.self)
  var names: [String] = []
  for line in page.split(separator: "\n") {
    let cells = line.split(separator: "|").map { $0.split(separator: " ").joined() }
    guard cells.count == 3, let width = Int(cells[1]), ["yes", "no"].contains(cells[2]) else {
      continue
    }
    names.append(cells[0])
    let header = entry(dtype: "\"\(cells[0])\"", shape: "[3]", offsets: "[0,\(3 * width)]")
    let file = try open(SafetensorsBytes.file(header, dataByteCount: 3 * width))
    #expect(file.tensors.map(\.type.name) == [cells[0]])
  }
  #expect(names == SafetensorsHeader.elementTypes.map(\.name))
}

/// Header, bytes of data, field of the error, part of its text.
private let faults: [(header: String, data: Int, field: String, text: String)] = [
  ("", 0, "header", "needs"),
  ("[]", 0, "header", "allowed an object"),
  ("{", 0, "header", "needs"),
  ("{} x", 0, "header", "text after"),
  ("{\"t\":1}", 0, "t.entry", "allowed an object"),
  ("{\"__metadata__\":{\"a\":1}}", 0, "__metadata__[\"a\"]", "allowed a string"),
  ("{\"__metadata__\":[]}", 0, "__metadata__", "allowed an object"),
  ("{\"t\":{},\"t\":{}}", 0, "t.dtype", "missing"),
  (
    "{\"t\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\"\\u0074\":{}}", 0, "header",
    "duplicate"
  ),
  ("{\"t\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0, "t.entry", "duplicate"),
  (#"{"t":{"shape":[2],"data_offsets":[0,8]}}"#, 8, "t.dtype", "missing"),
  (#"{"t":{"dtype":"F32","data_offsets":[0,8]}}"#, 8, "t.shape", "missing"),
  (#"{"t":{"dtype":"F32","shape":[2]}}"#, 8, "t.data_offsets", "missing"),
  (entry(dtype: #""Q4_0""#), 8, "t.dtype", "supported: F64"),
  (entry(dtype: #""f32""#), 8, "t.dtype", "supported: F64"),
  (entry(dtype: #""F4""#), 8, "t.dtype", "supported: F64"),
  (entry(dtype: "1"), 8, "t.dtype", "a string"),
  (entry(shape: "2"), 8, "t.shape", "array"),
  (entry(shape: "[-2]"), 8, "t.shape", "0 or more"),
  (entry(shape: "[2.0]"), 8, "t.shape", "an integer"),
  (entry(shape: "[18446744073709551618]"), 8, "t.shape", "an integer"),
  (entry(shape: "[4294967296,4294967296]"), 8, "t.shape", "below 2^63"),
  (entry(shape: "[9223372036854775807]"), 8, "t.shape", "below 2^63"),
  (entry(shape: "[3]"), 8, "t.data_offsets", "takes 12"),
  (entry(offsets: "[0]"), 8, "t.data_offsets", "1 numbers"),
  (entry(offsets: "[0,4,8]"), 8, "t.data_offsets", "3 numbers"),
  (entry(offsets: "[8,0]"), 8, "t.data_offsets", "after end"),
  (entry(offsets: "[-8,0]"), 8, "t.data_offsets", "0 or more"),
  (entry(offsets: "[4,12]"), 12, "t.data_offsets", "hole"),
  (entry(), 7, "t.data_offsets", "needs 8 bytes, 7"),
  (entry(), 9, "data", "cover 8 bytes"),
  ("{}", 1, "data", "cover 0 bytes"),
  (
    #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}}"#,
    7, "b.data_offsets", "inside the tensor before"
  ),
  (
    #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[5,9]}}"#,
    9, "b.data_offsets", "hole"
  ),
  (
    #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#,
    4, "b.data_offsets", "inside the tensor before"
  ),
  (
    #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}}"#,
    4, "b.data_offsets", "inside the tensor before"
  ),
]

@Test(arguments: faults.indices)
func refusesBadHeader(_ index: Int) throws {
  let fault = faults[index]
  let error = try #require(
    try failure(SafetensorsBytes.file(fault.header, dataByteCount: fault.data)))
  #expect(error.field == fault.field, "\(error)")
  #expect("\(error)".contains(fault.text), "\(error)")
}

@Test func refusesHeaderLengths() throws {
  for length in [100_000_001, UInt64.max, 1 << 63] {
    let error = try #require(try failure(SafetensorsBytes.file("{}", declaredLength: length)))
    #expect(error.field == "header length")
    #expect(error.fileOffset == 0)
  }
  let long = try #require(try failure(SafetensorsBytes.file("{}", declaredLength: 3)))
  #expect(long.reason == .truncated(needed: 3, available: 2))
  // A tensor behind a declared length that cuts the header short.
  #expect(try failure(SafetensorsBytes.file("{}", declaredLength: 1)) != nil)
}

@Test func refusesTruncationAtEveryByte() throws {
  let whole = SafetensorsBytes.vectors([("a", 3), ("b", 2)])
  #expect(try failure(whole) == nil)
  for count in 0..<whole.count {
    #expect(try failure(Array(whole.prefix(count))) != nil, "first \(count) bytes")
  }
}

@Test func recognisesGitPointer() throws {
  let error = try #require(
    try failure(Array("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".utf8)))
  #expect("\(error)".contains("git lfs pull"))
}

@Test func noticesThatTheFileChanged() throws {
  let folder = TemporaryFolder()
  let path = folder.write("x.safetensors", SafetensorsBytes.vectors([("a", 3)]))
  let file = try SafetensorsFile(path)
  try file.checkUnchanged()
  folder.write("x.safetensors", SafetensorsBytes.vectors([("a", 2)]))
  #expect(throws: FormatError.self) { try file.checkUnchanged() }
}

/// Whatever single byte of the header or its length changes, the file is read or refused.
@Test func survivesEveryChangedByte() throws {
  let folder = TemporaryFolder()
  let whole = SafetensorsBytes.vectors([("a", 3), ("b", 2)])
  let replacements = Array("\0 \"\\}]:,-9".utf8) + [0x80, 0xFF]
  var accepted = 0
  for position in 0..<whole.count - 20 {
    for replacement in replacements {
      var bytes = whole
      bytes[position] = replacement
      let path = folder.write("x.safetensors", bytes)
      guard let file = try? SafetensorsFile(path) else { continue }
      accepted += 1
      #expect(file.tensors.reduce(0) { $0 + $1.byteCount } == 20)
    }
  }
  // Names may change; a file in which nothing changed is among them.
  #expect(accepted > 0)
}

/// One tensor too many is refused before the rest of the header is read.
@Test func limitsTheCountOfTensors() throws {
  let limit = SafetensorsHeader.tensorCountLimit
  let page = String(
    decoding: try PositionalFile.readAll(
      Fixtures.root + "/formats/safetensors.md", limit: 1 << 20), as: UTF8.self)
  #expect(page.replacing(",", with: "").contains("at most \(limit) tensors"))
  var entries = (0..<limit).map { index in
    #""\#(index)":{"dtype":"I8","shape":[0],"data_offsets":[0,0]}"#
  }
  #expect(try open(entries).header.tensors.count == limit)
  entries.append(#""more":"#)
  do {
    _ = try open(entries)
    Issue.record("accepted")
  } catch let error as FormatError {
    #expect("\(error)".contains("at most \(limit)"), "\(error)")
  }
}

private func open(_ entries: [String]) throws -> SafetensorsFile {
  let header = "{" + entries.joined(separator: ",") + "}"
  let folder = TemporaryFolder()
  let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) }
  return try SafetensorsFile(folder.write("model.safetensors", length + Array(header.utf8)))
}
