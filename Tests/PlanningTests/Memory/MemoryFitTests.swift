import ByteIO
import Planning
import Tensors
import Testing

@Test func weightsLieWhereTheyAreUsed() throws {
  let shape = ModelShape.llama8B
  let (model, tensors) = (try shape.dimensions(), shape.tensors(.q8_0))
  let estimate = MemoryEstimate(
    model, tensors: tensors, run: MemoryRun(context: 8192), hardware: Hardware.memory(80 * gibibyte)
  )
  // The processor looks rows of the embedding up: 128256 × 4096 × 34 / 32 bytes.
  #expect(estimate.host.weights == 128_256 * 4096 / 32 * 34)
  let all = tensors.reduce(0) { $0 + $1.byteCount }
  // 64 rotary factors of 4 bytes and norms of 16 KiB fill multiples of 128.
  #expect(estimate.accelerators[0].weights == all - estimate.host.weights)
  #expect(estimate.accelerators[0].cache == gibibyte)
  #expect(estimate.accelerators[0].reserve == gibibyte)
  #expect(estimate.host.reserve == 0)
}

/// `-sm tensor`: printed by llama.cpp for the fixture in F16 on two and three `rpc` devices, in MiB.
@Test(arguments: [(2, 5.01, 6.0), (3, 3.35, 4.0)])
func matricesAreDivided(_ count: Int, _ weights: Double, _ cache: Double) throws {
  let shape = ModelShape.llama3
  var run = MemoryRun(context: 4096)
  run.splitsTensors = true
  var placement = DevicePlacement(layerCount: 6, acceleratorCount: count)
  placement.acceleratorAlignment = 32
  let estimate = MemoryEstimate(
    try shape.dimensions(), tensors: shape.tensors(.f16), run: run, placement: placement,
    reserve: 0)
  #expect(estimate.accelerators.count == count)
  #expect(Set(estimate.accelerators).count == 1)
  #expect(abs(mebibytes(estimate.accelerators[0].weights) - weights) <= 0.01)
  if count == 2 { #expect(mebibytes(estimate.accelerators[0].cache) == cache) }
  #expect(mebibytes(estimate.accelerators[0].compute) == 10.01)
  #expect(mebibytes(estimate.host.weights) == 1)
}

@Test func tiedEmbeddingLiesTwice() throws {
  let shape = ModelShape.llama1B
  let estimate = MemoryEstimate(
    try shape.dimensions(), tensors: shape.tensors(), run: MemoryRun(context: 8192),
    hardware: Hardware.memory(8 * gibibyte))
  let embedding = 128_256 * 2048 / 256 * 144
  #expect(estimate.host.weights == embedding)
  #expect(estimate.accelerators[0].weights > embedding)
}

@Test func processorHoldsEverything() throws {
  let shape = ModelShape.llama3
  let tensors = shape.tensors(.f16)
  var hardware = Hardware.memory(gibibyte)
  hardware.kind = .host
  let estimate = MemoryEstimate(
    try shape.dimensions(), tensors: tensors, run: MemoryRun(context: 512), hardware: hardware)
  #expect(estimate.accelerators.isEmpty)
  #expect(estimate.limited == [estimate.host])
  #expect(estimate.host.weights == tensors.reduce(0) { $0 + ($1.byteCount + 31) / 32 * 32 })
}

/// 49 parts over 8 devices: the output matrix counts as a layer, so the first has 7 layers.
@Test func layersAreSplitEvenly() {
  let placement = DevicePlacement(layerCount: 48, acceleratorCount: 8)
  let counts = (0..<8).map { device in
    (0..<48).count { placement.device(ofLayer: $0) == device }
  }
  #expect(counts == [7, 6, 6, 6, 6, 6, 6, 5])
  #expect(placement.output == 7)
  #expect(DevicePlacement(layerCount: 6, acceleratorCount: 0).device(ofLayer: 3) == 0)
}

@Test(arguments: [("h100-80gb", 1), ("h100-80gb", 4), ("rtx-4090-24gb", 2), ("apple-64gb", 1)])
func largestContextIsTheLargest(_ name: String, _ count: Int) throws {
  let shape = ModelShape.llama8B
  var hardware = try #require(Hardware(name: name))
  hardware.deviceCount = count
  let fit = MemoryFit(try shape.dimensions(), hardware: hardware)
  let tensors = shape.tensors(.q8_0)
  let run = MemoryRun(context: 1, parallel: 3)
  let context = try #require(fit.largestContext(tensors, run, limit: 1 << 24))
  func fits(_ context: Int) -> Bool {
    var run = run
    run.context = context
    return fit.estimate(tensors, run).fits(hardware)
  }
  #expect(context % 256 == 0)
  #expect(fits(context))
  #expect(!fits(context + 256))
}

@Test func largestContextStopsAtTheLimit() throws {
  let shape = ModelShape.llama3
  let hardware = Hardware.memory(80 * gibibyte)
  let fit = MemoryFit(try shape.dimensions(), hardware: hardware)
  #expect(fit.largestContext(shape.tensors(), MemoryRun(context: 1)) == 2048)
  #expect(fit.largestContext(shape.tensors(), MemoryRun(context: 1), limit: 1000) == 1000)
  let small = MemoryFit(try shape.dimensions(), hardware: Hardware.memory(1 << 20))
  #expect(small.largestContext(shape.tensors(), MemoryRun(context: 1)) == nil)
}

/// What is left for weights is used up to 0.1 %, and never exceeded.
@Test func weightLimitIsTight() throws {
  let shape = ModelShape.scout
  let hardware = try #require(Hardware(name: "h100-80gb"))
  let fit = MemoryFit(try shape.dimensions(), hardware: hardware)
  let run = MemoryRun(context: 131_072, outputCount: 1)
  var tensors = fit.limited(shape.tensors(.q4_K))
  #expect(!tensors.contains { $0.name == "token_embd.weight" })
  let limit = fit.weightLimit(tensors, run)
  let used = tensors.reduce(0) { $0 + $1.byteCount }
  // As if a type of just the right size existed for the largest tensor.
  let largest = try #require(tensors.indices.max { tensors[$0].byteCount < tensors[$1].byteCount })
  tensors[largest].byteCount += limit - used
  #expect(fit.estimate(tensors, run).fits(hardware))
  let slack = hardware.byteCount - fit.estimate(tensors, run).limited[0].total
  #expect(0...limit / 1000 ~= slack)
}

@Test func countsDevices() throws {
  let shape = ModelShape.maverick
  let hardware = try #require(Hardware(name: "h100-80gb"))
  let fit = MemoryFit(try shape.dimensions(), hardware: hardware)
  let run = MemoryRun(context: 131_072, outputCount: 1)
  // 214457 MiB of weights in Q4_K and 7368 MiB of cache: each of three takes 16 layers.
  #expect(fit.deviceCount(shape.tensors(.q4_K), run) == 3)
  #expect(fit.deviceCount(shape.tensors(.f32), run) == nil)
}

@Test func hardwareNames() throws {
  #expect(Hardware(name: "H100-80GB")?.deviceByteCount == 80_335 << 20)
  #expect(Hardware(name: "h100")?.name == "h100-80gb")
  let eight = try #require(Hardware(name: "h100-80gbX8"))
  #expect(eight.deviceCount == 8)
  #expect(eight.fullName == "h100-80gbx8")
  #expect(eight.byteCount == 8 * 80_335 << 20)
  #expect(Hardware(name: "mi300x")?.deviceCount == 1)
  #expect(Hardware(name: "mi300xx2")?.deviceCount == 2)
  #expect(Hardware(name: "apple-64gbx2") == nil)
  for name in ["h100x0", "h100x17", "h100x", "x8", "", "voodoo", "h100x-1", "h100xx"] {
    #expect(Hardware(name: name) == nil)
  }
  #expect(Hardware.memory(72 * gibibyte).name == "72GiB")
  #expect(Hardware.memory(1 << 20, deviceCount: 2).fullName == "1MiBx2")
}

/// Every row can be read, and is what its name says.
@Test func hardwareTableIsSound() throws {
  #expect(Hardware.all.count >= 20)
  for hardware in Hardware.all {
    let name = hardware.name
    let size = try #require(name.split(separator: "-").last?.dropLast(2))
    let gigabytes = try #require(Int(size))
    #expect(name.hasSuffix("gb"))
    // Never more than the name says, in whichever unit its maker counts.
    #expect(hardware.deviceByteCount <= gigabytes << 30, "\(name)")
    #expect(hardware.deviceByteCount > gigabytes << 29, "\(name)")
  }
}

@Test func impossibleArchivesAreRefused() throws {
  let shape = ModelShape.llama3
  func read(_ change: (inout Metadata) -> Void) throws -> MemoryDimensions {
    var metadata = shape.metadata
    change(&metadata)
    return try MemoryDimensions(metadata, tensors: shape.tensors(), file: "x.gguf")
  }
  #expect(throws: FormatError.self) { try read { $0["general.architecture"] = .string("mamba") } }
  #expect(throws: FormatError.self) { try read { $0["general.architecture"] = nil } }
  #expect(throws: FormatError.self) { try read { $0["llama.block_count"] = nil } }
  #expect(throws: FormatError.self) { try read { $0["llama.block_count"] = .uint32(513) } }
  #expect(throws: FormatError.self) { try read { $0["llama.embedding_length"] = .uint32(0) } }
  #expect(throws: FormatError.self) {
    try read { $0["llama.attention.head_count"] = .array(.uint32([1, 2])) }
  }
  #expect(throws: FormatError.self) {
    try read { $0["llama.expert_used_count"] = .uint32(60_000) }
  }
}

/// The largest numbers that are taken make estimates that fit nowhere, and no trap.
@Test func largestNumbersDoNotOverflow() throws {
  var metadata = ModelShape.llama3.metadata
  metadata["llama.block_count"] = .uint32(512)
  for key in [
    "embedding_length", "feed_forward_length", "attention.head_count", "attention.head_count_kv",
  ] {
    metadata["llama.\(key)"] = .uint32(1 << 20)
  }
  for key in ["attention.key_length", "attention.value_length"] {
    metadata["llama.\(key)"] = .uint32(65_536)
  }
  let model = try MemoryDimensions(metadata, tensors: [], file: "x.gguf")
  let run = MemoryRun(
    context: MemoryRun.contextLimit, keyType: .q8_0, valueType: .f32, batch: 65_536,
    microBatch: 65_536)
  let hardware = Hardware.memory(80 * gibibyte, deviceCount: 16)
  #expect(!MemoryEstimate(model, tensors: [], run: run, hardware: hardware).fits(hardware))
  #expect(MemoryFit(model, hardware: hardware).largestContext([], run) == nil)
}
