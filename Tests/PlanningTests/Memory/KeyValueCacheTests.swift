import Planning
import Tensors
import Testing

/// 32 layers × 131072 cells × 8 heads × 128 numbers × 2 bytes, for keys and again for values.
@Test func cacheOfLlama8BAt128KIs16GiB() throws {
  let model = try ModelShape.llama8B.dimensions()
  let cache = KeyValueCache(model, MemoryRun(context: 131_072))
  #expect(cache.byteCount == 16 * gibibyte)
  #expect(cache.keyByteCounts == Array(repeating: gibibyte / 4, count: 32))
  // 34 bytes for 32 numbers, and 18.
  let quantized = MemoryRun(context: 131_072, keyType: .q8_0, valueType: .q4_0)
  #expect(
    KeyValueCache(model, quantized).byteCount == 8 * gibibyte * 34 / 64 + 8 * gibibyte * 18 / 64)
}

/// 12 layers keep 10,485,760 cells of 4 KiB, 36 keep 8192 + 512.
@Test func cacheOfScoutAtTenMillionTokens() throws {
  let model = try ModelShape.scout.dimensions()
  #expect(model.chunkedLayerCount == 36)
  let run = MemoryRun(context: 10_485_760)
  #expect(run.cellCount(chunk: model.chunk) == 8704)
  let expected = 12 * 10_485_760 * 4096 + 36 * 8704 * 4096
  #expect(KeyValueCache(model, run).byteCount == expected)
  // 492744 MiB, as llama.cpp prints: 480 GiB and 1224 MiB.
  #expect(expected == 480 * gibibyte + 1224 << 20)
}

@Test func chunkedLayersKeepWhatTheyMay() {
  func cells(_ run: MemoryRun) -> Int { run.cellCount(chunk: 8192) }
  // Less context than a chunk: all of it.
  #expect(cells(MemoryRun(context: 4096)) == 4096)
  // A micro-batch more than the chunk, in steps of 256.
  #expect(cells(MemoryRun(context: 131_072, microBatch: 100)) == 8448)
  #expect(cells(MemoryRun(context: 131_072, batch: 4096, microBatch: 2048)) == 10_240)
  // The micro-batch is never more than the batch.
  #expect(cells(MemoryRun(context: 131_072, batch: 256, microBatch: 2048)) == 8448)
  // One part for each sequence, or one for all of them.
  #expect(cells(MemoryRun(context: 131_072, parallel: 4)) == 8704)
  #expect(cells(MemoryRun(context: 131_072, parallel: 4, isUnified: true)) == 33_280)
  #expect(cells(MemoryRun(context: 131_072, keepsFullWindow: true)) == 131_072)
}

@Test func contextIsPerSequence() {
  let parts = MemoryRun(context: 1000, parallel: 3)
  #expect(parts.totalContext == 3072)
  #expect(parts.cellCount == 1024)
  #expect(parts.streamCount == 3)
  let unified = MemoryRun(context: 1000, parallel: 3, isUnified: true)
  #expect(unified.totalContext == 3072)
  #expect(unified.cellCount == 3072)
  #expect(unified.streamCount == 1)
}

@Test func switchesSayWhatIsAssumed() {
  let run = MemoryRun(
    context: 131_072, parallel: 2, keyType: .q8_0, valueType: .q4_0, isUnified: true,
    keepsFullWindow: true)
  #expect(
    run.switches.joined(separator: " ")
      == "-c 262144 -np 2 -b 2048 -ub 512 -ctk q8_0 -ctv q4_0 -fa on --kv-unified --swa-full")
}

@Test(arguments: [
  MemoryRun(context: 0), MemoryRun(context: Int.max), MemoryRun(context: 4096, parallel: 257),
  MemoryRun(context: 4096, batch: 0), MemoryRun(context: 4096, keyType: .q4_K),
  MemoryRun(context: 4096, valueType: .q8_0, flashAttention: false),
  MemoryRun(context: 1 << 29, parallel: 4),
])
func impossibleRunsAreNamed(_ run: MemoryRun) {
  #expect(run.problem != nil)
}

@Test func possibleRunsAreTaken() {
  #expect(MemoryRun(context: 131_072).problem == nil)
  #expect(MemoryRun(context: 4096, keyType: .q8_0, flashAttention: false).problem == nil)
}
