import ByteIO
import GGUF
import Planning
import Threads

/// The end of a conversion in parts: everything that was recorded is read back, and complete outputs
/// get their names.
///
/// The journals say all that is needed; neither input nor options are.
package struct Sealing: Sendable {
  package let base: String
  /// The outputs, as they will be called.
  package let paths: [String]
  private let journals: [RecordedRanges.Source]
  private let files: [LockedFile?]
  private let shareCount: Int

  /// What the output may be called: as it was given to `convert`, or as a part of a split.
  package static func bases(of path: String) -> [String] {
    var bases = [path]
    if !path.hasSuffix(".gguf") { bases.append(path + ".gguf") }
    if let split = SplitName(path: path) { bases.append(split.prefix + ".gguf") }
    return bases
  }

  /// Opens what is unfinished of an output; `nil` when there is nothing.
  ///
  /// - Parameter path: of the output, as `convert` got it.
  /// - Throws: `FormatError` when journals do not belong together, `OutputError` when a part is
  ///   still being written.
  package init?(_ path: String) throws {
    let bases = try Self.bases(of: path).map { base throws(FormatError) in
      (base, try PartialNames.journals(of: base))
    }
    guard let (base, found) = bases.first(where: { !$0.1.isEmpty }) else { return nil }
    self.base = base
    var journals: [RecordedRanges.Source] = []
    for (journalPath, share) in found {
      let name = share.map { "part \($0.number) of \($0.count) of \(base)" } ?? base
      guard
        let file = try LockedFile(journalPath, creating: false, lock: .exclusive, output: name)
      else { continue }
      // One that was not written to its end is none; its part is then said to be missing.
      guard let (head, recordsOffset) = try Self.read(file) else { continue }
      guard head.share == share else {
        throw FormatError(
          file: journalPath, field: "journal.part", reason: .inconsistent("was renamed"))
      }
      journals.append(
        try RecordedRanges.Source(file: file, head: head, recordsOffset: recordsOffset))
    }
    guard let first = journals.first?.head else {
      throw UnfinishedParts(output: base, partCount: 1, parts: [], existing: nil)
    }
    for journal in journals { try Self.check(journal, belongsTo: first, base: base) }
    self.journals = journals
    shareCount = first.share?.count ?? 1
    paths = first.outputs.map { $0.path(beside: base) }
    files = try paths.map { path in
      try OutputFile.checkReplaceable(path)
      return try LockedFile(
        PartialNames.partial(of: path), creating: false, lock: .exclusive, output: path)
    }
  }

  private static func read(_ file: LockedFile) throws -> (JournalHead, UInt64)? {
    do {
      let (head, recordsOffset) = try JournalHead.read(file)
      return (head, recordsOffset)
    } catch let error as FormatError {
      switch error.reason {
      case .truncated, .malformed: return nil
      default: throw error
      }
    }
  }

  private static func check(
    _ journal: RecordedRanges.Source, belongsTo first: JournalHead, base: String
  ) throws(FormatError) {
    func fail(_ what: String) -> FormatError {
      FormatError(
        file: journal.file.path, field: "journal.run",
        reason: .inconsistent(
          "is of another conversion than part \(first.share?.number ?? 1): \(what)"),
        advice: UnfinishedSet.agreementAdvice(base, first.identity, journal.head.identity))
    }
    let head = journal.head
    // Dates, which `local` holds, are not compared: every machine may have a copy of the input with
    // its own. That all copies are of one input, names, sizes and samples in `run` say.
    if let difference = JournalHead.Identity.difference(first.identity, head.identity) {
      throw fail(difference)
    }
    guard head.share?.count == first.share?.count, head.hasOutputs(of: first)
    else { throw fail("it has other outputs") }
    // A file somewhere else is given its name by who said on the command line where it goes.
    for output in head.outputs where output.path.hasPrefix("/") {
      throw FormatError(
        file: journal.file.path, field: "journal.outputs",
        reason: .outOfRange(found: output.path, allowed: "files in the journal's folder"),
        advice: "the command that began it completes it with --resume")
    }
  }

  /// Of all outputs.
  package var byteCount: UInt64 {
    journals.first?.head.outputs.reduce(0) { $0 + $1.byteCount } ?? 0
  }

  /// Reads back, and gives the outputs their names if all is there.
  ///
  /// - Throws: `UnfinishedParts` when it is not; `OutputError`, `ConversionCancelled`.
  package func run(
    threadCount: Int, cancellation: CancellationFlag, progress: (@Sendable (Int) -> Void)?
  ) throws -> (outputs: [String], byteCount: UInt64) {
    guard let first = journals.first?.head else { preconditionFailure("no journal") }
    let readers = zip(files, zip(paths, first.outputs)).map {
      file, output -> RecordedRanges.ReadBack? in
      if let file { return { try file.read(at: $0, into: $1) } }
      // Killed while it gave names, an earlier run has given this one.
      guard let named = try? PositionalFile(output.0), named.byteCount == output.1.byteCount
      else { return nil }
      return { offset, buffer in
        try named.read(at: offset, into: buffer)
        return buffer.count
      }
    }
    let found = try RecordedRanges(
      journals, outputs: readers, threadCount: threadCount, cancellation: cancellation,
      progress: progress)
    // Killed while it removed journals, an earlier run had given all outputs their names.
    let isNamed = found.isSealed && files.allSatisfy { $0 == nil }
    let problems = problems(found, isNamed: isNamed)
    let isWhole =
      isNamed
      || first.outputs.enumerated().allSatisfy {
        found.covered[$0.offset].contains(0..<$0.element.byteCount)
      }
    guard problems.isEmpty, isWhole else {
      throw UnfinishedParts(
        output: base, partCount: shareCount, parts: problems, existing: Self.complete(first, paths))
    }
    if journals.count > 1 {
      for journal in journals {
        let writer = try JournalWriter(
          journal.file, head: journal.head, recordsOffset: journal.recordsOffset)
        try writer.recordSealed()
        try writer.sync()
      }
    }
    for (file, output) in zip(files, first.outputs) {
      guard let file, try file.byteCount > output.byteCount else { continue }
      try file.setByteCount(output.byteCount)
    }
    try PartialOutputs.name(files, paths)
    for journal in journals { journal.file.remove() }
    return (paths, first.outputs.reduce(0) { $0 + $1.byteCount })
  }

  /// The first output, where all of them have their names and lengths: what is unfinished was then
  /// perhaps begun once more when all was done.
  private static func complete(_ head: JournalHead, _ paths: [String]) -> String? {
    let isThere = zip(paths, head.outputs).allSatisfy { path, output in
      (try? PositionalFile(path))?.byteCount == output.byteCount
    }
    return isThere ? paths.first : nil
  }

  private func problems(_ found: RecordedRanges, isNamed: Bool) -> [UnfinishedParts.Part] {
    var problems: [UnfinishedParts.Part] = []
    for number in 1...shareCount {
      guard
        let index = journals.firstIndex(where: { ($0.head.share?.number ?? 1) == number })
      else {
        if isNamed { continue }
        problems.append(
          UnfinishedParts.Part(number: number, state: .notBegun, command: command(of: number)))
        continue
      }
      let head = journals[index].head
      let total = head.outputs.reduce(0) { $0 + UInt64($1.share.count) }
      let there = zip(head.outputs, found.covered).reduce(0) {
        $0 + $1.1.byteCount(in: $1.0.share)
      }
      let damaged = found.damagedByteCounts[index]
      if there < total || !found.isDone[index] {
        problems.append(
          UnfinishedParts.Part(
            number: number,
            state: damaged > 0 && there < total
              ? .damaged(
                byteCount: min(damaged, total - there),
                missing: total - there - min(damaged, total - there), of: total)
              : .stopped(byteCount: total - there, of: total),
            command: command(of: number)))
      }
    }
    return problems
  }

  /// The command line that wrote a share, or that of another one with this one's number.
  private func command(of number: Int) -> [String] {
    let own = journals.first { ($0.head.share?.number ?? 1) == number } ?? journals[0]
    return own.head.command(ofShare: number)
  }

  /// Removes everything that is unfinished of an output.
  ///
  /// - Returns: how many files were removed, journals and unfinished outputs.
  /// - Throws: `OutputError` when a part is still being written.
  package static func discard(_ path: String) throws -> Int {
    var count = 0
    for base in bases(of: path) {
      var journals: [LockedFile] = []
      for (path, share) in try PartialNames.journals(of: base) {
        let name = share.map { "part \($0.number) of \($0.count) of \(base)" } ?? base
        if let file = try LockedFile(path, creating: false, lock: .exclusive, output: name) {
          journals.append(file)
        }
      }
      for journal in journals {
        if let head = try? JournalHead.read(journal).head {
          count += OpenedJournal.removePartials(of: head, base: base)
        }
        journal.remove()
        count += 1
      }
      count += PartialNames.removePartials(of: base)
    }
    return count
  }
}

/// What is missing before outputs can get their names.
public struct UnfinishedParts: Error, Hashable, Sendable {
  public struct Part: Hashable, Sendable {
    public enum State: Hashable, Sendable {
      case notBegun
      /// So many bytes were not written.
      case stopped(byteCount: UInt64, of: UInt64)
      /// So many bytes are not what was written, and so many were not written at all.
      case damaged(byteCount: UInt64, missing: UInt64, of: UInt64)
    }
    /// From 1.
    public var number: Int
    public var state: State
    /// Words of the command line that completes it.
    public var command: [String]
  }
  public var output: String
  public var partCount: Int
  public var parts: [Part]
  /// The output, where complete files of its name and length are there already.
  public var existing: String?
}
