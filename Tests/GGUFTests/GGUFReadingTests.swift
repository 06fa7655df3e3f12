import ByteIO
import GGUF
import Tensors
import TestSupport
import Testing

/// Opens bytes as a file and reads every tensor.
private func open(_ bytes: GGUFBytes) throws -> (file: GGUFFile, data: [ExactString: [UInt8]]) {
  let folder = TemporaryFolder()
  let file = try GGUFFile(folder.write(bytes.bytes))
  var data: [ExactString: [UInt8]] = [:]
  for tensor in file.tensors {
    var buffer = [UInt8](repeating: 0, count: tensor.byteCount)
    try buffer.withUnsafeMutableBytes { try file.read(tensor, at: 0, into: $0) }
    data[tensor.name] = buffer
  }
  return (file, data)
}

private func counting(_ range: Range<Int>) -> [UInt8] { range.map { UInt8($0 & 255) } }

@Test func opensEmptyHeader() throws {  // HEADER_EMPTY
  let (file, _) = try open(.header())
  #expect(file.tensors.isEmpty)
  #expect(file.metadata.count == 0)
}

@Test func readsEveryValueType() throws {  // KV_SUCCESS
  let folder = TemporaryFolder()
  let file = try GGUFFile(folder.write(ExampleArchive.bytes()))
  #expect(file.metadata == ExampleArchive.metadata)
  #expect(file.metadata.keys == ExampleArchive.metadata.keys)
  #expect(file.parts[0].header.version == 3)
  #expect(file.tensors.map(GGUFTensorInfo.init) == ExampleArchive.tensors)
}

@Test func readsTensors() throws {  // TENSORS_SUCCESS, DATA_SUCCESS
  let (file, data) = try open(
    GGUFBytes.header(tensors: 3)
      .tensor("a", [4, 2]).tensor("b", [32, 2], type: 8, at: 32).tensor("c", [], at: 128)
      .padded().data(160))
  #expect(file.tensors.map(\.shape) == [Shape([2, 4]), Shape([2, 32]), Shape([])])
  #expect(file.tensors.map(\.type) == [.f32, .q8_0, .f32])
  #expect(file.tensors[1].regions[0].fileOffset == file.parts[0].header.dataOffset + 32)
  #expect(data["a"] == counting(0..<32))
  #expect(data["b"] == counting(32..<100))
  #expect(data["c"] == counting(128..<132))
}

@Test(arguments: [1, 2, 8, 64, 4096])
func honoursAlignment(_ alignment: Int) throws {  // TENSORS_CUSTOM_ALIGN, DATA_CUSTOM_ALIGN
  let second = max(16, alignment)
  let (file, data) = try open(
    GGUFBytes.header(tensors: 2, keys: 1).key("general.alignment", uint32: UInt32(alignment))
      .tensor("a", [4]).tensor("b", [4], at: UInt64(second)).padded(to: alignment)
      .data(second + max(16, alignment)))
  #expect(file.parts[0].header.alignment == alignment)
  #expect(data["a"] == counting(0..<16))
  #expect(data["b"] == counting(second..<second + 16))
}

@Test func acceptsZeroDimension() throws {  // TENSORS_ZERO_DIM
  let (file, data) = try open(
    GGUFBytes.header(tensors: 2).tensor("a", [32, 0], type: 2).tensor("b", [4]).padded().data(32))
  #expect(file.tensors[0].byteCount == 0)
  #expect(data["b"] == counting(0..<16))
}

@Test func acceptsVersion2() throws {
  let (file, data) = try open(
    GGUFBytes.header(version: 2, tensors: 1, keys: 1).key("k", uint32: 9)
      .tensor("a", [8]).padded().data(32))
  #expect(file.parts[0].header.version == 2)
  #expect(file.metadata["k"] == .uint32(9))
  #expect(data["a"] == counting(0..<32))
}

@Test func acceptsTensorsInAnyOrderWithGaps() throws {
  let (_, data) = try open(
    GGUFBytes.header(tensors: 2).tensor("late", [4], at: 96).tensor("early", [4]).padded()
      .data(128))
  #expect(data["late"] == counting(96..<112))
  #expect(data["early"] == counting(0..<16))
}

@Test func acceptsLastTensorWithoutPadding() throws {
  let (_, data) = try open(GGUFBytes.header(tensors: 1).tensor("a", [4]).padded().data(16))
  #expect(data["a"] == counting(0..<16))
}

@Test func acceptsUnicodeNamesThatDifferInBytesOnly() throws {
  let composed = "\u{E9}"
  let decomposed = "e\u{301}"
  let (file, _) = try open(
    GGUFBytes.header(tensors: 2, keys: 2).key(composed, uint32: 1).key(decomposed, uint32: 2)
      .tensor(composed, [4]).tensor(decomposed, [4], at: 32).padded().data(64))
  #expect(file.tensors.count == 2)
  #expect(file.metadata[composed] == .uint32(1))
  #expect(file.metadata[decomposed] == .uint32(2))
}

@Test func acceptsNameOf63Bytes() throws {
  let name = String(repeating: "n", count: 63)
  let (_, data) = try open(GGUFBytes.header(tensors: 1).tensor(name, [8]).padded().data(32))
  #expect(data[ExactString(name)] != nil)
}

@Test func readsPartsOfATensor() throws {
  let folder = TemporaryFolder()
  let file = try GGUFFile(
    folder.write(GGUFBytes.header(tensors: 1).tensor("a", [8]).padded().data(32).bytes))
  var buffer = [UInt8](repeating: 0, count: 5)
  try buffer.withUnsafeMutableBytes { try file.read(file.tensors[0], at: 7, into: $0) }
  #expect(buffer == counting(7..<12))
}

@Test func noticesAChangedFile() throws {
  let folder = TemporaryFolder()
  let bytes = GGUFBytes.header(tensors: 1).tensor("a", [8]).padded().data(32).bytes
  let file = try GGUFFile(folder.write(bytes))
  try file.checkUnchanged()
  folder.write(bytes + [0])
  #expect(throws: FormatError.self) { try file.checkUnchanged() }
}

@Test func aLargeTokenizerIsHeldOnce() throws {
  // 128,000 tokens and 280,000 merges, as in Llama 3; compact means close to their own bytes.
  var file = GGUFBytes.header(keys: 2)
  for (key, count) in [("tokens", 128_000), ("merges", 280_000)] {
    file = file.key(key, type: 9).array(of: 8, count: UInt64(count))
    var strings: [UInt8] = []
    for index in 0..<count {
      let text = Array("t\(index)".utf8)
      withUnsafeBytes(of: UInt64(text.count).littleEndian) { strings += $0 }
      strings += text
    }
    file = file.raw(strings)
  }
  let (archive, _) = try open(file)
  let tokens = try #require(archive.metadata["tokens"]?.strings)
  #expect(tokens.count == 128_000)
  #expect(tokens.text(127_999) == "t127999")
  #expect(archive.metadata["merges"]?.strings?.text(279_999) == "t279999")
}
