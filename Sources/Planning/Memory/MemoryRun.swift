import Tensors

/// How llama.cpp will be run: everything about it that decides over memory.
package struct MemoryRun: Sendable, Hashable {
  /// Tokens that every sequence can hold.
  package var context: Int
  /// Sequences at the same time.
  package var parallel: Int
  /// Types of the cache's keys and values.
  package var keyType: TensorType
  package var valueType: TensorType
  /// Tokens that are handed over, and that are computed, at a time.
  package var batch: Int
  package var microBatch: Int
  package var flashAttention: Bool
  /// One cache for all sequences, instead of a part for each.
  package var isUnified: Bool
  /// Chunked layers keep everything too.
  package var keepsFullWindow: Bool
  /// Every device has a part of each matrix, instead of whole layers.
  package var splitsTensors = false
  /// Tokens of a batch whose logits are wanted; `nil` for all.
  ///
  /// A server wants one for each sequence.
  package var outputCount: Int?

  package init(
    context: Int, parallel: Int = 1, keyType: TensorType = .f16, valueType: TensorType = .f16,
    batch: Int = 2048, microBatch: Int = 512, flashAttention: Bool = true, isUnified: Bool = false,
    keepsFullWindow: Bool = false, outputCount: Int? = nil
  ) {
    self.context = context
    self.parallel = parallel
    self.keyType = keyType
    self.valueType = valueType
    self.batch = batch
    self.microBatch = microBatch
    self.flashAttention = flashAttention
    self.isUnified = isUnified
    self.keepsFullWindow = keepsFullWindow
    self.outputCount = outputCount
  }

  /// Largest context that is taken: positions are 32-bit numbers.
  package static let contextLimit = 1 << 30
  /// Most tokens that are taken at a time.
  package static let batchLimit = 65_536
  /// Most sequences that llama.cpp takes.
  package static let parallelLimit = 256
  /// Types that a cache can have.
  package static let cacheTypes: [TensorType] = [
    .f32, .f16, .bf16, .q8_0, .q4_0, .q4_1, .iq4_NL, .q5_0, .q5_1,
  ]

  /// What is wrong with the numbers; `nil` when llama.cpp takes them.
  package var problem: String? {
    guard (1...Self.contextLimit).contains(context) else {
      return "a context of \(context) tokens, allowed is 1 to \(Self.contextLimit)"
    }
    guard (1...Self.parallelLimit).contains(parallel) else {
      return "\(parallel) sequences, allowed is 1 to \(Self.parallelLimit)"
    }
    guard context * parallel <= Self.contextLimit else {
      return "\(parallel) × \(context) tokens, allowed is \(Self.contextLimit) together"
    }
    guard (1...Self.batchLimit).contains(batch), (1...Self.batchLimit).contains(microBatch) else {
      return "batches of \(batch) and \(microBatch) tokens, allowed is 1 to \(Self.batchLimit)"
    }
    for type in [keyType, valueType] where !Self.cacheTypes.contains(type) {
      return "a cache of \(type.name); types are "
        + Self.cacheTypes.map { $0.name.lowercased() }.joined(separator: ", ")
    }
    if !flashAttention, valueType.isBlockType {
      return "values of \(valueType.name) without flash attention"
    }
    return nil
  }

  /// Cells are made in steps of this many.
  private static let cellStep = 256

  /// The number after `-c`: all sequences together, in whole steps for each part of the cache.
  package var totalContext: Int {
    isUnified
      ? padded(context * parallel, to: Self.cellStep)
      : padded(context, to: Self.cellStep) * parallel
  }

  /// Parts of the cache, with `cellCount` cells each.
  package var streamCount: Int { isUnified ? 1 : parallel }

  /// Cells of a stream in layers that keep everything.
  package var cellCount: Int { totalContext / streamCount }

  /// Cells of a stream in layers that see only `chunk` positions.
  ///
  /// One micro-batch more than the chunk, because a whole one is written before old cells are free.
  package func cellCount(chunk: Int) -> Int {
    if keepsFullWindow { return cellCount }
    let kept = chunk * (isUnified ? parallel : 1) + microBatchLimit
    return padded(min(cellCount, kept), to: Self.cellStep)
  }

  /// Tokens of a micro-batch, which the context limits.
  var microBatchLimit: Int { min(batch, microBatch, totalContext) }

  /// Tokens for which compute buffers are made: whole shares for every sequence.
  var reservedTokenCount: Int { padded(microBatchLimit, to: parallel) }

  /// Tokens of a micro-batch whose logits are computed.
  var reservedOutputCount: Int { min(microBatchLimit, outputCount ?? microBatchLimit) }

  /// The switches of llama.cpp's programs that make this run.
  package var switches: [String] {
    var list = ["-c", "\(totalContext)", "-np", "\(parallel)"]
    list += ["-b", "\(batch)", "-ub", "\(microBatch)"]
    list += ["-ctk", keyType.name.lowercased(), "-ctv", valueType.name.lowercased()]
    list += ["-fa", flashAttention ? "on" : "off"]
    list.append(isUnified ? "--kv-unified" : "--no-kv-unified")
    if keepsFullWindow { list.append("--swa-full") }
    if splitsTensors { list += ["-sm", "tensor"] }
    return list
  }
}
