import ByteIO
import Checkpoints
import StrictJSON
import Tensors
import TestSupport
import Testing

/// A release that a library made, and what the library makes of it.
///
/// Tensors `expected:NAME` are the results; the metadata holds the configuration and the origin.
struct QuantizedGolden {
  static let prefix = "expected:"

  let file: SafetensorsFile
  let source: QuantizedSource

  static let names: [String] = {
    let folder = Fixtures.path("golden/quantized-inputs")
    let files = (try? DirectoryListing.names(in: folder)) ?? []
    return files.filter { $0.hasSuffix(".safetensors") }.map {
      String($0.dropLast(".safetensors".count))
    }
  }()

  init(_ name: String) throws {
    file = try SafetensorsFile(Fixtures.path("golden/quantized-inputs/\(name).safetensors"))
    let text = try #require(
      file.header.metadata.first { $0.key == "quantization_config" }?.value)
    let value = try JSONValue(parsing: Array(text.utf8), file: name)
    source = try QuantizedSource(file, QuantizationConfiguration(value, file: name))
  }

  /// The tensors that the library made, by the plain name.
  var expected: [(name: ExactString, tensor: TensorDescriptor)] {
    file.tensors.compactMap { tensor in
      tensor.name.string.hasPrefix(Self.prefix)
        ? (ExactString(String(tensor.name.string.dropFirst(Self.prefix.count))), tensor) : nil
    }
  }
}

extension TensorSource {
  func tensor(_ name: ExactString) throws -> TensorDescriptor {
    try #require(tensors.first { $0.name == name })
  }

  /// Some elements, as bytes.
  func bytes(_ tensor: TensorDescriptor, _ elements: Range<Int>? = nil) throws -> [UInt8] {
    let width = tensor.type.bytesPerBlock
    let elements = elements ?? 0..<tensor.elementCount
    var bytes = [UInt8](repeating: 0xA5, count: elements.count * width)
    try bytes.withUnsafeMutableBytes {
      try read(tensor, at: elements.lowerBound * width, into: $0)
    }
    return bytes
  }

  /// Weights in F32.
  func floats(_ tensor: TensorDescriptor) throws -> [Float] {
    let bytes = try bytes(tensor)
    return bytes.withUnsafeBytes { raw in
      (0..<tensor.elementCount).map { index in
        switch tensor.type {
        case .f32: Float(bitPattern: raw.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self))
        case .bf16:
          Float(
            bitPattern: UInt32(raw.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)) << 16)
        default:
          Float(
            Float16(bitPattern: raw.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)))
        }
      }
    }
  }
}
