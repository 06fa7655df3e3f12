import ByteIO
import GGUF
import Planning

/// Where an unfinished conversion lies: beside its outputs, under hidden names that the next run
/// finds again.
///
///     .OUT.gguf.ingot.partial                    an output
///     .OUT.gguf.ingot.journal                    what of all outputs is done
///     .OUT.gguf.ingot.part-2-of-4.journal        the same for one of several machines
///
/// Source: formats/journal.md
package enum PartialNames {
  package static func partial(of output: String) -> String {
    place(output, ".partial")
  }

  package static func journal(of base: String, share: WorkShare?) -> String {
    place(base, share.map { ".part-\($0.number)-of-\($0.count).journal" } ?? ".journal")
  }

  /// Journals of an unfinished conversion: of a single machine, then by their parts.
  ///
  /// - Throws: `FormatError` when the folder cannot be listed: not to see them is not to have none.
  package static func journals(of base: String) throws(FormatError)
    -> [(path: String, share: WorkShare?)]
  {
    let folder = OutputFile.folder(of: base)
    let prefix = ".\(OutputFile.name(of: base)).ingot."
    let names: [String]
    do {
      names = try DirectoryListing.names(in: folder)
    } catch {
      if error.reason == .fileNotFound { return [] }
      throw error
    }
    let found = names.compactMap { name -> (path: String, share: WorkShare?)? in
      guard name.hasPrefix(prefix), name.hasSuffix("journal") else { return nil }
      let path = neighbour(of: base, named: name)
      if name == prefix + "journal" { return (path, nil) }
      let middle = name.dropFirst(prefix.count).dropLast(".journal".count)
      guard middle.hasPrefix("part-") else { return nil }
      let words = middle.dropFirst("part-".count).split(separator: "-")
      guard words.count == 3, words[1] == "of", let number = Int(words[0]),
        let count = Int(words[2]), let share = WorkShare(number: number, of: count),
        name == OutputFile.name(of: journal(of: base, share: share))
      else { return nil }
      return (path, share)
    }
    return found.sorted {
      ($0.share?.count ?? 0, $0.share?.number ?? 0) < ($1.share?.count ?? 0, $1.share?.number ?? 0)
    }
  }

  /// Bytes of an output for which the file system has no place yet.
  package static func missing(_ output: ConversionPlan.Output) -> UInt64 {
    let there = LockedFile.allocatedByteCount(partial(of: output.path))
    return output.byteCount - min(there, output.byteCount)
  }

  /// Removes unfinished outputs of a conversion, also those whose journal is lost, of any number of
  /// parts of a split; what another process is writing is left alone.
  ///
  /// - Returns: how many there were.
  @discardableResult
  package static func removePartials(of base: String) -> Int {
    partials(of: base).count { remove($0, of: base) }
  }

  /// Unfinished outputs of a conversion, of any number of parts of a split.
  package static func partials(of base: String) -> [String] {
    let (start, suffix) = (".", ".ingot.partial")
    let own = OutputFile.name(of: base)
    let names = (try? DirectoryListing.names(in: OutputFile.folder(of: base))) ?? []
    return names.filter { name in
      guard name.hasPrefix(start), name.hasSuffix(suffix) else { return false }
      let output = String(name.dropFirst(start.count).dropLast(suffix.count))
      return output == own || SplitName(path: output).map { $0.prefix + ".gguf" == own } == true
    }.map { neighbour(of: base, named: $0) }
  }

  /// Removes an unfinished output, unless another process is writing it.
  ///
  /// - Returns: whether there was one.
  static func remove(_ path: String, of base: String) -> Bool {
    guard
      let file = try? LockedFile(path, creating: false, lock: .exclusive, output: base)
    else { return false }
    file.remove()
    return true
  }

  private static func place(_ path: String, _ suffix: String) -> String {
    neighbour(of: path, named: ".\(OutputFile.name(of: path)).ingot\(suffix)")
  }

  /// A name in the folder of `path`, written as that is.
  static func neighbour(of path: String, named name: String) -> String {
    path == OutputFile.name(of: path)
      ? name : DirectoryListing.join(OutputFile.folder(of: path), name)
  }
}

extension ConversionPlan {
  /// The name after which the journal is called: the archive's, of a split one without its part.
  package var journalBase: String {
    let models = outputs.filter { $0.kind == .model }
    guard let first = models.first ?? outputs.first else { preconditionFailure("no output") }
    return models.count > 1
      ? SplitName(path: first.path).map { $0.prefix + ".gguf" } ?? first.path : first.path
  }
}
