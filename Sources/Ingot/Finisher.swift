import GGUF
import StrictJSON
import Synchronization

/// Completes a conversion that was written in parts, or was interrupted just before its end.
///
///     let result = try Finisher(output: "llama.gguf").run()
///
/// It needs neither checkpoint nor options: the journals beside the output say what has to be there.
/// Every byte is read back and compared with what its part noted when it wrote it.
public struct Finisher: Sendable {
  /// As `convert` got it.
  public let output: String
  public var threadCount = Converter.defaultThreadCount
  /// Where to write a manifest of the finished archive.
  public var manifest: String?

  public init(output: String) { self.output = output }

  /// Checks everything, gives the outputs their names, and writes the manifest.
  ///
  /// - Throws: `UnfinishedParts` when something is missing or damaged, `FormatError` when there is
  ///   nothing to finish or parts do not belong together, `UsageError` when the manifest would
  ///   replace an output, `OutputError`, `FinishInterrupted`, `ManifestInterrupted`.
  public func run(
    cancellation: CancellationFlag = CancellationFlag(),
    progress: (@Sendable (ConversionProgress) -> Void)? = nil
  ) throws -> FinishSummary {
    let start = ContinuousClock.now
    guard let sealing = try Sealing(output) else { return try finished(cancellation) }
    let archive = sealing.paths.first ?? output
    let manifest = try manifestOutput(of: archive, besides: sealing.paths)
    let outputs: [String]
    let byteCount: UInt64
    do {
      let checked = Atomic(0)
      let total = sealing.byteCount
      (outputs, byteCount) = try sealing.run(
        threadCount: threadCount, cancellation: cancellation
      ) { byteCount in
        let sum = checked.wrappingAdd(byteCount, ordering: .relaxed).newValue
        progress?(
          ConversionProgress(
            finishedByteCount: UInt64(sum), totalByteCount: total, isChecking: true))
      }
    } catch is ConversionCancelled {
      throw FinishInterrupted()
    }
    try manifest?.write(threadCount: threadCount, cancellation: cancellation)
    return FinishSummary(
      outputs: outputs, byteCount: byteCount, wasComplete: false, manifest: self.manifest,
      elapsed: ContinuousClock.now - start)
  }

  /// Run again after it had done everything, it has nothing to do but the manifest.
  private func finished(_ cancellation: CancellationFlag) throws -> FinishSummary {
    if let partial = Sealing.bases(of: output).flatMap({ PartialNames.partials(of: $0) }).first {
      throw FormatError(
        file: partial, field: "journal",
        reason: .missing("the journal, without which nothing tells what of it was written"),
        advice:
          "'ingot finish --discard \(shellWord(output))' removes it, so that it can begin anew")
    }
    guard let archive = try finishedArchive() else {
      throw FormatError(
        file: output, field: "file", reason: .fileNotFound,
        advice:
          "nor is anything unfinished of it there: 'ingot convert … --part K/N' writes its parts")
    }
    let manifest = try manifestOutput(of: archive.files[0], besides: archive.files)
    try manifest?.write(threadCount: threadCount, cancellation: cancellation)
    return FinishSummary(
      outputs: archive.files, byteCount: archive.fileByteCounts.reduce(0, +), wasComplete: true,
      manifest: self.manifest)
  }

  /// Begins the manifest before the work, so that a folder that takes none is found.
  private func manifestOutput(of archive: String, besides outputs: [String]) throws
    -> ManifestOutput?
  {
    guard let path = manifest else { return nil }
    guard !outputs.contains(where: { OutputFile.isSamePlace(path, $0) }) else {
      throw UsageError("--manifest \(printable(path)) is also an output")
    }
    return try ManifestOutput(of: archive, at: path)
  }

  /// Removes what is unfinished instead.
  ///
  /// - Returns: whether there was anything.
  /// - Throws: `OutputError` when it is still being written.
  public func discard() throws -> Bool { try Sealing.discard(output) > 0 }

  /// A complete archive that has this name, as one file or as a split; `nil` where there is no file.
  ///
  /// - Throws: why what is there is no archive, or none that is whole.
  private func finishedArchive() throws(FormatError) -> GGUFFile? {
    var failure: FormatError?
    for path in Sealing.bases(of: output) + splitPaths {
      do {
        return try GGUFFile(path)
      } catch {
        // A missing part of a split is another file.
        if error.reason != .fileNotFound || error.file != path { failure = failure ?? error }
      }
    }
    if let failure { throw failure }
    return nil
  }

  private var splitPaths: [String] {
    let prefix = output.hasSuffix(".gguf") ? String(output.dropLast(5)) : output
    let folder = OutputFile.folder(of: output)
    return ((try? DirectoryListing.names(in: folder)) ?? []).compactMap { name in
      let split = SplitName(path: DirectoryListing.join(folder, name))
      guard let split, split.part == 0,
        OutputFile.isSamePlace(split.prefix, prefix)
          || OutputFile.name(of: split.prefix) == OutputFile.name(of: prefix)
      else { return nil }
      return split.path
    }
  }
}

/// What `Finisher` did.
public struct FinishSummary: Sendable {
  public var outputs: [String]
  public var byteCount: UInt64
  /// Whether there was nothing left to do.
  public var wasComplete: Bool
  /// The manifest that was written; `nil` where none was wanted.
  public var manifest: String?
  public var elapsed = Duration.zero

  public var text: String {
    let first = printable(outputs.first ?? "")
    // Whoever wrote it: an older conversion's looks the same.
    let written = manifest.map { "; wrote its manifest \(printable($0))" } ?? ""
    if wasComplete {
      return "\(first) is there, and nothing of it unfinished: nothing to finish" + written
    }
    let others = outputs.count > 1 ? " and \(outputs.count - 1) more files" : ""
    return "\(first)\(others): complete, \(byteCount) bytes, checked in "
      + "\(fixed(elapsed / .seconds(1), 2)) s" + written
  }

  public var json: String {
    var writer = JSONWriter()
    writer.object { json in
      json.key("outputs")
      json.array { json in for output in outputs { json.value(output) } }
      json.key("bytes")
      json.value(byteCount)
      json.key("wasComplete")
      json.value(wasComplete)
      json.key("manifest")
      json.value(manifest)
      json.key("seconds")
      json.value(elapsed / .seconds(1))
    }
    return writer.text
  }
}

/// A check that was stopped by a signal.
public struct FinishInterrupted: Error, Sendable, CustomStringConvertible {
  public var description: String {
    "interrupted; nothing was changed: the same command starts again"
  }
}

extension UnfinishedParts {
  /// A line for each part: what is wrong, and what to run.
  public var lines: [String] {
    let name = printable(output)
    if parts.isEmpty { return ["\(name): its parts do not cover it: discard them and begin anew"] }
    let there = existing.map {
      " (\(printable($0)) itself is there; if it is what you want, "
        + "'ingot finish --discard \(shellWord(output))' removes only what is unfinished)"
    }
    return parts.map { part in
      let what =
        switch part.state {
        case .notBegun: "was not begun"
        case .stopped(0, _): "did not come to its end"
        case .stopped(let count, let total): "stopped with \(count) of \(total) bytes missing"
        case .damaged(let count, 0, let total):
          "is damaged: \(count) of \(total) bytes are not what was written"
        case .damaged(let count, let missing, let total):
          "is damaged: \(count) of \(total) bytes are not what was written, \(missing) are missing"
        }
      let place = partCount > 1 ? "part \(part.number) of \(partCount) of \(name)" : name
      let command = part.command.map(shellWord).joined(separator: " ")
      return "\(place) \(what)" + (there ?? "") + (command.isEmpty ? "" : "; run: \(command)")
    }
  }

  /// Stable JSON.
  public var json: String {
    var writer = JSONWriter()
    writer.object { json in
      json.key("complete")
      json.value(false)
      json.key("parts")
      json.array { json in
        for part in parts {
          json.object { json in
            json.key("part")
            json.value(part.number)
            json.key("state")
            switch part.state {
            case .notBegun: json.value("notBegun")
            case .stopped(let count, let total):
              json.value("stopped")
              json.key("missingBytes")
              json.value(count)
              json.key("bytes")
              json.value(total)
            case .damaged(let count, let missing, let total):
              json.value("damaged")
              json.key("damagedBytes")
              json.value(count)
              json.key("missingBytes")
              json.value(missing)
              json.key("bytes")
              json.value(total)
            }
            json.key("command")
            json.array { json in for word in part.command { json.value(word) } }
          }
        }
      }
    }
    return writer.text
  }
}
