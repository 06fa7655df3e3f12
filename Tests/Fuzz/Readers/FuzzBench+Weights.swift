import ByteIO
import Checkpoints
import GGUF
import StrictJSON
import Tensors
import TestSupport
import Tokenizers

extension FuzzBench {
  func readPickle(_ bytes: [UInt8]) throws(FormatError) {
    var rest = bytes[...]
    var entries: [(name: String, data: [UInt8])] = []
    for index in 0..<min(16, Int(rest.popFirst() ?? 0)) {
      let byteCount = Int(rest.popFirst() ?? 0) | Int(rest.popFirst() ?? 0) << 8
      // Larger ones would only cost time.
      entries.append(
        ("archive/data/\(index)", [UInt8](repeating: 0x3C, count: min(byteCount, 1024))))
    }
    entries.insert(("archive/data.pkl", Array(rest)), at: 0)
    entries.append(("archive/byteorder", Array("little".utf8)))
    try readPyTorch(TorchArchive.zip(entries))
  }

  func readPyTorch(_ bytes: [UInt8]) throws(FormatError) {
    let source = try PyTorchFile(folder.write("model.pth", bytes))
    readTensors(of: source)
    try source.checkUnchanged()
  }

  func readSafetensors(_ bytes: [UInt8]) throws(FormatError) {
    do {
      readTensors(of: try SafetensorsFile(folder.write("model.safetensors", bytes)))
    } catch {
      guard let repaired = repairedSafetensors(bytes) else { throw error }
      readTensors(of: try SafetensorsFile(folder.write("model.safetensors", repaired)))
    }
  }

  func readQuantized(_ bytes: [UInt8]) throws(FormatError) {
    let path = folder.write("quantized.safetensors", repairedSafetensors(bytes) ?? bytes)
    let file = try SafetensorsFile(path)
    guard let text = file.header.metadata.first(where: { $0.key == "quantization_config" })?.value
    else { return }
    let value = try JSONValue(parsing: Array(text.utf8), file: path)
    let source = try QuantizedSource(file, QuantizationConfiguration(value, file: path))
    _ = source.heldByteLimit(threadCount: 2)
    readTensors(of: source)
  }

  func readArchive(_ bytes: [UInt8]) throws(FormatError) {
    let path = folder.write("model.gguf", bytes)
    let archive = try GGUFFile(path)
    readTensors(of: archive)
    let encoder = try TokenEncoder(archive: archive.metadata, file: path)
    encodeSample(encoder)
  }

  func readImportance(_ bytes: [UInt8]) throws(FormatError) {
    let matrix = try ImportanceMatrix(folder.write("imatrix.dat", bytes))
    _ = matrix.archiveMetadata
  }

  func readIndex(_ bytes: [UInt8]) throws(FormatError) {
    let name = "index/model.safetensors.index.json"
    if !DirectoryListing.exists(folder.file(name)) {
      for (number, tensor) in ["a", "b"].enumerated() {
        folder.write(
          "index/model-0000\(number + 1)-of-00002.safetensors",
          safetensors(
            header: #"{"\#(tensor)":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
            dataByteCount: 8))
      }
    }
    folder.write(name, bytes)
    let source = try CheckpointDirectory(folder.file("index"))
    _ = source.notes
    readTensors(of: source)
  }

  /// Reads both ends of every tensor, which may be far larger than the file where it is expanded.
  private func readTensors(of source: some TensorSource) {
    let sizes = source.fileByteCounts
    for tensor in source.tensors.prefix(256) {
      for region in tensor.regions {
        precondition(
          region.fileOffset + UInt64(region.byteCount) <= sizes[region.file], "\(tensor.name)")
      }
      let width = tensor.type.bytesPerBlock
      let count = min(tensor.byteCount, 12_288) / width * width
      precondition(count > 0 || tensor.byteCount == 0)
      var bytes = [UInt8](repeating: 0, count: count)
      source.prefetch(tensor, at: 0, byteCount: count)
      bytes.withUnsafeMutableBytes { buffer in
        // A refusal of contents or of an impossible scale is as good as a success.
        try? source.read(tensor, at: 0, into: buffer)
        try? source.read(tensor, at: tensor.byteCount - count, into: buffer)
      }
    }
  }
}
