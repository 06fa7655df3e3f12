import ByteIO
import StrictJSON
import Tensors

/// Which files of a directory hold the checkpoint's weights.
///
/// Of the first family that is there, in this order: what `model.safetensors.index.json` names;
/// `model.safetensors`; a complete set of `model-0000N-of-0000M.safetensors` (5 to 9 digits each);
/// of PyTorch files likewise. Everything else (`consolidated.safetensors`, `original/`) is another
/// copy of the same weights and is left alone.
struct WeightFiles {
  /// Largest index that is read; the largest published ones stay below 1 MiB.
  static let indexByteCountLimit: UInt64 = 64 << 20

  let format: WeightFormat
  /// Plain file names in the order of their bytes.
  var names: [String]
  /// Shard of each tensor, where an index says so.
  var shardOfTensor: [ExactString: String]?
  /// What was left alone, for the user.
  var notes: [String] = []

  /// One file that the user named.
  init(onlyName name: String, format: WeightFormat) {
    self.format = format
    names = [name]
  }

  /// - Parameters:
  ///   - folder: the checkpoint's directory.
  ///   - wanted: the family that the user named a shard of; `nil` for the first that is there.
  /// - Throws: `FormatError` when there is none, or not all of it.
  init(folder: String, format wanted: WeightFormat?) throws(FormatError) {
    let present = try DirectoryListing.names(in: folder)
    let usable = Self.formats(present)
    guard let format = wanted ?? usable.first else {
      throw Self.nothingUsable(folder: folder, present: present)
    }
    self.format = format
    // A dangling index link is an error of its own and no reason to look further.
    if present.contains(format.indexName) {
      let map = try Self.readIndex(DirectoryListing.join(folder, format.indexName))
      shardOfTensor = map
      names = Set(map.values.map { ExactString($0) }).sorted().map(\.string)
      try Self.checkPresent(names, format, folder: folder, present: present)
    } else if present.contains(format.singleName) {
      names = [format.singleName]
    } else {
      names = try Self.numberedShards(format, folder: folder, present: present)
    }
    if usable.count > 1 {
      notes.append("the folder holds the weights in two formats: \(format.rawValue) is read")
    }
    let used = Set(names)
    let ignored = Self.candidates(present).filter { !used.contains($0) }
    if !ignored.isEmpty {
      notes.append("ignored: " + printable(ignored.joined(separator: ", ")))
    }
  }

  /// Whether there are weights as Hugging Face libraries save them.
  static func areAmong(_ names: [String]) -> Bool { !formats(names).isEmpty }

  private static func formats(_ present: [String]) -> [WeightFormat] {
    WeightFormat.allCases.filter { format in
      present.contains { name in
        name == format.indexName || name == format.singleName || ShardNumber(name, format) != nil
      }
    }
  }

  /// Names that weights may have.
  private static func candidates(_ present: [String]) -> [String] {
    let suffixes = WeightFormat.allCases.flatMap(\.suffixes)
    return present.filter { name in suffixes.contains { name.hasSuffix($0) } }
  }

  /// Reads `weight_map`: tensor name to plain file name.
  private static func readIndex(_ path: String) throws(FormatError) -> [ExactString: String] {
    let bytes = try PositionalFile.readAll(path, limit: indexByteCountLimit)
    var reader = JSONReader(bytes, file: path)
    var map: [ExactString: String]?
    try reader.beginObject("index")
    while let key = try reader.nextKey("index") {
      guard key == "weight_map" else {
        try reader.skipValue(key)
        continue
      }
      var entries: [ExactString: String] = [:]
      try reader.beginObject("weight_map")
      while let tensor = try reader.nextKey("weight_map") {
        let field = "weight_map[\"\(printable(tensor, limit: 120))\"]"
        let name = try reader.readString(field)
        guard isPlainFileName(name) else {
          throw reader.error(
            field,
            .outOfRange(
              found: "\"\(printable(name, limit: 120))\"",
              allowed: "the plain name of a file in the same folder"))
        }
        entries[ExactString(tensor)] = name
      }
      map = entries
    }
    try reader.finish("index")
    guard let map, !map.isEmpty else {
      throw FormatError(
        file: path, field: "weight_map", reason: .missing("tensor names in \"weight_map\""))
    }
    return map
  }

  /// Whether `name` stays inside its folder whatever it is joined to.
  static func isPlainFileName(_ name: String) -> Bool {
    !name.isEmpty && name != "." && name != ".."
      && !name.utf8.contains { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "\\") || $0 == 0 }
  }

  /// Shards numbered from 1 to the total that every one of them states.
  private static func numberedShards(
    _ format: WeightFormat, folder: String, present: [String]
  ) throws(FormatError) -> [String] {
    let shards = present.compactMap { name in ShardNumber(name, format).map { (name, $0) } }
    guard let total = shards.first?.1.total else {
      throw nothingUsable(folder: folder, present: present)
    }
    if let (name, number) = shards.first(where: { $0.1.total != total }) {
      throw FormatError(
        file: DirectoryListing.join(folder, name), field: "file name",
        reason: .inconsistent(
          "says \(number.total) shards, \(shards[0].0) beside it says \(total)"))
    }
    let numbers = Set(shards.map(\.1.number))
    if let bad = shards.first(where: { $0.1.number < 1 || $0.1.number > total }) {
      throw FormatError(
        file: DirectoryListing.join(folder, bad.0), field: "file name",
        reason: .outOfRange(found: "shard \(bad.1.number)", allowed: "1 to \(total)"))
    }
    if numbers.count < shards.count {
      throw FormatError(
        file: folder, field: "shards", reason: .duplicate("shard number, spelled in two ways"))
    }
    if numbers.count != total {
      let gap = (1...total).first { !numbers.contains($0) } ?? total
      throw FormatError(
        file: folder, field: "shards",
        reason: .missing("shard \(gap) of \(total); \(numbers.count) of \(total) are there"),
        advice: UnfinishedDownload.advice(folder, present: present))
    }
    return shards.map(\.0)
  }

  private static func checkPresent(
    _ names: [String], _ format: WeightFormat, folder: String, present: [String]
  ) throws(FormatError) {
    for name in names {
      let path = DirectoryListing.join(folder, name)
      if DirectoryListing.exists(path) { continue }
      let isLink = DirectoryListing.isDanglingLink(path)
      throw FormatError(
        file: path, field: "file",
        reason: .missing(
          isLink
            ? "the file that this link points to" : "this shard, which \(format.indexName) names"),
        advice: UnfinishedDownload.advice(
          folder, present: present + (isLink ? [".incomplete"] : [])))
    }
  }

  private static func nothingUsable(folder: String, present: [String]) -> FormatError {
    if present.contains(where: AdapterFiles.isOne) { return AdapterFiles.error(folder) }
    let candidates = candidates(present)
    let found =
      candidates
      + present.filter { $0.hasSuffix(".gguf") || UnfinishedDownload.wholeName(of: $0) != nil }
    let what = found.isEmpty ? "none" : printable(found.joined(separator: ", "), limit: 200)
    var wanted = WeightFormat.allCases.map { format in
      let (prefix, suffix) = format.shardAffixes
      return "\(format.singleName), \(format.indexName) or \(prefix)00001-of-0000N\(suffix)"
    }
    let isMeta = present.contains(MetaDirectory.parametersName)
    if isMeta {
      let isMetaAlone = !present.contains("config.json")
      let shards = "consolidated.00.pth, and the others of its number, beside params.json"
      wanted = isMetaAlone ? [shards + " (Meta's layout)"] : [shards] + wanted
    }
    var advice: String?
    if candidates.count == 1, found.count == 1 {
      advice =
        "to use it, name the file itself: \(printable(DirectoryListing.join(folder, found[0])))"
    } else if UnfinishedDownload.isIn(folder, present: present) {
      advice = UnfinishedDownload.advice(folder, present: present)
    } else if let inside = MetaDirectory.foldersInside(folder, present: present).first {
      let path = printable(DirectoryListing.join(folder, inside))
      advice = "Meta's own files are inside: to use them, name \(path)"
    } else if present.contains("snapshots"), present.contains("blobs") {
      advice = "this is a cache of a hub: name one of the folders in its snapshots"
    } else if isMeta {
      advice =
        "download the weights too: consolidated.*.pth of Meta's layout, or of Hugging Face's "
        + "*.safetensors with config.json"
    }
    return FormatError(
      file: folder, field: "weights",
      reason: .missing("\(wanted.joined(separator: ", ")) (weight files found: \(what))"),
      advice: advice)
  }
}

/// Files of an adapter (LoRA): differences to a model that is somewhere else.
package enum AdapterFiles {
  static func isOne(_ name: String) -> Bool {
    name == "adapter_config.json" || name.hasPrefix("adapter_model.")
  }

  /// Whether a tensor is half of a difference: `….q_proj.lora_A.weight`, `….lora_B.default.weight`.
  static func isTensor(_ name: ExactString) -> Bool {
    name.string.split(separator: ".").contains { marks.contains($0) }
  }

  private static let marks: [Substring] = [
    "lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B",
  ]

  /// For those who look at one: what it is.
  package static func note(file: String, tensors: [TensorDescriptor]) -> String? {
    let name = file.split(separator: "/").last.map(String.init) ?? file
    guard isOne(name) || tensors.contains(where: { isTensor($0.name) }) else { return nil }
    return "an adapter (LoRA): differences to a base model, into which they have to be merged"
  }

  static func error(_ path: String) -> FormatError {
    FormatError(
      file: path, field: "weights",
      reason: .unsupported(
        found: "an adapter (LoRA), which holds only differences to a base model",
        allowed: "whole models"),
      advice: "merge it into its base model first: in Python with peft, "
        + "PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(folder)")
  }
}

/// The numbers in `model-00001-of-00002.safetensors` or `pytorch_model-00001-of-00002.bin`.
struct ShardNumber {
  var number: Int
  var total: Int

  /// Takes a file name apart; `nil` when it is not the name of a shard.
  init?(_ name: String, _ format: WeightFormat) {
    let (prefix, suffix) = format.shardAffixes
    guard name.hasPrefix(prefix), name.hasSuffix(suffix),
      name.utf8.count > prefix.utf8.count + suffix.utf8.count
    else { return nil }
    let middle = name.dropFirst(prefix.count).dropLast(suffix.count)
    let parts = middle.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 3, parts[1] == "of", let number = Self.count(parts[0]),
      let total = Self.count(parts[2]), total >= 1
    else { return nil }
    self.number = number
    self.total = total
  }

  /// Usually five; DeepSeek writes the total with six.
  private static let digitCounts = 5...9

  private static func count(_ digits: Substring) -> Int? {
    guard digitCounts.contains(digits.utf8.count),
      digits.utf8.allSatisfy({ $0 &- UInt8(ascii: "0") < 10 })
    else { return nil }
    return Int(digits)
  }
}
