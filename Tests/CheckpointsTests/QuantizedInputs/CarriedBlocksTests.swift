import ByteIO
import Checkpoints
import StrictJSON
import Tensors
import TestSupport
import Testing

/// Codes and scales of blocks, taken apart by the layouts of formats/quantized-inputs.md.
private struct TakenApart {
  static let values: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6]

  /// Per weight.
  var codes: [Float] = []
  /// Per weight, its group's.
  var scales: [Float] = []

  init(_ bytes: [UInt8], _ type: TensorType) {
    let groupCount = type == .mxfp4 ? 1 : 4
    let groupLength = type.weightsPerBlock / groupCount
    for start in stride(from: 0, to: bytes.count, by: type.bytesPerBlock) {
      for group in 0..<groupCount {
        let scale = bytes[start + group]
        for index in 0..<groupLength {
          let byte =
            bytes[start + groupCount + group * groupLength / 2 + index % (groupLength / 2)]
          codes.append(Self.values[Int(index < groupLength / 2 ? byte & 15 : byte >> 4)])
          scales.append(type == .mxfp4 ? Self.power(scale) : Self.e4m3(scale))
        }
      }
    }
  }

  private static func power(_ code: UInt8) -> Float {
    Float(sign: .plus, exponent: Int(code) - 127, significand: 1)
  }

  private static func e4m3(_ code: UInt8) -> Float {
    let (exponent, mantissa) = (Int(code >> 3) & 15, Float(code & 7))
    return exponent == 0
      ? mantissa / 512 : Float(sign: .plus, exponent: exponent - 7, significand: 1 + mantissa / 8)
  }
}

private func carried(_ source: QuantizedSource, _ name: ExactString) throws
  -> (source: QuantizedSource, tensor: TensorDescriptor, position: Int)
{
  let position = try #require(source.tensors.firstIndex { $0.name == name })
  let blocks = source.carryingBlocks(at: [position])
  return (blocks, blocks.tensors[position], position)
}

/// Blocks mean what decoding gives, which other tests compare with the libraries.
@Test(arguments: ["modelopt", "compressed", "mxfp4"])
func carriedBlocksMeanTheDecodedWeights(_ kind: String) throws {
  let release = try BlockRelease(kind).source
  var count = 0
  for (position, tensor) in release.tensors.enumerated() {
    guard let type = release.blockType(at: position) else { continue }
    count += 1
    let decoded = try release.floats(tensor)
    let (source, blocks, _) = try carried(release, tensor.name)
    #expect(blocks.type == type && blocks.shape == tensor.shape)
    var bytes = [UInt8](repeating: 0, count: blocks.byteCount)
    try bytes.withUnsafeMutableBytes { try source.read(blocks, at: 0, into: $0) }
    let parts = TakenApart(bytes, type)
    let scales = try release.blockScales(at: [position])[0]
    let global = scales.first { $0.name == "scale" }?.value ?? 1
    for index in decoded.indices {
      // The library rounds the product of the scales first.
      let weight = parts.codes[index] * (parts.scales[index] * global)
      let isSame =
        kind == "compressed"
        // Rounded to BF16, and a quotient in place of the product with a rounded reciprocal.
        ? abs(weight - decoded[index]) <= abs(weight) / 256 : weight == decoded[index]
      guard isSame else {
        Issue.record("\(tensor.name) \(index): \(weight), decoded \(decoded[index])")
        return
      }
    }
  }
  #expect(count == (kind == "modelopt" ? 8 : 7))
}

/// Any run of blocks is that part of the whole.
@Test(arguments: ["modelopt", "mxfp4"])
func readsAnyPartOfCarriedBlocks(_ kind: String) throws {
  let release = try BlockRelease(kind)
  let name: ExactString = "model.layers.0.mlp.down_proj.weight"
  let (source, tensor, _) = try carried(release.source, name)
  let whole = try source.bytes(blocks: 0..<tensor.byteCount / tensor.type.bytesPerBlock, tensor)
  let size = tensor.type.bytesPerBlock
  for start in 0..<20 {
    for count in [0, 1, 3, 100] {
      #expect(
        try source.bytes(blocks: start..<start + count, tensor)
          == Array(whole[start * size..<(start + count) * size]))
    }
  }
}

/// A negative scale goes into the codes; blocks have no sign for it.
@Test func carriesNegativeScalesInTheCodes() throws {
  var release = try BlockRelease("modelopt").release
  let base = "model.layers.0.mlp.up_proj"
  release.change("\(base).weight_scale") { scale in
    for index in scale.bytes.indices where index % 3 == 0 { scale.bytes[index] |= 0x80 }
  }
  let source = try release.open()
  let name = ExactString("\(base).weight")
  let decoded = try source.floats(try source.tensor(name))
  let (blocks, tensor, position) = try carried(source, name)
  let bytes = try blocks.bytes(
    blocks: 0..<tensor.byteCount / tensor.type.bytesPerBlock, tensor)
  let parts = TakenApart(bytes, .nvfp4)
  let global = try #require(try source.blockScales(at: [position])[0].first?.value)
  #expect(decoded.contains { $0 < 0 })
  for index in decoded.indices where parts.codes[index] != 0 {
    #expect(parts.codes[index] * (parts.scales[index] * global) == decoded[index])
  }
}

@Test(arguments: [("modelopt", UInt8(0x7F)), ("modelopt", 0xFF), ("mxfp4", 0xFF)])
func refusesToCarryScalesThatAreNoNumbers(_ kind: String, _ scale: UInt8) throws {
  var release = try BlockRelease(kind).release
  let base = "model.layers.0.mlp.up_proj"
  release.change("\(base).weight_scale") { $0.bytes[5] = scale }
  let (source, tensor, _) = try carried(try release.open(), ExactString("\(base).weight"))
  let error = #expect(throws: FormatError.self) {
    _ = try source.bytes(blocks: 0..<8, tensor)
  }
  #expect("\(try #require(error))".contains("NaN as scale 5"))
}

@Test func refusesGlobalScalesThatAreNoNumbers() throws {
  for (kind, name, bytes) in [
    ("modelopt", "weight_scale_2", [0, 0, 0x80, 0x7F]),
    ("modelopt", "input_scale", [0, 0, 0xC0, 0x7F]),
    ("compressed", "weight_global_scale", [0, 0, 0, 0]),
    ("compressed", "input_global_scale", [0, 0, 0, 0x80]),
  ] as [(String, String, [UInt8])] {
    var release = try BlockRelease(kind).release
    let base = "model.layers.0.mlp.up_proj"
    release.change("\(base).\(name)") { $0.bytes = bytes }
    let source = try release.open()
    let position = try #require(
      source.tensors.firstIndex { $0.name == ExactString("\(base).weight") })
    let error = #expect(throws: FormatError.self) { try source.blockScales(at: [position]) }
    #expect("\(try #require(error))".contains("finite scales"), "\(name)")
  }
}

/// Rows of 16 codes more than whole blocks, and scales of three-dimensional weights.
@Test func decodesWhatIsNoWholeBlocks() throws {
  for dimensions in [[4, 40], [2, 4, 32]] {
    let columnCount = dimensions[dimensions.count - 1] * 2
    var scales = dimensions
    scales[scales.count - 1] = columnCount / 16
    let value = try JSONValue(
      parsing: Array(#"{"quant_method":"modelopt","quant_algo":"NVFP4"}"#.utf8), file: "config")
    let source = try QuantizedSource(
      MemorySource([
        .init(name: "a.weight", type: .u8, dimensions: dimensions, bytes: []),
        .init(name: "a.weight_scale", type: .f8_E4M3, dimensions: scales, bytes: []),
        .init(name: "a.weight_scale_2", type: .f32, dimensions: [], bytes: [0, 0, 0x80, 0x3F]),
      ]), QuantizationConfiguration(value, file: "config"))
    #expect(source.tensors.map(\.columnCount) == [columnCount])
    #expect(source.blockType(at: 0) == nil)
  }
}

/// A release of `Fixtures/golden/carried-blocks`.
private struct BlockRelease {
  var release: Release
  let source: QuantizedSource

  init(_ kind: String) throws {
    release = try Release(path: "golden/carried-blocks/\(kind)/model.safetensors")
    source = try release.open()
  }
}

extension TensorSource {
  fileprivate func bytes(blocks: Range<Int>, _ tensor: TensorDescriptor) throws -> [UInt8] {
    let size = tensor.type.bytesPerBlock
    var bytes = [UInt8](repeating: 0xA5, count: blocks.count * size)
    try bytes.withUnsafeMutableBytes {
      try read(tensor, at: blocks.lowerBound * size, into: $0)
    }
    return bytes
  }
}
