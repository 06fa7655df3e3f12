import ByteIO

/// Appends to a journal what has been written.
///
/// Records of many chunks go to the file together. Nothing is synced but the head: on the way back
/// every range is read and compared, so a record that came to disk before its bytes does no harm.
package final class JournalWriter: Sendable {
  private static let interval = Duration.milliseconds(100)
  private static let byteLimit = 64 << 10

  private let file: LockedFile
  private let seed: UInt64
  private let state: Guarded<State>
  private struct State: Sendable {
    /// Where the next record goes.
    var end: UInt64
    var pending: [UInt8] = []
    var nextWrite = ContinuousClock.now + JournalWriter.interval
    var hasRecords: Bool
  }

  /// Begins a journal anew.
  package init(_ file: LockedFile, head: JournalHead) throws(OutputError) {
    self.file = file
    seed = head.seed
    let bytes = head.bytes
    state = Guarded(State(end: UInt64(bytes.count), hasRecords: false))
    try file.setByteCount(0)
    try file.write(bytes, at: 0)
    try file.sync()
  }

  /// Goes on behind the last whole record.
  package init(_ file: LockedFile, head: JournalHead, recordsOffset: UInt64) throws(OutputError) {
    self.file = file
    seed = head.seed
    let step = UInt64(JournalRecord.byteCount)
    let records = (max(try file.byteCount, recordsOffset) - recordsOffset) / step
    let end = recordsOffset + records * step
    state = Guarded(State(end: end, hasRecords: records > 0))
    try file.setByteCount(end)
  }

  /// Whether anything was recorded, by this run or one before.
  package var hasRecords: Bool { state.withLock { $0.hasRecords } }

  /// Notes bytes that have been written; safe from any thread.
  package func record(_ bytes: UnsafeRawBufferPointer, output: Int, at offset: UInt64)
    throws(OutputError)
  {
    var records: [UInt8] = []
    records.reserveCapacity(JournalRecord.byteCount)
    var start = 0
    while start < bytes.count {
      let end = min(bytes.count, start + JournalRecord.rangeByteLimit)
      JournalRecord(
        output: UInt32(output), range: offset + UInt64(start)..<offset + UInt64(end),
        hash: RangeHash.hash64(UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
      ).append(to: &records, seed: seed)
      start = end
    }
    try append(records)
  }

  /// Notes that a share is complete, its bytes are on disk and its inputs were those of its plan.
  package func recordDone() throws(OutputError) { try mark(JournalRecord.done) }

  /// Notes that all shares are complete, and that outputs get their names.
  package func recordSealed() throws(OutputError) { try mark(JournalRecord.sealed) }

  private func mark(_ mark: UInt32) throws(OutputError) {
    var records: [UInt8] = []
    JournalRecord(output: mark, range: 0..<0, hash: seed).append(to: &records, seed: seed)
    try append(records)
  }

  private func append(_ records: [UInt8]) throws(OutputError) {
    let failure: OutputError? = state.withLock { state in
      state.pending += records
      state.hasRecords = true
      let now = ContinuousClock.now
      guard now >= state.nextWrite || state.pending.count >= Self.byteLimit else { return nil }
      state.nextWrite = now + Self.interval
      return write(&state)
    }
    if let failure { throw failure }
  }

  /// Writes what is pending.
  package func flush() throws(OutputError) {
    if let failure: OutputError = state.withLock({ state in write(&state) }) { throw failure }
  }

  /// Writes what is pending and makes everything durable.
  package func sync() throws(OutputError) {
    try flush()
    try file.sync()
  }

  package func close() { file.close() }
  package func remove() { file.remove() }

  private func write(_ state: inout State) -> OutputError? {
    guard !state.pending.isEmpty else { return nil }
    do throws(OutputError) {
      try file.write(state.pending, at: state.end)
    } catch {
      return error
    }
    state.end += UInt64(state.pending.count)
    state.pending.removeAll(keepingCapacity: true)
    return nil
  }
}
