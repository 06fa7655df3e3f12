import ByteIO
import GGUF
import Ingot
import TestSupport
import Testing

/// A file that torch wrote, put together again: what stands outside its tensors is a fixture, the
/// tensors are those of the bundled safetensors file.
///
/// Origin: Fixtures/golden/pytorch/make_files.py, from checkpoints of the bundled model.
private func torchFile(_ name: String) throws -> [UInt8] {
  let model = SafetensorsImage(try Fixtures.bytes("models/llama2/model.safetensors"))
  let weights = Dictionary(
    uniqueKeysWithValues: try model.tensors.map { ($0.name, $0.data) })
  let frame = try Fixtures.bytes("golden/pytorch/\(name).frame")
  let text = String(
    decoding: try Fixtures.bytes("golden/pytorch/\(name).frame.tsv"), as: UTF8.self)
  let lines = text.split(separator: "\n").map(String.init)
  var file: [UInt8] = []
  var used = 0
  for line in lines.dropFirst(2) {
    let cells = line.split(separator: "\t").map(String.init)
    let count = try #require(Int(cells[1])) - file.count
    file += frame[used..<used + count]
    used += count
    file += try #require(weights[cells[0]])
  }
  file += frame[used...]
  let sum = file.withUnsafeBytes { crc32($0) }
  #expect(lines[0].hasPrefix("# \(file.count) bytes, CRC-32 \(sum);"), "\(name)")
  return file
}

private let shards = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]

private func folder(_ files: [(name: String, source: String)]) throws -> TemporaryFolder {
  let folder = TemporaryFolder()
  for name in [
    "config.json", "generation_config.json", "tokenizer.model", "tokenizer_config.json",
  ] {
    folder.link("llama2/" + name, to: Fixtures.path("models/llama2/" + name))
  }
  for file in files { folder.write("llama2/" + file.name, try torchFile(file.source)) }
  return folder
}

/// One model behind three doors: the same archive, byte for byte.
@Test(arguments: ["Q4_K_M", "Q8_0", "F16", "F32"])
func pyTorchFilesGiveTheSameArchive(_ type: String) throws {
  let doors = [
    try folder(shards.map { ($0, $0) }),
    try folder([("pytorch_model.bin", "legacy-pytorch_model.bin")]),
  ]
  var recipe = Recipe()
  recipe.type = type
  recipe.hasProvenance = false
  recipe.modelName = "one model"
  let output = TemporaryFolder()
  var archives: [[UInt8]] = []
  for path in [Fixtures.path("models/llama2")] + doors.map({ $0.file("llama2") }) {
    _ = try Converter(
      checkpoint: path, output: output.file("out.gguf"), recipe: recipe,
      memoryLimit: testMemoryLimit
    ).run()
    archives.append(try PositionalFile.readAll(output.file("out.gguf"), limit: 64 << 20))
  }
  // The folders go with the last use of what holds them.
  withExtendedLifetime(doors) {}
  #expect(archives[1] == archives[0])
  #expect(archives[2] == archives[0])
}

/// A flipped bit of a weight stops the conversion and leaves nothing behind.
@Test func damagedRecordLeavesNoArchive() throws {
  let door = try folder(shards.map { ($0, $0) })
  var bytes = try torchFile(shards[1])
  bytes[1_000_000] ^= 4
  door.write("llama2/" + shards[1], bytes)
  let output = TemporaryFolder()
  let result = Command.ingot(
    "convert", door.file("llama2"), "-o", output.file("out.gguf"), "--type", "Q8_0")
  #expect(result.status == 65, "\(result.error)")
  #expect(result.error.contains("checksum"), "\(result.error)")
  #expect(output.list().isEmpty)
}

@Test func inspectShowsPyTorchFiles() throws {
  let zip = Command.ingot("inspect", Fixtures.path("golden/pytorch/views-zip.pt"), "--tensors")
  #expect(zip.status == 0, "\(zip.error)")
  #expect(zip.output.contains("PyTorch zip, 23 tensors"))
  let legacy = Command.ingot("inspect", Fixtures.path("golden/pytorch/types-legacy.pt"), "--json")
  #expect(
    legacy.output.contains(#""format": "PyTorch legacy""#)
      || legacy.output.contains("PyTorch legacy"))
}
