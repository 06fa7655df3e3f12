import ByteIO
import Checkpoints
import TestSupport
import Testing

/// A file of `torch.save` with one tensor of six elements.
private func weights(_ name: String) -> [UInt8] {
  ZIPBytes.torch(
    PickleBytes().dictionary {
      $0.text(name).tensor("0", storageCount: 6, shape: [6], strides: [1])
    }.op(.STOP)
  ).bytes
}

private let firstName = "pytorch_model-00001-of-00002.bin"
private let secondName = "pytorch_model-00002-of-00002.bin"
private let index = #"{"weight_map":{"a":"\#(firstName)","b":"\#(secondName)"}}"#

private func failure(_ path: String) -> FormatError? {
  do {
    _ = try CheckpointDirectory(path)
    return nil
  } catch {
    return error
  }
}

private func sharded() -> TemporaryFolder {
  let folder = TemporaryFolder()
  folder.write(secondName, weights("b"))
  folder.write(firstName, weights("a"))
  return folder
}

@Test func joinsPyTorchShards() throws {
  let folder = sharded()
  for hasIndex in [false, true] {
    if hasIndex { folder.write("pytorch_model.bin.index.json", index) }
    let checkpoint = try CheckpointDirectory(folder.path)
    #expect(checkpoint.files == [folder.file(firstName), folder.file(secondName)])
    #expect(checkpoint.tensors.map(\.name) == ["a", "b"])
    #expect(checkpoint.tensors.map { $0.regions[0].file } == [0, 1])
    #expect(checkpoint.notes.isEmpty)
    var bytes = [UInt8](repeating: 0, count: 24)
    try bytes.withUnsafeMutableBytes {
      try checkpoint.read(checkpoint.tensors[1], at: 0, into: $0)
    }
    #expect(bytes == floats(6))
    try checkpoint.checkUnchanged()
  }
}

@Test func checksPyTorchIndexAndShards() throws {
  let folder = sharded()
  folder.write(
    "pytorch_model.bin.index.json", index.replacing("\"b\"", with: "\"c\""))
  let wrong = try #require(failure(folder.path))
  #expect("\(wrong)".contains("does not hold it") && "\(wrong)".contains("bin.index.json"))
  folder.write("pytorch_model.bin.index.json", index)
  folder.write(secondName, weights("a"))
  #expect("\(try #require(failure(folder.path)))".contains("duplicate tensor"))
  let other = TemporaryFolder()
  other.write(firstName, weights("a"))
  #expect("\(try #require(failure(other.path)))".contains("missing shard 2 of 2"))
  other.write(secondName + ".incomplete", [UInt8]())
  #expect("\(try #require(failure(other.path)))".contains("not finished"))
}

@Test func prefersSafetensorsAndSaysSo() throws {
  let folder = sharded()
  folder.write("config.json", "{}")
  folder.write("model.safetensors", SafetensorsBytes.vectors([("x", 2)]))
  folder.write("training_args.bin", [UInt8]())
  let checkpoint = try CheckpointDirectory(folder.path)
  #expect(checkpoint.tensors.map(\.name) == ["x"])
  #expect(
    checkpoint.notes == [
      "the folder holds the weights in two formats: safetensors is read",
      "ignored: \(firstName), \(secondName), training_args.bin",
    ])
  // A shard that is named stands for its own family.
  let named = try CheckpointDirectory(folder.file(firstName))
  #expect(named.tensors.map(\.name) == ["a", "b"])
}

@Test(arguments: ["weights.bin", "model.pt", "llama.pth", "no-ending"])
func opensOneNamedPyTorchFile(_ name: String) throws {
  let folder = TemporaryFolder()
  let path = folder.write(name, weights("a"))
  #expect("\(try #require(failure(path)))".contains("config.json"))
  folder.write("config.json", "{}")
  #expect(try CheckpointDirectory(path).tensors.map(\.name) == ["a"])
}

@Test func passesOnTheNotesOfFiles() throws {
  let folder = TemporaryFolder()
  folder.write("pytorch_model.bin", try Fixtures.bytes("golden/pytorch/nested.pt"))
  #expect(
    try CheckpointDirectory(folder.path).notes
      == ["pytorch_model.bin: tensors are those under \"model.module\""])
}

@Test func refusesAdapters() throws {
  let folder = TemporaryFolder()
  folder.write("adapter_config.json", "{}")
  folder.write("adapter_model.safetensors", SafetensorsBytes.vectors([("x", 2)]))
  for path in [folder.path, folder.file("adapter_model.safetensors")] {
    let error = try #require(failure(path))
    #expect("\(error)".contains("merge_and_unload"), "\(error)")
  }
  // Beside a whole model it is left alone.
  folder.write("model.safetensors", SafetensorsBytes.vectors([("y", 2)]))
  #expect(try CheckpointDirectory(folder.path).tensors.map(\.name) == ["y"])
}

@Test func findsPointersAndPartsAmongPyTorchFiles() throws {
  let folder = TemporaryFolder()
  folder.write("pytorch_model.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
  #expect("\(try #require(failure(folder.path)))".contains("git lfs pull"))
  let other = TemporaryFolder()
  other.write("pytorch_model.bin.incomplete", [UInt8]())
  #expect("\(try #require(failure(other.path)))".contains("not finished"))
}

/// A name of one format over the content of the other.
@Test func tellsFormatsByContent() throws {
  for (name, bytes, says) in [
    ("pytorch_model.bin", SafetensorsBytes.vectors([("a", 2)]), "safetensors"),
    ("model.safetensors", weights("a"), "PyTorch"),
  ] {
    let folder = TemporaryFolder()
    folder.write(name, bytes)
    let checkpoint = try CheckpointDirectory(folder.path)
    #expect(checkpoint.tensors.map(\.name) == ["a"])
    #expect(checkpoint.notes == ["\(name) is a file of the other format: read as \(says)"])
  }
}

@Test(arguments: ["base_model.model.q_proj.lora_A.weight", "q_proj.lora_B.default.weight"])
func knowsAdaptersByTheirTensors(_ name: String) throws {
  let folder = TemporaryFolder()
  folder.write("pytorch_model.bin", weights(name))
  #expect("\(try #require(failure(folder.path)))".contains("merge_and_unload"))
  let file = try PyTorchFile(folder.file("pytorch_model.bin"))
  let note = AdapterFiles.note(file: "pytorch_model.bin", tensors: file.tensors)
  #expect(note?.contains("LoRA") == true)
  #expect(AdapterFiles.note(file: "a/adapter_model.bin", tensors: []) != nil)
  #expect(AdapterFiles.note(file: "a/pytorch_model.bin", tensors: []) == nil)
}
