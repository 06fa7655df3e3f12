import ByteIO

/// The number in `consolidated.NN.pth`.
struct ConsolidatedName {
  let rank: Int

  private static let prefix = "consolidated."
  static let suffix = ".pth"
  /// The largest releases have 16.
  static let countLimit = 1024

  /// Takes a file name apart; `nil` when it is not the name of a shard.
  init?(_ name: String) {
    guard name.hasPrefix(Self.prefix), name.hasSuffix(Self.suffix),
      name.utf8.count > Self.prefix.utf8.count + Self.suffix.utf8.count
    else { return nil }
    let digits = name.dropFirst(Self.prefix.count).dropLast(Self.suffix.count)
    guard (1...4).contains(digits.utf8.count),
      digits.utf8.allSatisfy({ $0 &- UInt8(ascii: "0") < 10 }), let rank = Int(digits)
    else { return nil }
    self.rank = rank
  }

  /// The shards among the names of a folder in the order of their ranks, from 00 without a gap.
  static func complete(_ present: [String], folder: String) throws(FormatError) -> [String] {
    var byRank: [Int: String] = [:]
    for name in present {
      guard let rank = ConsolidatedName(name)?.rank else { continue }
      if let other = byRank.updateValue(name, forKey: rank) {
        throw FormatError(
          file: folder, field: "shards", reason: .duplicate("shard \(rank): \(other) and \(name)"))
      }
    }
    guard let last = byRank.keys.max() else {
      throw FormatError(
        file: folder, field: "weights", reason: .missing("\(prefix)00\(suffix)"))
    }
    guard last < countLimit else {
      throw FormatError(
        file: folder, field: "shards",
        reason: .outOfRange(found: "shard \(last)", allowed: "0 to \(countLimit - 1)"))
    }
    var names: [String] = []
    for rank in 0...last {
      guard let name = byRank[rank] else {
        throw FormatError(
          file: folder, field: "shards",
          reason: .missing(
            "shard \(rank): \(byRank.count) are there, numbered up to \(last)"),
          advice: UnfinishedDownload.advice(folder, present: present))
      }
      names.append(name)
    }
    if let part = present.first(where: { unfinished($0).map { $0 > last } ?? false }) {
      throw FormatError(
        file: folder, field: "shards",
        reason: .missing("shard \(last + 1): of it there is only \(printable(part, limit: 120))"),
        advice: UnfinishedDownload.advice(folder, present: present))
    }
    return names
  }

  /// The rank of a shard that is not downloaded completely.
  private static func unfinished(_ name: String) -> Int? {
    guard let whole = UnfinishedDownload.wholeName(of: name) else { return nil }
    return ConsolidatedName(whole)?.rank
  }
}
