import Architectures
import ByteIO
import Conversion
import Planning
import Tensors
import Testing

private func tensor(
  _ shape: [Int], _ type: TensorType, from source: TensorType = .bf16,
  transform: RowTransform = .identity
) -> ConversionPlan.Tensor {
  ConversionPlan.Tensor(
    name: "t", shape: Shape(shape), source: .input(0), sourceName: nil, sourceType: source,
    type: type, transform: transform,
    byteCount: type.byteCount(weightCount: shape.reduce(1, *)) ?? 0)
}

private let tensors = [
  tensor([4096], .f32),
  tensor([1], .f32),
  tensor([0, 256], .q4_K),
  tensor([1000, 512], .q4_K),
  tensor([3, 1 << 16], .q6_K),
  tensor([2, 1 << 16], .q4_0),
  tensor([1, 100_001], .f16),
  tensor([16, 96, 256], .q5_K),
  tensor([5, 7, 256], .q8_0, from: .q4_K),
  tensor([512, 256], .q4_K, transform: .permuteRotary(headCount: 8)),
  tensor([512], .f32, transform: .permuteRotary(headCount: 8)),
]

/// Every weight is in exactly one chunk, whatever the size of the chunks.
@Test(arguments: [1, 300, 4096, 5000, 1 << 17, 1 << 30])
func chunksPartitionEveryTensor(_ weightsPerChunk: Int) {
  let plan = ConversionPlan(tensors: tensors, recipe: "test")
  let schedule = ChunkSchedule(plan, weightsPerChunk: weightsPerChunk)
  var covered = tensors.map { [Bool](repeating: false, count: $0.elementCount) }
  for index in 0..<schedule.chunkCount {
    let chunk = schedule[index]
    let tensor = tensors[chunk.tensor]
    #expect(chunk.weightCount > 0 && chunk.weightCount <= schedule.weightLimit)
    for row in chunk.rows {
      for column in chunk.columns {
        let place = row * tensor.columnCount + column
        if covered[chunk.tensor][place] { Issue.record("\(chunk) covers \(place) again") }
        covered[chunk.tensor][place] = true
      }
    }
  }
  for (index, marks) in covered.enumerated() {
    #expect(marks.allSatisfy { $0 }, "tensor \(index)")
  }
}

@Test(arguments: [1, 300, 5000, 1 << 17])
func chunksAreWholeBlocksOfOneExpert(_ weightsPerChunk: Int) {
  let plan = ConversionPlan(tensors: tensors, recipe: "test")
  let schedule = ChunkSchedule(plan, weightsPerChunk: weightsPerChunk)
  for index in 0..<schedule.chunkCount {
    let chunk = schedule[index]
    let tensor = tensors[chunk.tensor]
    for type in [tensor.type, tensor.sourceType] {
      #expect(chunk.columns.lowerBound % type.weightsPerBlock == 0)
      #expect(chunk.columns.count % type.weightsPerBlock == 0)
    }
    let first = chunk.rows.lowerBound / tensor.rowsPerExpert
    #expect((chunk.rows.upperBound - 1) / tensor.rowsPerExpert == first)
    // A part of a row is never more than one row; these types weigh by the whole row.
    if chunk.columns.count < tensor.columnCount {
      #expect(chunk.rows.count == 1)
      #expect(tensor.type != .q4_0)
    }
  }
}

@Test func theMemoryLimitIsDividedOrRefused() throws {
  let plan = ConversionPlan(tensors: tensors, recipe: "test")
  let roomy = try MemoryBudget(plan: plan, limit: 512 << 20, threadCount: 16, used: 0, peak: 0)
  #expect(roomy.threadCount == 16)
  #expect(roomy.weightsPerChunk >= Conversion.preferredWeightsPerChunk)
  let tight = try MemoryBudget(plan: plan, limit: 24 << 20, threadCount: 16, used: 0, peak: 0)
  #expect(tight.threadCount == 16)
  #expect(tight.weightsPerChunk < roomy.weightsPerChunk)
  let tighter = try MemoryBudget(plan: plan, limit: 8 << 20, threadCount: 16, used: 0, peak: 0)
  #expect(tighter.threadCount < 16)
  let refused = #expect(throws: MemoryBudget.TooSmall.self) {
    try MemoryBudget(plan: plan, limit: 1 << 20, threadCount: 1, used: 0, peak: 0)
  }
  let needed = try #require(refused?.needed)
  _ = try MemoryBudget(plan: plan, limit: needed, threadCount: 1, used: 0, peak: 0)
  #expect(throws: MemoryBudget.TooSmall.self) {
    try MemoryBudget(plan: plan, limit: needed - 1, threadCount: 1, used: 0, peak: 0)
  }
}

/// What the source may hold is taken from what is left, up to one matrix of an expert.
@Test func heldStripsAreWithinTheMemoryLimit() throws {
  var tensor = tensors[7]
  tensor.rowsReadTogether = 256
  let plan = ConversionPlan(tensors: [tensor], recipe: "test")
  func held(_ limit: Int, _ held: Int) throws -> Int {
    try MemoryBudget(
      plan: plan, limit: UInt64(limit), threadCount: 2, used: 0, peak: 0, held: held
    ).heldByteCount
  }
  let matrix = try #require(
    tensor.sourceType.byteCount(weightCount: tensor.rowsPerExpert * tensor.columnCount))
  #expect(try held(512 << 20, 0) == 0)
  #expect(try held(512 << 20, 1000) == min(1000, matrix))
  #expect(try held(512 << 20, .max) == matrix)
  #expect(
    try MemoryBudget(
      plan: ConversionPlan(tensors: [tensors[7]], recipe: "test"), limit: 512 << 20, threadCount: 2,
      used: 0, peak: 0, held: .max
    ).heldByteCount == 0)
}
