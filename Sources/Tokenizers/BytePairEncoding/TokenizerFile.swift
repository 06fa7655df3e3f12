import ByteIO
import StrictJSON
import Tensors

/// What a `tokenizer.json` says, with its vocabulary held as bytes.
///
///     added_tokens    [{id, content, special, normalized, …}]
///     normalizer      small trees, kept as they are
///     pre_tokenizer
///     post_processor
///     decoder
///     model           {type, byte_fallback, ignore_merges, vocab: {token: id}, merges}
///     merges          ["a b", …] or [["a", "b"], …]
///
/// The file is read by pulling: a vocabulary of 200,000 tokens costs its own bytes.
struct TokenizerFile {
  let path: String
  private(set) var addedTokens: [AddedToken] = []
  private(set) var normalizer: JSONValue?
  private(set) var preTokenizer: JSONValue?
  private(set) var postProcessor: JSONValue?
  private(set) var decoder: JSONValue?
  private(set) var model = BytePairModel()

  static let fileByteLimit: UInt64 = 256 << 20
  /// Largest of the small trees, in bytes of JSON.
  static let sectionByteLimit = 2 << 20

  /// Reads the file whole.
  ///
  /// Without `readsVocabulary`, vocabulary and merges are left out: a file beside a SentencePiece
  /// model has them too.
  init(_ file: PositionalFile, readsVocabulary: Bool) throws(FormatError) {
    path = file.path
    guard file.byteCount <= Self.fileByteLimit else {
      throw FormatError(
        file: path, field: "tokenizer.json",
        reason: .outOfRange(
          found: "\(file.byteCount) bytes", allowed: "at most \(Self.fileByteLimit) bytes"))
    }
    let bytes = try file.read(at: 0, count: Int(file.byteCount), field: "tokenizer.json")
    try file.checkUnchanged()
    var reader = JSONReader(bytes, file: path)
    var hasModel = false
    try reader.beginObject("tokenizer.json")
    while let key = try reader.nextKey("tokenizer.json") {
      switch key {
      case "added_tokens": try readAddedTokens(&reader)
      case "normalizer": normalizer = try reader.readSection(key, limit: Self.sectionByteLimit)
      case "pre_tokenizer": preTokenizer = try reader.readSection(key, limit: Self.sectionByteLimit)
      case "post_processor":
        postProcessor = try reader.readSection(key, limit: Self.sectionByteLimit)
      case "decoder": decoder = try reader.readSection(key, limit: Self.sectionByteLimit)
      case "model":
        hasModel = true
        if readsVocabulary {
          model = try BytePairModel(&reader)
        } else {
          try reader.skipLargeObjects("model")
        }
      default: try reader.skipLargeObjects(key)
      }
    }
    try reader.finish("tokenizer.json")
    guard hasModel else {
      throw FormatError(file: path, field: "model", reason: .missing("the model"))
    }
  }

  /// Id of the first added token with this text, as the file writes it.
  func declaredID(of content: String) -> Int? {
    addedTokens.first { $0.content.utf8.elementsEqual(content.utf8) }?.id
  }

  private mutating func readAddedTokens(_ reader: inout JSONReader) throws(FormatError) {
    if try reader.peek("added_tokens") == .null {
      try reader.readNull("added_tokens")
      return
    }
    var contents: Set<ExactString> = []
    var ids: Set<Int> = []
    try reader.beginArray("added_tokens")
    while try reader.nextElement("added_tokens") {
      let field = "added_tokens[\(addedTokens.count)]"
      let start = reader.position
      guard addedTokens.count < Vocabulary.countLimit else {
        throw reader.error(
          field, .outOfRange(found: "more", allowed: "at most \(Vocabulary.countLimit) tokens"))
      }
      guard let object = try reader.readSection(field, limit: Self.sectionByteLimit)?.object,
        let id = object["id"]?.int
      else {
        throw reader.error(field + ".id", .missing("a token id"), at: start)
      }
      let token = try AddedToken(object, id: id, file: path, field: field)
      guard contents.insert(ExactString(token.content)).inserted else {
        throw reader.error(
          field + ".content", .duplicate("token \"\(printable(token.content, limit: 80))\""),
          at: start)
      }
      guard ids.insert(id).inserted else {
        throw reader.error(field + ".id", .duplicate("id \(id)"), at: start)
      }
      addedTokens.append(token)
    }
  }
}

extension JSONReader {
  /// Reads a subtree of at most `limit` bytes; `nil` for null.
  mutating func readSection(_ field: String, limit: Int) throws(FormatError) -> JSONValue? {
    _ = try peek(field)
    var probe = self
    try probe.skipValue(field)
    guard probe.position - position <= limit else {
      throw error(
        field,
        .outOfRange(found: "\(probe.position - position) bytes", allowed: "at most \(limit) bytes"))
    }
    let value = try readValue(field)
    return value.isNull ? nil : value
  }

  /// Reads past one value without remembering the keys of its objects.
  mutating func skipLargeObjects(_ field: String) throws(FormatError) {
    switch try peek(field) {
    case .object:
      try beginObject(field, rejectingDuplicates: false)
      while try nextKey(field) != nil { try skipLargeObjects(field) }
    case .array:
      try beginArray(field)
      while try nextElement(field) { try skipLargeObjects(field) }
    default: try skipValue(field)
    }
  }
}
