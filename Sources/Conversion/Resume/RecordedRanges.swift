import ByteIO
import Synchronization
import Threads

/// What of some outputs is there as journals say, found by reading it back.
package struct RecordedRanges {
  /// A journal whose records are looked at.
  package struct Source: Sendable {
    package let file: LockedFile
    package let head: JournalHead
    package let recordsOffset: UInt64
    let recordCount: Int

    /// - Throws: `OutputError` when the file's length is not known.
    package init(file: LockedFile, head: JournalHead, recordsOffset: UInt64) throws(OutputError) {
      self.file = file
      self.head = head
      self.recordsOffset = recordsOffset
      let end = try file.byteCount
      let count = (max(end, recordsOffset) - recordsOffset) / UInt64(JournalRecord.byteCount)
      recordCount = Int(min(count, UInt64(RecordedRanges.recordLimit)))
    }
  }

  /// Fills a buffer from a position of an output; returns how many bytes were there.
  package typealias ReadBack = @Sendable (UInt64, UnsafeMutableRawBufferPointer) throws -> Int

  /// What is there, for each output.
  package var covered: [CoveredRanges]
  /// What was recorded and is not there, for each journal.
  package var damagedByteCounts: [UInt64]
  /// Whether the journal says that its share is complete.
  package var isDone: [Bool]
  /// Whether a journal says that all shares were found complete.
  package var isSealed = false

  private init(outputCount: Int, journalCount: Int) {
    covered = Array(repeating: CoveredRanges(), count: outputCount)
    damagedByteCounts = Array(repeating: 0, count: journalCount)
    isDone = Array(repeating: false, count: journalCount)
  }

  private static let batchCount = 256
  /// Far more than conversions make; what a made-up journal has beyond is done again.
  private static let recordLimit = 1 << 26

  /// Reads back everything that journals of one conversion record.
  ///
  /// - Parameters:
  ///   - journals: of one conversion.
  ///   - outputs: how to read them; `nil` for one that is not there.
  ///   - threadCount: workers.
  ///   - cancellation: stops it.
  ///   - progress: gets numbers of bytes that are as they should be.
  /// - Throws: `OutputError` when a journal cannot be read, `ConversionCancelled`.
  package init(
    _ journals: [Source], outputs: [ReadBack?], threadCount: Int, cancellation: CancellationFlag,
    progress: (@Sendable (Int) -> Void)? = nil
  ) throws {
    var batches: [(journal: Int, first: Int)] = []
    for (index, journal) in journals.enumerated() {
      for first in stride(from: 0, to: journal.recordCount, by: Self.batchCount) {
        batches.append((index, first))
      }
    }
    let found = Guarded(Self(outputCount: outputs.count, journalCount: journals.count))
    let failure = Guarded<(any Error)?>(nil)
    let next = Next()
    let work = batches
    WorkerThreads.run(count: max(1, min(threadCount, work.count))) { _ in
      var own = Self(outputCount: outputs.count, journalCount: journals.count)
      let buffer = UnsafeMutableRawBufferPointer.allocate(
        byteCount: JournalRecord.rangeByteLimit, alignment: 64)
      defer { buffer.deallocate() }
      while let batch = next.take(below: work.count), !cancellation.isCancelled {
        let (journal, first) = work[batch]
        do {
          let records = try Self.records(of: journals[journal], from: first)
          for record in records {
            let output = Int(record.output)
            let known = journals[journal].head.outputs
            // No output reaches so far: what such a record says is done again.
            if known.indices.contains(output),
              record.range.upperBound > known[output].byteCount
            {
              continue
            }
            own.check(record, journal: journal, outputs: outputs, buffer: buffer, progress)
            if cancellation.isCancelled { break }
          }
        } catch {
          failure.withLock { $0 = $0 ?? error }
          return
        }
      }
      let result = own
      found.withLock { $0.formUnion(result) }
    }
    if let error = failure.withLock({ $0 }) { throw error }
    if cancellation.isCancelled { throw ConversionCancelled() }
    self = found.withLock { $0 }
  }

  private static func records(of journal: Source, from first: Int) throws -> [JournalRecord] {
    let count = min(batchCount, journal.recordCount - first)
    var bytes = [UInt8](repeating: 0, count: max(0, count) * JournalRecord.byteCount)
    let offset = journal.recordsOffset + UInt64(first * JournalRecord.byteCount)
    let got = try bytes.withUnsafeMutableBytes { try journal.file.read(at: offset, into: $0) }
    let seed = journal.head.seed
    return (0..<got / JournalRecord.byteCount).compactMap {
      JournalRecord(bytes, at: $0 * JournalRecord.byteCount, seed: seed)
    }
  }

  private mutating func check(
    _ record: JournalRecord, journal: Int, outputs: [ReadBack?],
    buffer: UnsafeMutableRawBufferPointer, _ progress: (@Sendable (Int) -> Void)?
  ) {
    if record.output == JournalRecord.done {
      isDone[journal] = true
      return
    }
    if record.output == JournalRecord.sealed {
      isSealed = true
      return
    }
    guard record.output < UInt32(outputs.count) else { return }
    let output = Int(record.output)
    let target = UnsafeMutableRawBufferPointer(rebasing: buffer[..<record.range.count])
    // What cannot be read is done again, as what is not there.
    if let read = outputs[output], let got = try? read(record.range.lowerBound, target),
      got == target.count, RangeHash.hash64(UnsafeRawBufferPointer(target)) == record.hash
    {
      let known = covered[output].byteCount(in: record.range)
      covered[output].insert(record.range)
      progress?(record.range.count - Int(known))
    } else {
      damagedByteCounts[journal] += UInt64(record.range.count)
    }
  }

  private mutating func formUnion(_ other: Self) {
    for index in covered.indices { covered[index].formUnion(other.covered[index]) }
    isSealed = isSealed || other.isSealed
    for index in isDone.indices {
      damagedByteCounts[index] += other.damagedByteCounts[index]
      isDone[index] = isDone[index] || other.isDone[index]
    }
  }
}

/// Hands out numbers from 0 on.
private final class Next: Sendable {
  private let number = Atomic(0)
  func take(below limit: Int) -> Int? {
    let taken = number.wrappingAdd(1, ordering: .relaxed).oldValue
    return taken < limit ? taken : nil
  }
}
