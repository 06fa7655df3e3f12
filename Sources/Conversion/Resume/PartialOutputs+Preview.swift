import ByteIO
import Planning
import Tensors

extension PartialOutputs {
  /// What is unfinished of a plan, by its journal alone: a line for the user, `nil` for nothing.
  ///
  /// - Throws: `FormatError` when an input cannot be read.
  package static func unfinished(
    of plan: ConversionPlan, source: any TensorSource, importance: [ExactString: [Float]],
    allowsNonFinite: Bool, version: String, share: WorkShare?, details: [String] = []
  ) throws(FormatError) -> String? {
    let path = PartialNames.journal(of: plan.journalBase, share: share)
    guard let file = try? PositionalFile(path),
      let (head, recordsOffset) = try? JournalHead.read(file)
    else { return nil }
    let found = try ConversionIdentity(
      plan: plan, source: source, importance: importance, allowsNonFinite: allowsNonFinite,
      version: version, shareCount: share?.count ?? 1)
    let identity = JournalHead.Identity(run: found.run, local: found.local, details: details)
    let name = printable(plan.journalBase)
    if let difference = JournalHead.Identity.difference(head.identity, identity)
      ?? ConversionIdentity.difference(head.identity.local, identity.local)
    {
      return "another conversion to \(name) is unfinished: \(difference)"
    }
    var covered = plan.outputs.map { _ in CoveredRanges() }
    try head.forEachRecord(of: file, from: recordsOffset) { record in
      guard record.output < UInt32(covered.count) else { return }
      covered[Int(record.output)].insert(record.range)
    }
    let total = head.outputs.reduce(0) { $0 + UInt64($1.share.count) }
    let there = zip(covered, head.outputs).reduce(0) { $0 + $1.0.byteCount(in: $1.1.share) }
    let part = share.map { "part \($0.number) of \($0.count) of " } ?? ""
    return "\(part)\(name) is unfinished: \(there) of \(total) bytes are noted as done"
      + (share == nil ? "; --resume goes on from there" : "")
  }
}
