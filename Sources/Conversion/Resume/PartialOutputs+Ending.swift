import ByteIO
import GGUF
import Planning
import Threads

/// What a run that stopped early left for the next one.
public struct KeptWork: Hashable, Sendable {
  /// The archive that was to be written.
  public var output: String
  /// Bytes of tensors that are done, and that there are; `nil` where that is not known.
  public var finished: Progress?
  public var share: WorkShare?

  public struct Progress: Hashable, Sendable {
    public var byteCount: UInt64
    public var totalByteCount: UInt64
  }

  /// For people, without a full stop.
  public var text: String {
    let part = share.map { "part \($0.number) of \($0.count) of " } ?? ""
    let percent = finished.map { progress in
      "\(progress.totalByteCount == 0 ? 100 : progress.byteCount * 100 / progress.totalByteCount) % of "
    }
    let name = printable(output)
    return
      "\(percent ?? "what is done of ")\(part)\(name) is kept beside it: the same command"
      + (share == nil ? " with --resume" : "")
      + " goes on, 'ingot finish --discard \(name)' removes it"
  }
}

extension PartialOutputs {
  /// Gives complete outputs their names, the first part of a split last.
  ///
  /// Killed at any moment, there is either no archive under the final name, with all that `--resume`
  /// needs, or a complete one.
  func commit() throws(OutputError) {
    // Only now are the inputs known to have stayed as they were: `finish` asks for it.
    try journal.recordDone()
    try journal.sync()
    try Self.name(files, plan.outputs.map(\.path))
    journal.remove()
  }

  /// Syncs complete outputs and gives them their names; `nil` where one has its name already.
  static func name(_ files: [LockedFile?], _ paths: [String]) throws(OutputError) {
    for file in files { try file?.sync() }
    // The first part of an older set must not get new neighbours.
    for (file, path) in zip(files, paths) where file != nil && paths.count > 1 {
      if let split = SplitName(path: path), split.part == 0, split.partCount > 1 {
        OutputFile.removeDurably(path)
      }
    }
    for (file, path) in zip(files, paths).reversed() { try file?.rename(to: path) }
  }

  /// Makes a share durable and says so in its journal.
  func finishShare() throws(OutputError) {
    for file in files { try file?.sync() }
    try journal.recordDone()
    try journal.sync()
    close()
  }

  private func close() {
    for file in files { file?.close() }
    journal.close()
  }

  /// Keeps what can be gone on from, and removes what cannot.
  ///
  /// - Returns: the error for the user, with what was kept.
  func stop(after error: any Error, finished: UInt64, total: UInt64) -> any Error {
    let isKept =
      switch error {
      // The input is not what it should be: nothing made from it is of use.
      case let error as FormatError: if case .readFailed = error.reason { true } else { false }
      // What could not be synced is lost, though memory still shows it: reading back proves nothing.
      case let error as OutputError where error.step == .sync: false
      default: finished > 0
      }
    guard isKept else {
      discard()
      return error
    }
    // Full disks keep journals from being written, too; what was not recorded is done again.
    try? journal.flush()
    close()
    let kept = KeptWork(
      output: plan.journalBase,
      finished: KeptWork.Progress(byteCount: finished, totalByteCount: total), share: share)
    switch error {
    case var error as FormatError:
      error.advice = kept.text
      return error
    case var error as OutputError:
      error.advice = kept.text
      return error
    case is ConversionCancelled: return ConversionCancelled(kept: kept)
    default: return error
    }
  }

  /// Removes outputs and journal, of a share only what no other one needs.
  private func discard() {
    journal.remove()
    let isLast = (try? PartialNames.journals(of: plan.journalBase))?.isEmpty ?? false
    for file in files {
      if share == nil || isLast && file?.becomeExclusive() == true {
        file?.remove()
      } else {
        file?.close()
      }
    }
  }
}
