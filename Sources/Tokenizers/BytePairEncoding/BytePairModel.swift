import ByteIO
import StrictJSON
import Tensors

/// The `model` member of a `tokenizer.json`: tokens with their ids, and merges in order of rank.
struct BytePairModel {
  /// `BPE` here; `nil` in files that older versions wrote.
  private(set) var type: String?
  private(set) var hasByteFallback = false
  private(set) var ignoresMerges = false
  /// In the order of the file.
  private(set) var tokens = StringTable()
  private(set) var ids: [Int32] = []
  private(set) var index = TokenIndex()
  /// Each "left right", with a space inside either part written as U+0120.
  private(set) var merges = StringTable()

  /// Merges with a space inside a part, which are not checked against the vocabulary.
  private(set) var mergesWithSpaces: [Int] = []
  private var hasVocabulary = false

  // What an encoder asks.
  private(set) var subwordPrefix = ""
  private(set) var wordSuffix = ""
  private(set) var unknownToken: String?
  private(set) var fusesUnknown = false
  /// Whether merges are left out at random, as in training.
  private(set) var hasDropout = false

  var isBytePairEncoding: Bool {
    hasVocabulary && (type == "BPE" || type == nil && !merges.isEmpty)
  }

  init() {}

  init(_ reader: inout JSONReader) throws(FormatError) {
    try reader.beginObject("model")
    while let key = try reader.nextKey("model") {
      switch key {
      case "type": type = try reader.readOptionalString("model.type")
      case "byte_fallback":
        hasByteFallback = try reader.readOptionalBool("model.byte_fallback") ?? false
      case "ignore_merges":
        ignoresMerges = try reader.readOptionalBool("model.ignore_merges") ?? false
      case "continuing_subword_prefix":
        subwordPrefix = try reader.readOptionalString("model.continuing_subword_prefix") ?? ""
      case "end_of_word_suffix":
        wordSuffix = try reader.readOptionalString("model.end_of_word_suffix") ?? ""
      case "unk_token": unknownToken = try reader.readOptionalString("model.unk_token")
      case "fuse_unk": fusesUnknown = try reader.readOptionalBool("model.fuse_unk") ?? false
      case "dropout":
        hasDropout =
          try reader.readSection("model.dropout", limit: 64)?.double.map { $0 != 0 } ?? false
      case "vocab" where try reader.peek("model.vocab") == .object: try readVocabulary(&reader)
      case "merges" where try reader.peek("model.merges") == .array: try readMerges(&reader)
      default: try reader.skipLargeObjects("model.\(printable(key, limit: 40))")
      }
    }
    if isBytePairEncoding { try checkMerges(reader) }
  }

  /// Id of the token with these bytes.
  func id(of text: some Collection<UInt8>) -> Int? {
    let bytes = Array(text)
    return index.position(of: bytes[...], in: tokens).map { Int(ids[$0]) }
  }

  private mutating func readVocabulary(_ reader: inout JSONReader) throws(FormatError) {
    let field = "model.vocab"
    hasVocabulary = true
    // The index finds duplicates; the reader would keep every key a second time.
    try reader.beginObject(field, rejectingDuplicates: false)
    while let key = try reader.nextKey(field) {
      let text = key.utf8
      guard tokens.count < Vocabulary.countLimit else {
        throw reader.error(
          field, .outOfRange(found: "more", allowed: "at most \(Vocabulary.countLimit) tokens"))
      }
      guard text.count <= Vocabulary.tokenByteLimit else {
        throw reader.error(
          field,
          .outOfRange(
            found: "a token of \(text.count) bytes",
            allowed: "at most \(Vocabulary.tokenByteLimit) bytes"))
      }
      tokens.append(text)
      guard index.insert(tokens.count - 1, in: tokens) else {
        throw reader.error(field, .duplicate("token \"\(printable(key, limit: 80))\""))
      }
      let start = reader.position
      let id = try reader.readInt(field)
      guard id >= 0, id < Int(Int32.max) else {
        throw reader.error(
          field, .outOfRange(found: "id \(id)", allowed: "0 to \(Int32.max)"), at: start)
      }
      ids.append(Int32(id))
    }
  }

  private mutating func readMerges(_ reader: inout JSONReader) throws(FormatError) {
    let field = "model.merges"
    let space = UInt8(ascii: " ")
    var pair: [UInt8] = []
    var kind: JSONReader.Kind?
    try reader.beginArray(field)
    while try reader.nextElement(field) {
      let start = reader.position
      let found = try reader.peek(field)
      guard kind == nil || kind == found, found == .string || found == .array else {
        throw reader.error(
          "\(field)[\(merges.count)]",
          .outOfRange(found: found.rawValue, allowed: "all strings, or all pairs of strings"))
      }
      guard merges.count < Vocabulary.countLimit else {
        throw reader.error(
          field, .outOfRange(found: "more", allowed: "at most \(Vocabulary.countLimit) merges"))
      }
      kind = found
      pair.removeAll(keepingCapacity: true)
      if found == .string {
        try reader.readStringBytes(appendingTo: &pair, field)
        guard pair.count(where: { $0 == space }) == 1 else {
          throw reader.error(
            "\(field)[\(merges.count)]", .malformed("not two parts with one space between"),
            at: start)
        }
      } else {
        try readPair(&reader, &pair)
      }
      merges.append(pair)
    }
  }

  /// Reads `["left", "right"]`.
  private mutating func readPair(_ reader: inout JSONReader, _ pair: inout [UInt8])
    throws(FormatError)
  {
    let field = "model.merges"
    var partCount = 0
    var hasSpace = false
    var part: [UInt8] = []
    try reader.beginArray(field)
    while try reader.nextElement(field) {
      part.removeAll(keepingCapacity: true)
      try reader.readStringBytes(appendingTo: &part, field)
      partCount += 1
      guard partCount <= 2 else { break }
      if partCount == 2 { pair.append(UInt8(ascii: " ")) }
      for byte in part {
        if byte == UInt8(ascii: " ") {
          hasSpace = true
          pair.append(contentsOf: "\u{120}".utf8)
        } else {
          pair.append(byte)
        }
      }
    }
    guard partCount == 2 else {
      throw reader.error(
        "\(field)[\(merges.count)]",
        .outOfRange(found: partCount > 2 ? "more" : "\(partCount) parts", allowed: "two strings"))
    }
    if hasSpace { mergesWithSpaces.append(merges.count) }
  }

  /// Checks that both parts of every merge and their sum are tokens.
  private func checkMerges(_ reader: JSONReader) throws(FormatError) {
    guard subwordPrefix.isEmpty else { return }
    var unchecked = mergesWithSpaces[...]
    var sum: [UInt8] = []
    for rank in merges.indices {
      if unchecked.first == rank {
        unchecked.removeFirst()
        continue
      }
      let merge = merges[rank]
      guard let space = merge.firstIndex(of: UInt8(ascii: " ")) else { continue }
      sum.removeAll(keepingCapacity: true)
      sum.append(contentsOf: merge[..<space])
      sum.append(contentsOf: merge[(space + 1)...])
      for text in [merge[..<space], merge[(space + 1)...], sum[...]]
      where index.position(of: text, in: tokens) == nil {
        throw FormatError(
          file: reader.file, field: "model.merges[\(rank)]",
          reason: .inconsistent(
            "\"\(printable(String(decoding: text, as: UTF8.self), limit: 80))\" is no token"))
      }
    }
  }
}

extension JSONReader {
  /// Reads a string; `nil` for null.
  fileprivate mutating func readOptionalString(_ field: String) throws(FormatError) -> String? {
    try readsNull(field) ? nil : try readString(field)
  }

  /// Reads a truth value; `nil` for null.
  fileprivate mutating func readOptionalBool(_ field: String) throws(FormatError) -> Bool? {
    try readsNull(field) ? nil : try readBool(field)
  }

  private mutating func readsNull(_ field: String) throws(FormatError) -> Bool {
    guard try peek(field) == .null else { return false }
    try readNull(field)
    return true
  }
}
