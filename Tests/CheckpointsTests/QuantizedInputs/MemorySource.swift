import ByteIO
import Checkpoints
import StrictJSON
import Tensors
import TestSupport

/// Tensors in memory, for releases that no library would write.
struct MemorySource: TensorSource {
  struct Tensor {
    var name: String
    var type: TensorType
    var dimensions: [Int]
    /// As many as type and shape ask for, whatever was put here.
    var bytes: [UInt8]
  }

  let files = ["release.safetensors"]
  let fileByteCounts: [UInt64] = [0]
  let tensors: [TensorDescriptor]
  private let data: [ExactString: [UInt8]]

  init(_ contents: [Tensor]) {
    var data: [ExactString: [UInt8]] = [:]
    tensors = contents.map { tensor in
      let descriptor = TensorDescriptor(
        name: ExactString(tensor.name), shape: Shape(tensor.dimensions), type: tensor.type,
        regions: [.init(file: 0, fileOffset: 0, byteCount: tensor.bytes.count)])
      let missing = max(0, descriptor.byteCount - tensor.bytes.count)
      data[descriptor.name] =
        Array(tensor.bytes.prefix(descriptor.byteCount)) + [UInt8](repeating: 1, count: missing)
      return descriptor
    }
    self.data = data
  }

  func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    guard let bytes = data[tensor.name] else { preconditionFailure("no \(tensor.name)") }
    buffer.copyBytes(from: bytes[byteOffset..<byteOffset + buffer.count])
  }

  func checkUnchanged() throws(FormatError) {}
}

/// A golden that can be damaged.
struct Release {
  var configuration: String
  var tensors: [MemorySource.Tensor]

  /// A golden without the results.
  init(_ golden: String) throws {
    try self.init(path: "golden/quantized-inputs/\(golden).safetensors")
  }

  /// A file below `Fixtures`, without results.
  init(path: String) throws {
    let file = try SafetensorsFile(Fixtures.path(path))
    configuration = file.header.metadata.first { $0.key == "quantization_config" }?.value ?? ""
    tensors = []
    for tensor in file.tensors where !tensor.name.string.hasPrefix(QuantizedGolden.prefix) {
      tensors.append(
        MemorySource.Tensor(
          name: tensor.name.string, type: tensor.type, dimensions: tensor.shape.dimensions,
          bytes: try file.bytes(tensor)))
    }
  }

  mutating func change(_ name: String, _ body: (inout MemorySource.Tensor) -> Void) {
    guard let index = tensors.firstIndex(where: { $0.name == name }) else {
      preconditionFailure("no \(name)")
    }
    body(&tensors[index])
  }

  mutating func replace(_ text: String, by other: String) {
    precondition(configuration.contains(text), "no \(text) in \(configuration)")
    configuration.replace(text, with: other)
  }

  func open() throws(FormatError) -> QuantizedSource {
    let value = try JSONValue(parsing: Array(configuration.utf8), file: "config.json")
    return try QuantizedSource(
      MemorySource(tensors), QuantizationConfiguration(value, file: "config.json"))
  }

  /// Opens and reads everything; the error, if there is one.
  func failure() -> FormatError? {
    do throws(FormatError) {
      let source = try open()
      for tensor in source.tensors where tensor.byteCount < 1 << 24 {
        let bytes = UnsafeMutableRawBufferPointer.allocate(
          byteCount: tensor.byteCount, alignment: 8)
        defer { bytes.deallocate() }
        try source.read(tensor, at: 0, into: bytes)
      }
      return nil
    } catch {
      return error
    }
  }
}
