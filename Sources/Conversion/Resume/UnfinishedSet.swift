import ByteIO
import Planning

/// The parts of a conversion whose journals are there, as far as these say themselves: nothing is read
/// back.
struct UnfinishedSet {
  let base: String
  let shareCount: Int
  /// Numbers of parts that were not begun, or did not come to their end.
  let open: [Int]
  /// Words of the command line that writes the first of `open`.
  let command: [String]

  /// Looks at the journals of an output; `nil` where no part of it can be read.
  init?(of base: String) {
    var heads: [JournalHead] = []
    var done: Set<Int> = []
    for (path, share) in (try? PartialNames.journals(of: base)) ?? [] {
      guard let share, let file = try? PositionalFile(path),
        let (head, recordsOffset) = try? JournalHead.read(file), head.share == share
      else { continue }
      heads.append(head)
      var isDone = false
      try? head.forEachRecord(of: file, from: recordsOffset) {
        if $0.output == JournalRecord.done { isDone = true }
      }
      if isDone { done.insert(share.number) }
    }
    guard let first = heads.first, let share = first.share else { return nil }
    self.base = base
    shareCount = share.count
    let missing = (1...share.count).filter { !done.contains($0) }
    let own = heads.first { $0.share?.number == missing.first } ?? first
    command = own.command(ofShare: missing.first ?? 1)
    open = missing
  }

  /// What to do about it, for who wants to write the same output otherwise.
  var advice: String {
    let name = shellWord(base)
    let end = Self.discardAdvice(base)
    guard let first = open.first else {
      return "all its parts are done: 'ingot finish \(name)' checks and seals them; " + end
    }
    let numbers = open.prefix(8).map(String.init).joined(separator: ", ")
    let parts = open.count == 1 ? "part \(first)" : "parts \(numbers)\(open.count > 8 ? ", …" : "")"
    // Empty where no command line began it.
    let words = command.map(shellWord).joined(separator: " ")
    let run = words.isEmpty ? "" : ": run \(words)" + (open.count == 1 ? "" : " and so on")
    return
      "\(parts) of \(shareCount) \(open.count == 1 ? "is" : "are") not done, or still being written"
      + "\(run), and when all are done, 'ingot finish \(name)'; " + end
  }

  /// What to do where parts were written otherwise.
  static func agreementAdvice(
    _ base: String, _ known: JournalHead.Identity, _ wanted: JournalHead.Identity
  ) -> String {
    // No option makes another version the same one.
    guard known.run.first == wanted.run.first else { return discardAdvice(base) }
    return
      "every part takes the same input and the same options: to have types chosen once for all, run "
      + "'ingot plan … -o recipe.json' and give every part --recipe recipe.json; "
      + discardAdvice(base)
  }

  static func discardAdvice(_ base: String) -> String {
    "'ingot finish --discard \(shellWord(base))' removes what is there"
  }
}

extension JournalHead {
  /// The command line that writes a share, from that of this journal's own; of a conversion without
  /// shares the one that goes on with it.
  func command(ofShare number: Int) -> [String] {
    var command = command
    guard let share else {
      // Empty where no command line began it.
      return command.isEmpty || command.contains("--resume") ? command : command + ["--resume"]
    }
    for (index, word) in command.enumerated() {
      if word == "--part", command.indices.contains(index + 1) {
        command[index + 1] = "\(number)/\(share.count)"
      } else if word.hasPrefix("--part=") {
        command[index] = "--part=\(number)/\(share.count)"
      }
    }
    return command
  }

  /// Hands over the sound records of a journal.
  func forEachRecord(
    of file: PositionalFile, from recordsOffset: UInt64, _ body: (JournalRecord) -> Void
  ) throws(FormatError) {
    let step = UInt64(JournalRecord.byteCount)
    var offset = recordsOffset
    while offset + step <= file.byteCount {
      let count = min(step * 4096, (file.byteCount - offset) / step * step)
      let bytes = try file.read(at: offset, count: Int(count))
      for start in stride(from: 0, to: bytes.count, by: JournalRecord.byteCount) {
        if let record = JournalRecord(bytes, at: start, seed: seed) { body(record) }
      }
      offset += count
    }
  }
}
