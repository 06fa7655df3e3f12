import ByteIO
import Planning

extension JournalHead.Identity {
  /// In what a journal's run differs from this one, with what it comes from; `nil` where nothing that
  /// bytes depend on does.
  package static func difference(_ known: Self, _ wanted: Self) -> String? {
    guard let line = ConversionIdentity.difference(known.run, wanted.run) else { return nil }
    // Of another version, options and files may have the same names and other meanings.
    guard known.run.first == wanted.run.first else { return line }
    let causes =
      switch zip(known.run, wanted.run).first(where: { $0 != $1 })?.1 {
      // Weights are no small files; and any copy of an input may have another date.
      case let line? where line.hasPrefix("input ") || line.hasPrefix("weights samples "):
        dates(known.local, wanted.local)
      case let line? where line == "all at once" || line.hasPrefix("in "): [String]()
      default: RunDetails.differences(known.details, wanted.details)
      }
    let shown = causes.prefix(causeLimit).joined(separator: ", ")
    let rest = causes.count > causeLimit ? " and \(causes.count - causeLimit) more" : ""
    return causes.isEmpty ? line : "\(shown)\(rest): \(line)"
  }

  private static let causeLimit = 4

  /// Inputs that have another date.
  private static func dates(_ known: [String], _ wanted: [String]) -> [String] {
    func dates(_ lines: [String]) -> [String: String] {
      var dates: [String: String] = [:]
      for line in lines {
        let words = line.split(separator: " ", omittingEmptySubsequences: false)
        dates[words.dropLast().joined(separator: " ")] = words.last.map(String.init)
      }
      return dates
    }
    let (old, new) = (dates(known), dates(wanted))
    return new.filter { old[$0.key] != nil && old[$0.key] != $0.value }.keys.sorted().map {
      let name = $0.hasSuffix(" changed") ? String($0.dropLast(" changed".count)) : $0
      return printable(name, limit: 120) + " has another date"
    }
  }
}
