import ByteIO
import Planning

/// The journal of a run that begins: a new one, or that of the run it goes on from.
struct OpenedJournal {
  let file: LockedFile
  /// `nil` where there is nothing to go on from.
  let recordsOffset: UInt64?

  /// - Parameters:
  ///   - base: the path after which the journal is called.
  ///   - head: of this run.
  ///   - start: what to do with a journal that is there.
  ///   - note: gets remarks for the user.
  /// - Throws: `FormatError` when it is of another run; `OutputError`, also when a run that has not
  ///   ended writes it.
  init(
    _ base: String, head: JournalHead, start: PartialOutputs.Start, note: (String) -> Void
  ) throws {
    let path = PartialNames.journal(of: base, share: start.share)
    try head.checkSize(base)
    if start == .resume,
      try LockedFile(path, creating: false, lock: .exclusive, output: base) == nil
    {
      note("nothing to resume: no unfinished conversion to \(printable(base)) is there")
    }
    guard let file = try LockedFile(path, creating: true, lock: .exclusive, output: base) else {
      preconditionFailure("created, and not there")
    }
    self.file = file
    guard try file.byteCount > 0 else {
      recordsOffset = nil
      return
    }
    let found: (head: JournalHead, recordsOffset: UInt64)
    do {
      found = try JournalHead.read(file)
    } catch let error as FormatError {
      // Its first lines had not reached the disk: nothing is lost that could be gone on from.
      switch error.reason {
      case .truncated, .malformed: break
      default: if start != .begin { throw Self.advise(error, base, start) }
      }
      if start != .begin { note("nothing to resume: \(error)") }
      recordsOffset = nil
      return
    }
    if start == .begin {
      note(
        "an unfinished conversion to \(printable(base)) is replaced; --resume would have gone on "
          + "from it")
      Self.removePartials(of: found.head, base: base)
      recordsOffset = nil
      return
    }
    if let difference = JournalHead.Identity.difference(found.head.identity, head.identity) {
      var error = Self.advise(
        FormatError(
          file: path, field: "journal.run",
          reason: .inconsistent("is of another conversion: \(difference)")), base, start)
      if start != .resume {
        error.advice = UnfinishedSet.agreementAdvice(base, found.head.identity, head.identity)
      }
      throw error
    }
    if let difference = ConversionIdentity.difference(
      found.head.identity.local, head.identity.local)
    {
      if case .share = start {
        // A copy of the input on another machine, perhaps: only what is done here is lost.
        note("this part begins anew, since an input has another date: \(difference)")
        recordsOffset = nil
        return
      }
      throw Self.advise(
        FormatError(
          file: path, field: "journal.local",
          reason: .inconsistent("an input was changed: \(difference)")), base, start)
    }
    recordsOffset = found.recordsOffset
  }

  private static func advise(_ error: FormatError, _ base: String, _ start: PartialOutputs.Start)
    -> FormatError
  {
    var error = error
    error.advice =
      start == .resume ? "leave out --resume to begin anew" : UnfinishedSet.discardAdvice(base)
    return error
  }

  /// Removes the unfinished outputs that a journal names.
  ///
  /// Only files of the names that unfinished outputs have, and only where nobody writes them.
  ///
  /// - Returns: how many there were.
  @discardableResult
  static func removePartials(of head: JournalHead, base: String) -> Int {
    head.outputs.count { output in
      PartialNames.remove(PartialNames.partial(of: output.path(beside: base)), of: base)
    }
  }
}

extension JournalHead {
  /// Whether both are of the same files; shares of them may differ.
  func hasOutputs(of other: JournalHead) -> Bool {
    outputs.map(\.path) == other.outputs.map(\.path)
      && outputs.map(\.byteCount) == other.outputs.map(\.byteCount)
  }
}

extension JournalHead.Output {
  /// Where the output will lie.
  package func path(beside base: String) -> String {
    path.hasPrefix("/") ? path : PartialNames.neighbour(of: base, named: path)
  }
}

extension PartialOutputs {
  /// Refuses to touch what another conversion to the same output has unfinished.
  static func checkOthers(of base: String, _ head: JournalHead) throws {
    for (path, share) in try PartialNames.journals(of: base) where share != head.share {
      // Reads all journals.
      func advice() -> String {
        UnfinishedSet(of: base)?.advice
          ?? (share == nil ? "the command that began it goes on with --resume; " : "")
          + UnfinishedSet.discardAdvice(base)
      }
      guard head.share != nil, share != nil else {
        throw OutputError(
          path: base, step: .create,
          reason: share == nil
            ? "an unfinished conversion without --part is there"
            : "an unfinished conversion in parts is there", advice: advice())
      }
      let other: JournalHead
      do {
        other = try JournalHead.read(PositionalFile(path)).head
      } catch var error as FormatError {
        switch error.reason {
        // A part that is just being begun looks at this one's journal in its turn.
        case .truncated, .malformed, .fileNotFound: continue
        default:
          error.advice = advice()
          throw error
        }
      }
      if let difference = JournalHead.Identity.difference(other.identity, head.identity) {
        throw FormatError(
          file: path, field: "journal.run",
          reason: .inconsistent("is of another conversion: \(difference)"),
          advice: UnfinishedSet.agreementAdvice(base, other.identity, head.identity))
      }
      guard other.hasOutputs(of: head) else {
        throw FormatError(
          file: path, field: "journal.outputs",
          reason: .inconsistent("is of another conversion: it has other outputs"), advice: advice())
      }
    }
  }
}
