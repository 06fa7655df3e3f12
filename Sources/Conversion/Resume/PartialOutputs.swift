import ByteIO
import Planning
import Threads

/// The files of a conversion while they are made: outputs under hidden names, and their journal.
///
/// They stay when the process ends, so that `--resume` goes on; with `--part`, several processes
/// have the same outputs and a journal each.
package struct PartialOutputs: Sendable {
  /// What to do with what an earlier run left.
  package enum Start: Hashable, Sendable {
    /// Replaces it.
    case begin
    /// Goes on from it.
    case resume
    /// Writes one share, and goes on where the share was begun.
    case share(WorkShare)

    var share: WorkShare? { if case .share(let share) = self { share } else { nil } }
  }

  let plan: ConversionPlan
  let share: WorkShare?
  /// The bytes of each output that are to be written.
  let ranges: [Range<UInt64>]
  /// `nil` where an earlier run had given the complete output its name already.
  let files: [LockedFile?]
  let journal: JournalWriter
  /// What is there already.
  let covered: [CoveredRanges]

  /// Opens or makes the files, and reads back what is there.
  ///
  /// - Parameters:
  ///   - plan: what is written.
  ///   - identity: of the run.
  ///   - start: what to do with what is there.
  ///   - command: words of the command line, for `finish` to name.
  ///   - threadCount: readers.
  ///   - cancellation: stops reading back.
  ///   - note: gets remarks for the user.
  ///   - progress: gets numbers of bytes that are there.
  /// - Throws: `FormatError` when a journal is of another run, `OutputError`,
  ///   `ConversionCancelled`; all is as it was then.
  init(
    _ plan: ConversionPlan, identity: JournalHead.Identity, start: Start, command: [String],
    threadCount: Int, cancellation: CancellationFlag, note: (String) -> Void,
    progress: (@Sendable (Int) -> Void)?
  ) throws {
    self.plan = plan
    share = start.share
    ranges = (share.map { ShareRanges(plan, share: $0) } ?? ShareRanges(whole: plan)).ranges
    for output in plan.outputs {
      try OutputFile.checkReplaceable(output.path)
      OutputFile.removeLeftovers(of: output.path)
    }
    let base = plan.journalBase
    let head = JournalHead(
      identity: identity,
      outputs: zip(plan.outputs, ranges).map { output, range in
        JournalHead.Output(
          path: OutputFile.isSameFolder(output.path, base)
            ? OutputFile.name(of: output.path) : OutputFile.absolutePath(output.path),
          byteCount: output.byteCount, share: range)
      }, share: share, command: command)
    try Self.checkOthers(of: base, head)
    let opened = try OpenedJournal(base, head: head, start: start, note: note)

    var files: [LockedFile?] = []
    var covered = plan.outputs.map { _ in CoveredRanges() }
    do {
      if let recordsOffset = opened.recordsOffset {
        let source = try RecordedRanges.Source(
          file: opened.file, head: head, recordsOffset: recordsOffset)
        (files, covered) = try Self.readBack(
          plan, source, ranges, lock: share == nil ? .exclusive : .shared,
          threadCount: threadCount, cancellation: cancellation, progress: progress)
        journal = try JournalWriter(opened.file, head: head, recordsOffset: recordsOffset)
      } else {
        if share == nil { PartialNames.removePartials(of: base) }
        for output in plan.outputs {
          let file = try Self.partial(of: output, lock: share == nil ? .exclusive : .shared)
          files.append(file)
          // What another share has written to it stays.
          if share == nil { try file.setByteCount(0) }
        }
        journal = try JournalWriter(opened.file, head: head)
      }
      for (file, output) in zip(files, plan.outputs) {
        if let file, try file.byteCount != output.byteCount {
          try file.setByteCount(output.byteCount)
        }
      }
      // Two shares that began at once with other options: the second one to look sees the other.
      try Self.checkOthers(of: base, head)
    } catch {
      if opened.recordsOffset == nil {
        // Without locks, they may be another process's.
        if opened.file.isLocked { opened.file.remove() }
        let isLast = share == nil || (try? PartialNames.journals(of: base))?.isEmpty ?? false
        for file in files where isLast && file?.isLocked == true && file?.becomeExclusive() == true
        {
          file?.remove()
        }
      }
      throw error
    }
    self.files = files
    self.covered = covered
  }

  static func partial(of output: ConversionPlan.Output, lock: LockedFile.Lock)
    throws(OutputError) -> LockedFile
  {
    let path = PartialNames.partial(of: output.path)
    guard
      let file = try LockedFile(path, creating: true, lock: lock, output: output.path)
    else { preconditionFailure("created, and not there") }
    return file
  }

  /// Opens what an earlier run left, and finds what of it is as its journal says.
  private static func readBack(
    _ plan: ConversionPlan, _ journal: RecordedRanges.Source, _ ranges: [Range<UInt64>],
    lock: LockedFile.Lock, threadCount: Int, cancellation: CancellationFlag,
    progress: (@Sendable (Int) -> Void)?
  ) throws -> (files: [LockedFile?], covered: [CoveredRanges]) {
    var files: [LockedFile?] = []
    var readers: [RecordedRanges.ReadBack?] = []
    for output in plan.outputs {
      let path = PartialNames.partial(of: output.path)
      let file = try LockedFile(path, creating: false, lock: lock, output: output.path)
      files.append(file)
      if let file {
        readers.append { try file.read(at: $0, into: $1) }
      } else if let named = try? PositionalFile(output.path),
        named.byteCount == output.byteCount
      {
        // The run was killed when this one of its outputs had its name already, or this is another
        // file: its bytes will tell.
        readers.append { offset, buffer in
          try named.read(at: offset, into: buffer)
          return buffer.count
        }
      } else {
        readers.append(nil)
      }
    }
    let found = try RecordedRanges(
      [journal], outputs: readers, threadCount: threadCount, cancellation: cancellation,
      progress: progress)
    var covered = found.covered
    for (index, output) in plan.outputs.enumerated() where files[index] == nil {
      if readers[index] != nil, covered[index].contains(ranges[index]) { continue }
      covered[index] = CoveredRanges()
      files[index] = try partial(of: output, lock: lock)
    }
    return (files, covered)
  }

  // MARK: Bytes that no chunk writes

  /// Writes headers, and zeros between tensors.
  func writeFixedBytes() throws(OutputError) {
    for (index, output) in plan.outputs.enumerated() {
      try write(output.header, output: index, at: 0)
      let tensors = plan.tensors.filter { $0.output == index }.sorted {
        $0.fileOffset < $1.fileOffset
      }
      var end = UInt64(output.header.count)
      for tensor in tensors {
        try writeZeros(end..<max(end, tensor.fileOffset), output: index)
        end = tensor.fileOffset + UInt64(tensor.byteCount)
      }
      try writeZeros(end..<max(end, output.byteCount), output: index)
    }
  }

  private func writeZeros(_ range: Range<UInt64>, output: Int) throws(OutputError) {
    var start = range.lowerBound
    while start < range.upperBound {
      let end = min(range.upperBound, start + UInt64(JournalRecord.rangeByteLimit))
      try write([UInt8](repeating: 0, count: Int(end - start)), output: output, at: start)
      start = end
    }
  }

  private func write(_ bytes: [UInt8], output: Int, at offset: UInt64) throws(OutputError) {
    var failure: OutputError?
    bytes.withUnsafeBytes { bytes in
      do throws(OutputError) {
        try write(bytes, output: output, at: offset)
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
  }

  /// Writes what of `bytes` this run has to write, and records it; safe from any thread.
  func write(_ bytes: UnsafeRawBufferPointer, output: Int, at offset: UInt64) throws(OutputError) {
    let range = missing(offset..<offset + UInt64(bytes.count), output: output)
    guard !range.isEmpty, let file = files[output] else { return }
    let own = UnsafeRawBufferPointer(
      rebasing: bytes[Int(range.lowerBound - offset)..<Int(range.upperBound - offset)])
    try file.write(own, at: range.lowerBound)
    try journal.record(own, output: output, at: range.lowerBound)
  }

  /// The part of a range that this run has to write; empty where all of it is there.
  func missing(_ range: Range<UInt64>, output: Int) -> Range<UInt64> {
    let own = range.clamped(to: ranges[output])
    return covered[output].contains(own) ? own.lowerBound..<own.lowerBound : own
  }

  /// Bytes of tensors that this run's share has, and how many of them are there.
  var tensorByteCounts: (total: UInt64, there: UInt64) {
    var counts: (total: UInt64, there: UInt64) = (0, 0)
    for tensor in plan.tensors {
      let range = tensor.fileOffset..<tensor.fileOffset + UInt64(tensor.byteCount)
      let own = range.clamped(to: ranges[tensor.output])
      counts.total += own.upperBound - own.lowerBound
      counts.there += covered[tensor.output].byteCount(in: own)
    }
    return counts
  }
}
