import ByteIO
import GGUF
import Tensors
import TestSupport
import Testing
import Verification

@Test(arguments: [1, 2, 7])
func findsTheFirstInvalidBlockOfEachTensor(_ threadCount: Int) throws {
  var model = ExampleModel()
  // F32 weights over several tiles; Q4_0 blocks of 18 bytes, whose tiles are no power of two.
  model.metadata["general.architecture"] = .string("test")
  model.tensors = []
  model.add("sound", [1024, 512])
  model.add("late", [1024, 512])
  model.add("blocks", [4096, 512], .q4_0)
  var late = [UInt8](repeating: 0, count: 4 * 1024 * 512)
  for weight in [400_000, 500_000] {
    late.replaceSubrange(4 * weight..<4 * weight + 4, with: [0, 0, 0x80, 0x7F])
  }
  var blocks = [UInt8](repeating: 0, count: 18 * 65_536)
  for block in [58_300, 60_000, 65_535] {
    blocks.replaceSubrange(18 * block..<18 * block + 2, with: [1, 0x7E])
  }
  model.data = ["late": late, "blocks": blocks]
  let folder = TemporaryFolder()
  let path = folder.write("model.gguf", try model.bytes())
  let report = try ArchiveCheck(rules: .forTests, threadCount: threadCount).run(path)
  let errors = report.findings.filter { $0.severity == .error }
  #expect(errors.map(\.subject) == ["late", "blocks"])
  #expect(errors[0].problem.contains("block 400000 "))
  #expect(errors[0].problem.contains("(row 781, column 128)"))
  #expect(errors[1].problem.contains("block 58300 "))
  let offsets = try GGUFFile(path).tensors.map { $0.regions[0].fileOffset }
  #expect(errors.map(\.fileOffset) == [offsets[1] + 1_600_000, offsets[2] + 18 * 58_300])
}

@Test func saysWhichTypesItDoesNotDecode() throws {
  var model = ExampleModel()
  model.change("output.weight") { $0.type = .bf16 }
  model.add("positions", [8], .i32)
  let report = try model.check()
  #expect(report.passed)
  #expect(report.findings.map(\.subject).sorted() == ["BF16", "positions"])
}

@Test func acceptsTensorsWithoutBytes() throws {
  var model = ExampleModel()
  model.metadata["general.architecture"] = .string("test")
  model.tensors = []
  model.add("none", [0, 32])
  model.add("no columns", [4, 0])
  #expect(try model.check().passed)
}
