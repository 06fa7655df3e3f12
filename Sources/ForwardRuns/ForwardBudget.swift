import ByteIO
import ReferenceModel

/// How many chunks of a text go through the models together.
///
/// Every group reads the models again, so groups should be large; their activations have to fit
/// the memory limit.
package struct ForwardBudget: Hashable, Sendable {
  package var chunksPerGroup: Int
  package var groupCount: Int
  /// Of the fullest group.
  package var byteCount: Int

  /// Not even one chunk fits.
  package struct TooSmall: Error, Sendable, CustomStringConvertible {
    package var limit: UInt64
    package var needed: UInt64
    /// What the command calls the length of a context.
    package var option = "--context"
    package var description: String {
      """
      --memory-limit \(byteText(limit)) is too small: one chunk of this context needs about \
      \(byteText(needed)); give \(needed / 1_000_000 + 1)M or more, or take a smaller \(option) or \
      fewer --threads
      """
    }
  }

  /// Bytes that the allocator and the libraries take besides, once and per thread.
  static let slack: UInt64 = 24 << 20
  /// What is taken is rounded up to a multiple of this: how many pages of a program are resident
  /// differs from run to run, and with the groups differ the last digits of their sums.
  static let step: UInt64 = 4 << 20
  static let slackPerThread = UInt64(MatrixLibrary.workspaceByteCountPerThread) + (1 << 20)

  /// Makes groups as large as fit.
  ///
  /// - Parameters:
  ///   - chunkCount: of the text, at least one.
  ///   - limit: most resident bytes.
  ///   - used: bytes that are taken whatever the groups are.
  ///   - threadCount: workers.
  ///   - earlierGroup: chunks of a group in the run that this one goes on from; kept unless that
  ///     one had far more memory.
  ///   - option: what the command calls the length of a context, for messages.
  ///   - bytes: what a group of so many chunks takes; grows with it.
  /// - Throws: `TooSmall` when not even one chunk fits.
  package init(
    chunkCount: Int, limit: UInt64, used: UInt64, threadCount: Int, earlierGroup: Int? = nil,
    option: String = "--context", bytes: (Int) -> Int
  ) throws(TooSmall) {
    let fixed =
      (used + Self.step - 1) / Self.step * Self.step + Self.slack
      + UInt64(threadCount) * Self.slackPerThread
    let needed = fixed + UInt64(bytes(1))
    guard needed <= limit else { throw TooSmall(limit: limit, needed: needed, option: option) }
    var low = 1
    var high = chunkCount
    while low < high {
      let middle = (low + high + 1) / 2
      if fixed + UInt64(bytes(middle)) <= limit { low = middle } else { high = middle - 1 }
    }
    // What the earlier run fitted is kept, though by now some pages more may be taken: of the slack.
    let earlier = min(earlierGroup ?? 0, chunkCount)
    let needs = fixed + UInt64(bytes(max(1, earlier)))
    if earlier > 0, needs <= limit || needs - limit <= Self.slack / 2 {
      groupCount = (chunkCount + earlier - 1) / earlier
      chunksPerGroup = earlier
    } else {
      // Groups of equal size: the last one reads the models like the others.
      groupCount = (chunkCount + low - 1) / low
      chunksPerGroup = (chunkCount + groupCount - 1) / groupCount
    }
    byteCount = bytes(chunksPerGroup)
  }

  /// Bytes of hidden states and scratch for some chunks that go through these models in turn.
  package static func passByteCount(
    _ models: [ReferenceModel], chunks: Int, contextLength: Int, threadCount: Int
  ) -> Int {
    let tokens = chunks * contextLength
    return models.reduce(0) { $0 + ForwardPass.byteCount($1, tokenCount: tokens) }
      + ForwardScratch.byteCount(
        models, tokenCount: tokens, contextLength: contextLength, threadCount: threadCount)
  }

  package func groups(chunkCount: Int) -> [Range<Int>] {
    stride(from: 0, to: chunkCount, by: chunksPerGroup).map {
      $0..<min($0 + chunksPerGroup, chunkCount)
    }
  }

  /// One line on what a run will read, for the user to know beforehand.
  package func cost(_ models: [ReferenceModel], chunkCount: Int, contextLength: Int) -> String {
    let tokenCount = chunksPerGroup * contextLength
    let bytes = models.reduce(0) { $0 + $1.byteCountRead(tokenCount: tokenCount) }
    let most = models.contains { $0.dimensions.experts != nil } ? "at most " : ""
    let groups = groupCount == 1 ? "one group" : "\(groupCount) groups"
    let once = "\(counted(chunkCount, "chunk")) in \(groups), "
    if groupCount == 1 { return once + "which reads \(most)\(byteText(bytes))" }
    return once + "each of which reads \(most)\(byteText(bytes)): "
      + "\(byteText(bytes * UInt64(groupCount))) in all"
  }
}
