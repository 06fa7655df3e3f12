import Planning

/// How many threads and how large chunks a memory limit allows.
package struct MemoryBudget: Sendable {
  package var threadCount: Int
  package var weightsPerChunk: Int
  /// Of tensors whose rows the input gathers; at least `weightsPerChunk`.
  package var gatheredWeightsPerChunk: Int
  /// Bytes that the source may hold.
  package var heldByteCount: Int

  /// The limit is below what the smallest possible run of this plan needs.
  package struct TooSmall: Error, Sendable, CustomStringConvertible {
    package var limit: UInt64
    package var needed: UInt64
    package var description: String {
      """
      --memory-limit \(limit) bytes is too small: this conversion needs about \
      \((needed >> 20) + 3)MiB
      """
    }
  }

  /// Thread stacks, allocator slack and the run-time library's own growth, per thread and once.
  static let bytesPerThread = 256 << 10
  static let slack = 4 << 20
  /// Most bytes of all buffers together that gathering is worth.
  static let gatheringByteCount = 128 << 20

  /// Divides what the limit leaves.
  ///
  /// - Parameters:
  ///   - plan: what will be run.
  ///   - limit: most resident bytes that the user allows.
  ///   - wanted: threads that the user wants; fewer are used where the limit asks for it.
  ///   - used: resident bytes of the process now, with the plan in memory.
  ///   - peak: the most it ever had; a plan that already took more than the limit is refused.
  ///   - besides: bytes that so many threads take beside the buffers of their workers.
  ///   - held: most bytes that the source may hold to read rows that it gathers; such a source needs
  ///     no long runs.
  /// - Throws: `TooSmall` when one thread with the smallest chunks does not fit.
  package init(
    plan: ConversionPlan, limit: UInt64, threadCount wanted: Int, used: UInt64, peak: UInt64,
    besides: (Int) -> Int = { _ in 0 }, held: Int = 0
  ) throws(TooSmall) {
    let smallest = max(ChunkSchedule.smallestWeightLimit(plan), 1 << 12)
    func bytes(_ threads: Int, _ weights: Int) -> UInt64 {
      let buffers = ChunkWorker.bufferByteCount(plan, weightLimit: weights)
      return used + UInt64(Self.slack + besides(threads))
        + UInt64(threads) * UInt64(buffers + Self.bytesPerThread)
    }
    let needed = max(peak, bytes(1, smallest))
    guard needed <= limit else { throw TooSmall(limit: limit, needed: needed) }

    // Fewer weights per chunk cost little; fewer threads cost much: shrink chunks first.
    var threads = max(1, wanted)
    while threads > 1, bytes(threads, smallest) > limit { threads -= 1 }
    var weights = max(Conversion.preferredWeightsPerChunk, smallest)
    while weights > smallest, bytes(threads, weights) > limit {
      weights = max(smallest, weights / 2)
    }
    threadCount = threads
    weightsPerChunk = weights
    // Longer runs of a transposed input cost fewer calls, but much memory on many cores.
    let gathering = plan.tensors.filter { $0.rowsReadTogether > 1 }
    var gathered = gathering.map { $0.rowsReadTogether * $0.columnCount }.max() ?? 0
    let useful = gathering.map {
      $0.sourceType.byteCount(ofChunk: $0.rowsPerExpert * $0.columnCount)
    }
    let held = UInt64(min(held, useful.max() ?? 0))
    while gathered > weights,
      bytes(threads, gathered) + held > limit
        || bytes(threads, gathered) > used + UInt64(Self.gatheringByteCount)
    {
      gathered /= 2
    }
    gatheredWeightsPerChunk = max(weights, gathered)
    let taken = bytes(threads, gatheredWeightsPerChunk)
    heldByteCount = taken < limit ? Int(min(held, limit - taken)) : 0
  }
}
