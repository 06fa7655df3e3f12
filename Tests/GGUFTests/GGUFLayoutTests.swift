import ByteIO
import GGUF
import Tensors
import TestSupport
import Testing

@Test func layoutGivesTheBytesOfTheFormatPage() throws {
  var metadata = Metadata()
  metadata["general.alignment"] = .uint32(64)
  metadata["b"] = .bool(true)
  metadata["a"] = .array(.int16([-2, 3]))
  let layout = try GGUFLayout(
    metadata: metadata,
    tensors: [
      GGUFTensorInfo(name: "m", shape: Shape([2, 32]), type: .q4_0),
      GGUFTensorInfo(name: "v", shape: Shape([3]), type: .f32),
    ])
  let expected = GGUFBytes.header(tensors: 2, keys: 3)
    .key("general.alignment", uint32: 64)
    .key("b", type: 7).raw([1])
    .key("a", type: 9).array(of: 3, count: 2).integer(Int16(-2)).integer(Int16(3))
    .tensor("m", [32, 2], type: 2).tensor("v", [3], at: 64)
    .padded(to: 64)
  #expect(layout.headerBytes == expected.bytes)
  #expect(layout.dataOffset == UInt64(expected.bytes.count))
  #expect(layout.tensorOffsets == [layout.dataOffset, layout.dataOffset + 64])
  #expect(layout.fileByteCount == layout.dataOffset + 128)
}

/// The files were written by ggml's own writer (llama-imatrix of October 2026).
@Test(arguments: ["llama2", "llama3"])
func layoutEqualsGGMLsWriter(_ model: String) throws {
  let path = Fixtures.path("models/imatrix/\(model).gguf")
  let file = try GGUFFile(path)
  let layout = try GGUFLayout(
    metadata: file.metadata, tensors: file.tensors.map(GGUFTensorInfo.init))
  let bytes = try Fixtures.bytes("models/imatrix/\(model).gguf")
  #expect(layout.headerBytes.elementsEqual(bytes.prefix(layout.headerBytes.count)))
  #expect(layout.tensorOffsets == file.tensors.map { $0.regions[0].fileOffset })
  #expect(layout.fileByteCount == UInt64(bytes.count))
}

@Test func layoutDropsTrailingOnesAsGGMLDoes() {
  func written(_ dimensions: [Int]) -> [Int] {
    GGUFTensorInfo(name: "t", shape: Shape(dimensions), type: .f32).writtenDimensions
  }
  #expect(written([]) == [1])
  #expect(written([1, 1]) == [1])
  #expect(written([1, 8]) == [8])
  #expect(written([8, 1]) == [1, 8])
  #expect(written([1, 0, 4]) == [4, 0])
}

@Test func layoutOfNothingIsPaddedToo() throws {
  let layout = try GGUFLayout(metadata: Metadata(), tensors: [])
  #expect(layout.headerBytes == GGUFBytes.header().padded().bytes)
  #expect(layout.fileByteCount == 32)
}

@Test(arguments: [
  (GGUFTensorInfo(name: "", shape: Shape([4]), type: .f32), "gguf.tensor[]"),
  (
    GGUFTensorInfo(
      name: ExactString(String(repeating: "n", count: 64)), shape: Shape([4]), type: .f32),
    "gguf.tensor[\(String(repeating: "n", count: 64))]"
  ),
  (GGUFTensorInfo(name: "t", shape: Shape([2, 1, 1, 1, 4]), type: .f32), "gguf.tensor[t].n_dims"),
  (GGUFTensorInfo(name: "t", shape: Shape([16]), type: .q4_0), "gguf.tensor[t].dims"),
  (GGUFTensorInfo(name: "t", shape: Shape([1 << 62, 4]), type: .f32), "gguf.tensor[t].dims"),
  (GGUFTensorInfo(name: "t", shape: Shape([4]), type: .f8_E4M3), "gguf.tensor[t].type"),
  (GGUFTensorInfo(name: "twice", shape: Shape([4]), type: .f32), "gguf.tensor[twice]"),
])
func layoutRefuses(_ tensor: GGUFTensorInfo, _ field: String) {
  let other = GGUFTensorInfo(name: "twice", shape: Shape([4]), type: .f32)
  do throws(FormatError) {
    _ = try GGUFLayout(metadata: Metadata(), tensors: [other, tensor], file: "out.gguf")
    Issue.record("accepted")
  } catch {
    #expect(error.field == field)
    #expect(error.file == "out.gguf")
  }
}

@Test func layoutRefusesASumThatOverflows() {
  let half = GGUFTensorInfo(name: "a", shape: Shape([1 << 62]), type: .i8)
  let tensors = ["a", "b", "c", "d", "e"].map { name in
    GGUFTensorInfo(name: ExactString(name), shape: half.shape, type: half.type)
  }
  #expect(throws: FormatError.self) {
    try GGUFLayout(metadata: Metadata(), tensors: Array(tensors.prefix(2)))
  }
  #expect(throws: FormatError.self) { try GGUFLayout(metadata: Metadata(), tensors: tensors) }
}

@Test(arguments: [
  MetadataValue.int32(32), .uint32(0), .uint32(48), .uint32(1 << 21), .uint32(1 << 31),
])
func layoutRefusesAlignment(_ value: MetadataValue) {
  var metadata = Metadata()
  metadata["general.alignment"] = value
  #expect(throws: FormatError.self) { try GGUFLayout(metadata: metadata, tensors: []) }
}

/// As `--override-kv general.alignment=int:4096` sets it.
@Test(arguments: [(64, 128), (4096, 4096), (1 << 20, 1 << 20)])
func layoutTakesLargeAlignments(_ alignment: Int, _ dataOffset: UInt64) throws {
  var metadata = Metadata()
  metadata.apply([try MetadataOverride(parsing: "general.alignment=int:\(alignment)")])
  let tensor = GGUFTensorInfo(name: "t", shape: Shape([4]), type: .f32)
  let layout = try GGUFLayout(metadata: metadata, tensors: [tensor])
  #expect(layout.dataOffset == dataOffset)
  #expect(layout.fileByteCount == dataOffset + UInt64(alignment))
}

@Test func layoutRefusesCountsThatNoReaderTakes() throws {
  func error(keys: Int, tensors: Int) -> FormatError? {
    var metadata = Metadata()
    for index in 0..<keys { metadata["k\(index)"] = .bool(true) }
    let tensors = (0..<tensors).map { index in
      GGUFTensorInfo(name: ExactString("t\(index)"), shape: Shape([1]), type: .i8)
    }
    do throws(FormatError) {
      _ = try GGUFLayout(metadata: metadata, tensors: tensors, file: "out.gguf")
      return nil
    } catch {
      return error
    }
  }
  #expect(error(keys: 65_536, tensors: 1) == nil)
  #expect(error(keys: 65_537, tensors: 1)?.field == "gguf.kv_count")
  #expect(error(keys: 0, tensors: 1_048_577)?.field == "gguf.tensor_count")
}
