import Quantizers
import StrictJSON
import Tensors
import TestSupport
import Testing

/// The golden vectors: rows, and the bytes that the reference quantizer makes of them.
///
/// Origin: `ggml_quantize_chunk` of llama.cpp (October 2026) built with -ffp-contract=off; the
/// manifest names the groups of rows and the CRC-32 of the weights that its dequantizer restores.
private struct Golden {
  let manifest: JSONValue
  let rows: [Float]
  let importance: [Float]
  let columnCount: Int

  init() throws {
    manifest = try JSONValue(
      file: Fixtures.path("golden/quant/manifest.json"), limit: 1 << 20)
    rows = try Fixtures.floats("golden/quant/input.f32")
    importance = try Fixtures.floats("golden/quant/importance.f32")
    columnCount = try #require(manifest["columns"]?.int)
    #expect(rows.count == columnCount * (manifest["rows"]?.int ?? 0))
  }

  /// Name of the first group that holds a row with other bytes.
  func group(ofDifference a: [UInt8], _ b: [UInt8], bytesPerRow: Int) -> String? {
    guard let byte = zip(a, b).enumerated().first(where: { $1.0 != $1.1 })?.offset else {
      return nil
    }
    return manifest["groups"]?.array?.last { $0["first_row"]?.int ?? 0 <= byte / bytesPerRow }?[
      "name"]?.string
  }
}

struct GoldenTests {
  @Test(arguments: KernelTable.runnableHere, quantizedTypes)
  func blocksAndWeightsMatchReference(_ kernels: KernelTable, _ type: TensorType) throws {
    let golden = try Golden()
    let entry = try #require(golden.manifest["types"]?[type.name])
    #expect(entry["ggml_type"]?.int == type.ggmlID.map(Int.init))
    var comparisons = 0
    for (key, importance) in [("plain", nil), ("importance", golden.importance)] {
      guard let expected = entry[key], let file = expected["file"]?.string else { continue }
      let blocks = try Fixtures.bytes("golden/quant/" + file)
      let made = kernels.blocks(
        type, golden.rows, columnCount: golden.columnCount, importance: importance)
      #expect(made.count == blocks.count)
      #expect(
        golden.group(
          ofDifference: made, blocks,
          bytesPerRow: golden.columnCount / type.weightsPerBlock * type.bytesPerBlock) == nil)

      let crc = kernels.weights(type, blocks).withUnsafeBytes { crc32($0) }
      #expect(expected["dequantized_crc32"]?.int == Int(crc), "\(type) \(key)")
      #expect(kernels.firstInvalidBlock(type, blocks) == nil)
      comparisons += 1
    }
    let hasTwo = type.isBlockType && kernels.canQuantizeWithoutImportance(type)
    #expect(comparisons == (hasTwo ? 2 : 1))
  }

  /// A constant CRC would agree with any weights.
  @Test func crcOfDigitsIsTheStandardsCheckValue() {
    #expect(Array("123456789".utf8).withUnsafeBytes { crc32($0) } == 0xCBF4_3926)
  }
}
