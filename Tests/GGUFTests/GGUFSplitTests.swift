import ByteIO
import GGUF
import Tensors
import TestSupport
import Testing

/// A set of three parts with two tensors each, to be spoiled by tests.
private struct SplitSet {
  var metadata: [Metadata]
  var tensors: [[GGUFTensorInfo]]

  init() throws {
    var base = Metadata()
    base["general.architecture"] = .string("llama")
    metadata = try (0..<3).map {
      try GGUFSplit.metadata(base, part: $0, of: 3, tensorCount: 6, order: .splitter)
    }
    tensors = (0..<3).map { part in
      ["x", "y"].map {
        GGUFTensorInfo(name: ExactString("\($0)\(part)"), shape: Shape([8]), type: .f32)
      }
    }
  }

  /// Writes the parts under their names and returns the paths; the data counts from the part's
  /// number.
  func write(_ folder: TemporaryFolder, partCount: Int = 3, names: Int = 3) throws -> [String] {
    try (0..<partCount).map { part in
      let layout = try GGUFLayout(metadata: metadata[part], tensors: tensors[part])
      let count = Int(layout.fileByteCount) - layout.headerBytes.count
      let name = SplitName(prefix: "model", part: part, partCount: names).path
      return folder.write(
        layout.headerBytes + (0..<count).map { UInt8(($0 + part) & 255) }, name)
    }
  }
}

private func failure(_ path: String) -> FormatError? {
  do throws(FormatError) {
    _ = try GGUFFile(path)
    return nil
  } catch { return error }
}

@Test func opensASetByItsFirstPart() throws {
  let folder = TemporaryFolder()
  let paths = try SplitSet().write(folder)
  let file = try GGUFFile(paths[0])
  #expect(file.files == paths)
  #expect(file.tensors.map(\.name) == ["x0", "y0", "x1", "y1", "x2", "y2"])
  #expect(file.tensors.map { $0.regions[0].file } == [0, 0, 1, 1, 2, 2])
  #expect(file.metadata.keys == ["general.architecture"])
  var buffer = [UInt8](repeating: 0, count: 4)
  try buffer.withUnsafeMutableBytes { try file.read(file.tensors[5], at: 4, into: $0) }
  #expect(buffer == [38, 39, 40, 41])
}

@Test func aLaterPartNamesTheFirst() throws {
  let folder = TemporaryFolder()
  let paths = try SplitSet().write(folder)
  let error = try #require(failure(paths[1]))
  #expect(error.field == "split.no")
  #expect(error.advice == "open \(paths[0])")
}

@Test func refusesASetWithAMissingPart() throws {
  let folder = TemporaryFolder()
  let paths = try SplitSet().write(folder, partCount: 2)
  let error = try #require(failure(paths[0]))
  #expect(error.reason == .fileNotFound)
  #expect(error.file.hasSuffix("model-00003-of-00003.gguf"))
}

@Test func refusesATruncatedPart() throws {
  let folder = TemporaryFolder()
  let paths = try SplitSet().write(folder)
  let whole = try PositionalFile.readAll(paths[1], limit: 1 << 20)
  folder.write(whole.dropLast(33).map { $0 }, "model-00002-of-00003.gguf")
  #expect(failure(paths[0])?.file == paths[1])
}

/// Ways in which a set lies, and the field that the error names.
@Test(arguments: [
  "split.no twice", "split.no missing", "split.no text", "split.count differs",
  "split.count of the first is more", "split.count of the first is less",
  "split.tensors.count is more", "split.tensors.count missing", "split.tensors.count differs",
  "tensor twice", "tensor missing", "other architecture",
])
func refusesALyingSet(_ lie: String) throws {
  let folder = TemporaryFolder()
  var set = try SplitSet()
  var field = String(lie.prefix { $0 != " " })
  switch lie {
  case "split.no twice": set.metadata[1]["split.no"] = .uint16(0)
  case "split.no missing":
    set.metadata[1]["split.no"] = nil
    field = "gguf.kv"
  case "split.no text": set.metadata[1]["split.no"] = .string("1")
  case "split.count differs": set.metadata[2]["split.count"] = .uint16(4)
  case "split.count of the first is more": set.metadata[0]["split.count"] = .uint16(4)
  case "split.count of the first is less": set.metadata[0]["split.count"] = .uint16(1)
  case "split.tensors.count is more":
    for part in 0..<3 { set.metadata[part]["split.tensors.count"] = .int32(7) }
  case "split.tensors.count missing":
    set.metadata[0]["split.tensors.count"] = nil
    field = "gguf.kv"
  case "split.tensors.count differs": set.metadata[1]["split.tensors.count"] = .int32(5)
  case "tensor twice":
    set.tensors[2][0].name = "x0"
    field = "gguf.tensor[x0]"
  case "tensor missing":
    set.tensors[2].removeLast()
    field = "split.tensors.count"
  default:
    set.metadata[1]["general.architecture"] = .string("gpt2")
    field = "gguf.kv[general.architecture]"
  }
  let error = try #require(failure(set.write(folder)[0]))
  #expect(error.field == field, "\(error)")
}

@Test func refusesASetUnderOtherNames() throws {
  let folder = TemporaryFolder()
  let paths = try SplitSet().write(folder, names: 4)
  #expect(failure(paths[0])?.field == "split.count")
  let renamed = try folder.write(PositionalFile.readAll(paths[0], limit: 1 << 20), "model.gguf")
  #expect(failure(renamed)?.field == "split.count")
}

@Test(arguments: [
  ("a-00001-of-00002.gguf", "a", 0, 2), ("d/a-b-00012-of-00345.gguf", "d/a-b", 11, 345),
  ("a-100000-of-100001.gguf", "a", 99_999, 100_001),
])
func splitNames(_ path: String, _ prefix: String, _ part: Int, _ partCount: Int) {
  let name = SplitName(prefix: prefix, part: part, partCount: partCount)
  #expect(SplitName(path: path) == name)
  #expect(name.path == path)
}

@Test(arguments: [
  "a.gguf", "a-1-of-2.gguf", "a-00003-of-00002.gguf", "a-00000-of-00002.gguf",
  "-00001-of-00002.gguf", "d/-00001-of-00002.gguf", "a-00001-of-00002", "a00001-of-00002.gguf",
  "a-000001-of-00002.gguf", "a-00001-of-00000.gguf",
])
func otherNames(_ path: String) { #expect(SplitName(path: path) == nil) }

@Test func dividesByPaddedBytes() {
  // 40 bytes each, 64 with padding.
  let tensors = (0..<5).map {
    GGUFTensorInfo(name: ExactString("t\($0)"), shape: Shape([10]), type: .f32)
  }
  func ranges(_ limit: UInt64) -> [Range<Int>] {
    GGUFSplit.ranges(tensors, maximumByteCount: limit)
  }
  #expect(ranges(.max) == [0..<5])
  #expect(ranges(320) == [0..<5])
  #expect(ranges(319) == [0..<4, 4..<5])
  #expect(ranges(128) == [0..<2, 2..<4, 4..<5])
  #expect(ranges(127) == [0..<1, 1..<2, 2..<3, 3..<4, 4..<5])
  #expect(ranges(1) == [0..<1, 1..<2, 2..<3, 3..<4, 4..<5])
  #expect(GGUFSplit.ranges([], maximumByteCount: 1) == [0..<0])
}

@Test func aLargeTensorGetsItsOwnFile() {
  let sizes = [8, 1000, 8, 8]
  let tensors = sizes.enumerated().map {
    GGUFTensorInfo(name: ExactString("t\($0.offset)"), shape: Shape([$0.element]), type: .f32)
  }
  #expect(GGUFSplit.ranges(tensors, maximumByteCount: 100) == [0..<1, 1..<2, 2..<4])
}

@Test func splitKeysAreInTheOrderOfEachWriter() throws {
  var base = Metadata()
  base["split.count"] = .uint16(9)
  base["general.architecture"] = .string("llama")
  let splitter = try GGUFSplit.metadata(base, part: 0, of: 2, tensorCount: 5, order: .splitter)
  #expect(
    splitter.keys == ["general.architecture", "split.no", "split.tensors.count", "split.count"])
  let quantizer = try GGUFSplit.metadata(base, part: 1, of: 2, tensorCount: 5, order: .quantizer)
  #expect(quantizer.keys == ["split.no", "split.count", "split.tensors.count"])
  #expect(quantizer["split.no"] == .uint16(1))
  #expect(quantizer["split.count"] == .uint16(2))
  #expect(quantizer["split.tensors.count"] == .int32(5))
  let whole = try GGUFSplit.metadata(base, part: 0, of: 1, tensorCount: 5, order: .splitter)
  #expect(whole.keys == ["general.architecture"])
  #expect(throws: FormatError.self) {
    try GGUFSplit.metadata(base, part: 0, of: 65_536, tensorCount: 5, order: .splitter)
  }
}
