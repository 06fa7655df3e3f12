import ByteIO
import Tensors

/// Sets of files that hold one archive: see formats/gguf.md, "Split archives".
package enum GGUFSplit {}

extension GGUFSplit {
  /// The split keys of one part.
  private struct Facts {
    var number: Int?
    var count: Int?
    var tensorCount: Int?

    init(_ part: GGUFFile.Part) throws(FormatError) {
      number = try Self.integer(GGUFFormat.Key.splitNumber, part)
      count = try Self.integer(GGUFFormat.Key.splitCount, part)
      tensorCount = try Self.integer(GGUFFormat.Key.splitTensorCount, part)
    }

    private static func integer(_ key: String, _ part: GGUFFile.Part) throws(FormatError) -> Int? {
      guard let value = part.header.metadata[key] else { return nil }
      guard let number = value.int, number >= 0 else {
        throw FormatError(
          file: part.file.path, field: key,
          reason: .outOfRange(
            found: value.int.map(String.init) ?? "a value of type \(value.ggufType)",
            allowed: "an integer from 0 on"))
      }
      return number
    }
  }

  /// Opens the other parts of the set that `first` begins.
  ///
  /// - Returns: all parts in order; only `first` when it is not part of a set.
  /// - Throws: also when `first` is a later part (the advice names the first), when a part is
  ///   missing, and when parts contradict each other.
  static func openSet(_ first: GGUFFile.Part) throws(FormatError) -> [GGUFFile.Part] {
    let facts = try Facts(first)
    let name = try checkFirst(first, facts)
    var parts = [first]
    if let name {
      for index in 1..<name.partCount {
        parts.append(try openPart(name.with(part: index), of: first, facts))
        try GGUFHeader.checkCounts(
          keys: 0, tensors: UInt64(parts.reduce(0) { $0 + $1.header.tensors.count }),
          file: name.with(part: index).path)
      }
      try checkNamesDiffer(parts)
    }
    let found = parts.reduce(0) { $0 + $1.header.tensors.count }
    if let expected = facts.tensorCount, expected != found {
      throw FormatError(
        file: first.file.path, field: GGUFFormat.Key.splitTensorCount,
        reason: .inconsistent("says \(expected) tensors, the files hold \(found)"))
    }
    return parts
  }

  /// Checks the part that the user named; its name when it begins a set of several files.
  private static func checkFirst(_ first: GGUFFile.Part, _ facts: Facts) throws(FormatError)
    -> SplitName?
  {
    let path = first.file.path
    let name = SplitName(path: path)
    // A merged archive says 0.
    guard let count = facts.count, count > 0 else { return nil }
    guard let number = facts.number else {
      if count == 1 { return nil }
      throw FormatError(
        file: path, field: "gguf.kv", reason: .missing("key \(GGUFFormat.Key.splitNumber)"))
    }
    guard number == 0 else {
      throw FormatError(
        file: path, field: GGUFFormat.Key.splitNumber,
        reason: .unsupported(
          found: "part \(number + 1) of \(count)", allowed: "the first part of a split archive"),
        advice: name.map { "open \($0.with(part: 0).path)" })
    }
    if count == 1, name == nil { return nil }
    guard let name, name.part == 0, name.partCount == count else {
      let ending = SplitName(prefix: "", part: 0, partCount: count).path
      throw FormatError(
        file: path, field: GGUFFormat.Key.splitCount,
        reason: .inconsistent("part 1 of \(count) must have a name that ends in \(ending)"),
        advice: "give the parts the names that they were written with")
    }
    guard facts.tensorCount != nil || count == 1 else {
      throw FormatError(
        file: path, field: "gguf.kv", reason: .missing("key \(GGUFFormat.Key.splitTensorCount)"))
    }
    return count > 1 ? name : nil
  }

  private static func openPart(_ name: SplitName, of first: GGUFFile.Part, _ facts: Facts)
    throws(FormatError) -> GGUFFile.Part
  {
    let file: PositionalFile
    do {
      file = try PositionalFile(name.path)
    } catch {
      var error = error
      error.field = "part \(name.part + 1) of \(name.partCount)"
      error.advice = "put all parts into one folder"
      throw error
    }
    let part = GGUFFile.Part(file: file, header: try GGUFHeader(file, fileIndex: name.part))
    let own = try Facts(part)
    guard let number = own.number else {
      throw FormatError(
        file: name.path, field: "gguf.kv", reason: .missing("key \(GGUFFormat.Key.splitNumber)"))
    }
    try requireEqual(number, name.part, GGUFFormat.Key.splitNumber, name.path)
    try requireEqual(own.count, facts.count, GGUFFormat.Key.splitCount, name.path)
    try requireEqual(own.tensorCount, facts.tensorCount, GGUFFormat.Key.splitTensorCount, name.path)
    for (key, value) in part.header.metadata.entries
    where !GGUFFormat.Key.allSplitKeys.contains(key.string) {
      guard let expected = first.header.metadata[key], expected != value else { continue }
      throw FormatError(
        file: name.path, field: "gguf.kv[\(key)]",
        reason: .inconsistent("is not the value in \(first.file.path)"),
        advice: "the part belongs to another archive")
    }
    return part
  }

  private static func requireEqual(_ found: Int?, _ expected: Int?, _ key: String, _ path: String)
    throws(FormatError)
  {
    guard let found, let expected, found != expected else { return }
    throw FormatError(
      file: path, field: key, reason: .inconsistent("is \(found), expected \(expected)"))
  }

  private static func checkNamesDiffer(_ parts: [GGUFFile.Part]) throws(FormatError) {
    var names: Set<ExactString> = []
    for part in parts {
      for tensor in part.header.tensors where !names.insert(tensor.name).inserted {
        throw FormatError(
          file: part.file.path, field: "gguf.tensor[\(tensor.name)]",
          reason: .duplicate("tensor name: an earlier part has it, too"))
      }
    }
  }
}
