import Planning
import Tensors
import Testing

/// A run, and the compute buffers that llama.cpp printed for it, in MiB.
///
/// By `Tests/Interop/test_memory.py` with the release that the interoperability tests name, on a
/// processor; `devices` by the same program with its `rpc` devices.
struct PrintedBuffers: Sendable, CustomTestStringConvertible {
  var model: ModelShape
  var run: MemoryRun
  var buffers: [Double]
  var testDescription: String { run.switches.joined(separator: " ") }

  init(_ model: ModelShape, _ run: MemoryRun, _ buffers: Double...) {
    self.model = model
    self.run = run
    self.buffers = buffers
  }

  static let processor = [
    PrintedBuffers(.llama8B, MemoryRun(context: 512), 266.50),
    PrintedBuffers(.llama8B, MemoryRun(context: 131_072), 266.50),
    PrintedBuffers(.llama8B, MemoryRun(context: 131_072, flashAttention: false), 8492.01),
    PrintedBuffers(
      .llama8B, MemoryRun(context: 4096, parallel: 4, flashAttention: false, outputCount: 4),
      308.01),
    PrintedBuffers(
      .llama8B,
      MemoryRun(context: 131_072, keyType: .q8_0, valueType: .q4_0, outputCount: 1), 236.09),
    PrintedBuffers(.llama1B, MemoryRun(context: 1000, parallel: 3), 258.51),
    PrintedBuffers(
      .llama1B, MemoryRun(context: 20_000, keyType: .q4_0, microBatch: 256, flashAttention: false),
      660.77),
    PrintedBuffers(.mixtral, MemoryRun(context: 512), 200.51),
    PrintedBuffers(
      .mixtral,
      MemoryRun(context: 20_000, parallel: 2, batch: 4096, microBatch: 1024, isUnified: true),
      478.53),
    PrintedBuffers(.scout, MemoryRun(context: 512, flashAttention: false), 444.73),
    PrintedBuffers(.scout, MemoryRun(context: 131_072), 434.72),
    PrintedBuffers(.scout, MemoryRun(context: 10_485_760, outputCount: 1), 10_346.62),
    PrintedBuffers(
      .scout,
      MemoryRun(
        context: 131_072, parallel: 8, keyType: .q8_0, valueType: .q8_0, outputCount: 8), 234.77),
    PrintedBuffers(.maverick, MemoryRun(context: 20_000), 445.38),
    PrintedBuffers(
      .maverick, MemoryRun(context: 20_000, keepsFullWindow: true, outputCount: 1), 175.52),
  ]

  static let devices = [
    PrintedBuffers(.llama8B, MemoryRun(context: 8192, flashAttention: false), 564.01, 36.01),
    PrintedBuffers(
      .scout,
      MemoryRun(
        context: 16_384, parallel: 4, keyType: .q8_0, valueType: .q8_0, isUnified: true,
        outputCount: 4), 184.77, 116.68),
    PrintedBuffers(.llama3, MemoryRun(context: 2048), 16.04, 15.55, 10.55),
    PrintedBuffers(.llama3, MemoryRun(context: 8192, flashAttention: false), 198.02, 198.03, 68.54),
    PrintedBuffers(
      .smallLlama4,
      MemoryRun(
        context: 4096, parallel: 4, keyType: .q8_0, valueType: .q8_0, isUnified: true,
        outputCount: 4), 68.59, 132.63, 0.05, 130.59),
    PrintedBuffers(.smallLlama4, MemoryRun(context: 2048), 12.59, 20.63, 6.50, 18.59),
  ]
}

/// Compute buffers alone, without the logits that wait for the program.
private func computed(_ printed: PrintedBuffers, acceleratorCount: Int) throws -> [Double] {
  let model = try printed.model.dimensions()
  var placement = DevicePlacement(
    layerCount: model.layers.count, acceleratorCount: acceleratorCount)
  placement.acceleratorAlignment = 32
  placement.unpacksCache = false
  let estimate = MemoryEstimate(
    model, tensors: [], run: printed.run, placement: placement, reserve: 0)
  let waiting = printed.run.parallel * model.vocabulary * 4
  return estimate.accelerators.map { mebibytes($0.compute) }
    + [mebibytes(estimate.host.compute - waiting)]
}

@Test(arguments: PrintedBuffers.processor)
func computeBufferIsWhatLlamaPrints(_ printed: PrintedBuffers) throws {
  #expect(try computed(printed, acceleratorCount: 0) == printed.buffers)
}

@Test(arguments: PrintedBuffers.devices)
func computeBuffersOfDevicesAreWhatLlamaPrints(_ printed: PrintedBuffers) throws {
  let count = printed.buffers.count - 1
  #expect(try computed(printed, acceleratorCount: count) == printed.buffers)
}

/// One layer's keys and values as F16 beside the mask, 2 × 131072 × 1024 × 2 and 131072 × 512 × 2
/// bytes, four results of 512 × 4096 × 4, two rotations of 128² × 4 and 64² × 4, and small inputs.
@Test func quantizedCacheIsUnpackedForFlashAttention() throws {
  let model = try ModelShape.llama8B.dimensions()
  let hardware = Hardware.memory(80 * gibibyte)
  func compute(_ type: TensorType) -> Int {
    let run = MemoryRun(context: 131_072, keyType: type, valueType: type, outputCount: 1)
    return MemoryEstimate(model, tensors: [], run: run, hardware: hardware).accelerators[0].compute
  }
  let results = compute(.q8_0) - (512 + 128) << 20
  #expect(results - 4 * 8 << 20 >= 80 << 10)
  #expect(results - 4 * 8 << 20 < 100 << 10)
  #expect(compute(.f16) < compute(.q8_0) - 400 << 20)
}
