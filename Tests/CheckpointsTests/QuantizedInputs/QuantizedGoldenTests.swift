import Checkpoints
import Tensors
import TestSupport
import Testing

@Test func goldensOfQuantizedInputsAreThere() {
  #expect(QuantizedGolden.names.count == 72)
}

/// Every weight has the library's name, shape, type and bits; a NaN has no particular bits.
@Test(arguments: QuantizedGolden.names)
func dequantizesAsTheLibraryDoes(_ name: String) throws {
  let golden = try QuantizedGolden(name)
  #expect(!golden.expected.isEmpty)
  for (name, expected) in golden.expected {
    let tensor = try golden.source.tensor(name)
    #expect(tensor.type == expected.type)
    #expect(tensor.shape == expected.shape)
    let found = try golden.source.bytes(tensor)
    let wanted = try golden.file.bytes(expected)
    if found != wanted {
      let (a, b) = (try golden.source.floats(tensor), try golden.file.floats(expected))
      let differing = zip(a, b).filter { $0.bitPattern != $1.bitPattern && !($0.isNaN && $1.isNaN) }
      #expect(differing.isEmpty, "\(differing.count) differ, first \(differing.first ?? (0, 0))")
    }
  }
  // What belongs to no weight is passed on, and nothing else is left.
  let names = golden.expected.map { $0.name.string }
  let others = golden.source.tensors.map { $0.name.string }.filter {
    !$0.hasPrefix(QuantizedGolden.prefix)
  }
  #expect(Set(others) == Set(names + ["model.norm.weight"]))
}

/// Any run of elements is the same as that part of the whole.
@Test(arguments: QuantizedGolden.names)
func readsAnyPartOfQuantizedInputs(_ name: String) throws {
  let golden = try QuantizedGolden(name)
  var random = SplitMix64(seed: name.utf8.reduce(1) { $0 &* 31 &+ UInt64($1) })
  for (name, _) in golden.expected {
    let tensor = try golden.source.tensor(name)
    let whole = try golden.source.bytes(tensor)
    let width = tensor.type.bytesPerBlock
    var ranges = [0..<0, 0..<1, tensor.elementCount - 1..<tensor.elementCount]
    for row in 0..<min(4, tensor.rowCount) {
      ranges.append(row * tensor.columnCount..<(row + 1) * tensor.columnCount)
    }
    for _ in 0..<20 {
      let start = Int.random(in: 0..<tensor.elementCount, using: &random)
      ranges.append(start..<Int.random(in: start...tensor.elementCount, using: &random))
    }
    for range in ranges {
      #expect(
        try golden.source.bytes(tensor, range)
          == Array(whole[range.lowerBound * width..<range.upperBound * width]), "\(range)")
    }
  }
}

@Test func pageListsTheMethodsAndFormats() throws {
  let methods = try MarkdownTable(page: "quantized-inputs.md", columns: ["quant_method", "weight"])
  #expect(
    methods.rows.compactMap { $0["quant_method"] } == QuantizationConfiguration.methodNames)
  let formats = try MarkdownTable(page: "quantized-inputs.md", columns: ["format", "scales"])
  #expect(
    formats.rows.compactMap { $0["format"] }.sorted()
      == CompressedTensorsScheme.formatNames.sorted())
  let presets = try MarkdownTable(page: "quantized-inputs.md", columns: ["preset", "weights"])
  var listed: [String: String] = [:]
  for row in presets.rows { listed[row["preset"] ?? ""] = row["weights"] }
  #expect(listed == CompressedTensorsScheme.presets.mapValues { $0 ?? "plain" })
}
