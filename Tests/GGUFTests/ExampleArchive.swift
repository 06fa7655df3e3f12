import GGUF
import Tensors

/// A small archive with every value type, two tensors, and nothing that could be left out.
enum ExampleArchive {
  static var metadata: Metadata {
    var metadata = Metadata()
    metadata["general.architecture"] = .string("llama")
    metadata["u8"] = .uint8(200)
    metadata["i8"] = .int8(-100)
    metadata["u16"] = .uint16(60_000)
    metadata["i16"] = .int16(-30_000)
    metadata["u32"] = .uint32(4_000_000_000)
    metadata["i32"] = .int32(-2_000_000_000)
    metadata["u64"] = .uint64(.max)
    metadata["i64"] = .int64(.min)
    metadata["f32"] = .float32(1e-5)
    metadata["f64"] = .float64(-.pi)
    metadata["bool"] = .bool(true)
    metadata["text"] = .string("naïve ▁ text")
    metadata["no text"] = .string("")
    metadata["a.u8"] = .array(.uint8([0, 255]))
    metadata["a.i8"] = .array(.int8([-1]))
    metadata["a.u16"] = .array(.uint16([1, 2]))
    metadata["a.i16"] = .array(.int16([-1]))
    metadata["a.u32"] = .array(.uint32([7]))
    metadata["a.i32"] = .array(.int32([-7, 3]))
    metadata["a.u64"] = .array(.uint64([.max]))
    metadata["a.i64"] = .array(.int64([.min]))
    metadata["a.f32"] = .array(.float32([0.5, -.infinity]))
    metadata["a.f64"] = .array(.float64([0.1]))
    metadata["a.bool"] = .array(.bool([true, false]))
    metadata["a.empty"] = .array(.string(StringTable()))
    metadata["nested"] = .array(
      .array([.uint8([1]), .array([.string(StringTable(["x"]))]), .array([])]))
    var tokens = StringTable(["<s>", "", "▁a"])
    tokens.append([0xFF, 0x00, 0x80])  // Old tokenizers hold raw bytes.
    metadata["tokenizer.ggml.tokens"] = .array(.string(tokens))
    return metadata
  }

  static let tensors = [
    GGUFTensorInfo(name: "token_embd.weight", shape: Shape([3, 32]), type: .q8_0),
    GGUFTensorInfo(name: "output_norm.weight", shape: Shape([32]), type: .f32),
  ]

  static func layout() throws -> GGUFLayout {
    try GGUFLayout(metadata: metadata, tensors: tensors)
  }

  /// The whole file; the tensor data counts upwards.
  static func bytes() throws -> [UInt8] {
    let layout = try layout()
    let dataByteCount = Int(layout.fileByteCount) - layout.headerBytes.count
    return layout.headerBytes + (0..<dataByteCount).map { UInt8($0 & 255) }
  }
}
