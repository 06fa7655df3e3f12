import ByteIO
import StrictJSON

/// The small files beside a tokenizer, and the place where all of them lie.
struct TokenizerDirectory {
  let path: String

  /// `tokenizer_config.json`; `nil` when absent.
  private(set) var tokenizerConfig: JSONObject?
  /// `config.json`; empty when absent.
  private(set) var modelConfig = JSONObject()
  /// `params.json` of Meta's own files; `nil` when absent.
  private(set) var metaParameters: JSONObject?

  static let configByteLimit: UInt64 = 16 << 20

  init(path: String) throws(FormatError) {
    self.path = path
    modelConfig = try readObject("config.json") ?? JSONObject()
    tokenizerConfig = try readObject("tokenizer_config.json")
    metaParameters = try readObject("params.json")
  }

  func file(_ name: String) -> String { path + "/" + name }

  /// Opens a file of the directory; `nil` when it is not there.
  func open(_ name: String) throws(FormatError) -> PositionalFile? {
    do {
      let file = try PositionalFile(file(name))
      try file.refuseGitPointer()
      return file
    } catch {
      guard case .fileNotFound = error.reason else { throw error }
      return nil
    }
  }

  /// Opens `tokenizer.model`; `nil` when it is not there, or when it is a text of ranks and the same
  /// tokenizer lies beside it as `tokenizer.json`, which says more.
  func openTokenizerModel() throws(FormatError) -> PositionalFile? {
    guard let model = try open("tokenizer.model") else { return nil }
    if try RankedTokens.isOne(model), try open("tokenizer.json") != nil { return nil }
    return model
  }

  /// Reads a small file whole; `nil` when it is not there.
  func readBytes(_ name: String, limit: UInt64 = configByteLimit) throws(FormatError)
    -> [UInt8]?
  {
    guard let file = try open(name) else { return nil }
    guard file.byteCount <= limit else {
      throw FormatError(
        file: file.path, field: name,
        reason: .outOfRange(found: "\(file.byteCount) bytes", allowed: "at most \(limit) bytes"))
    }
    let bytes = try file.read(at: 0, count: Int(file.byteCount), field: name)
    try file.checkUnchanged()
    return bytes
  }

  /// Reads a small JSON file whose document has to be an object; `nil` when it is not there.
  func readObject(_ name: String) throws(FormatError) -> JSONObject? {
    guard let bytes = try readBytes(name) else { return nil }
    guard let object = try JSONValue(parsing: bytes, file: file(name)).object else {
      throw FormatError(
        file: file(name), field: name,
        reason: .outOfRange(found: "another JSON value", allowed: "an object"))
    }
    return object
  }

  /// Reads a text file as the reference does: UTF-8, every line end made a line feed.
  func readText(_ name: String, limit: UInt64 = configByteLimit) throws(FormatError) -> String? {
    guard let bytes = try readBytes(name, limit: limit) else { return nil }
    var text: [UInt8] = []
    text.reserveCapacity(bytes.count)
    var afterReturn = false
    for byte in bytes {
      if byte == UInt8(ascii: "\n"), afterReturn {
        afterReturn = false
        continue
      }
      afterReturn = byte == UInt8(ascii: "\r")
      text.append(afterReturn ? UInt8(ascii: "\n") : byte)
    }
    guard let result = String(validating: text, as: UTF8.self) else {
      throw FormatError(
        file: file(name), field: name, reason: .malformed("text that is not valid UTF-8"))
    }
    return result
  }

  /// A member of `config.json`, or of its `text_config` where the root has none.
  func modelConfigValue(_ key: String) -> JSONValue? {
    let root = JSONValue.object(modelConfig)
    return root[key] ?? root["text_config"]?[key]
  }

  /// Whether tokens behind the vocabulary stand for a picture: the text model of Llama 3.2 Vision
  /// gives them no logit.
  var hasPictureToken: Bool { modelConfig["model_type"]?.string == "mllama" }

  /// The caller's count of tokens, or `vocab_size` of `config.json` or of `params.json`, where −1
  /// says nothing; checked.
  func declaredCount(given: Int?) throws(FormatError) -> Int? {
    var source = "config.json"
    var count = given ?? modelConfigValue("vocab_size")?.int
    if count == nil, let stated = metaParameters?["vocab_size"]?.int, stated != -1 {
      source = "params.json"
      count = stated
    }
    if let count, count < 1 || count > Vocabulary.countLimit {
      throw error(
        source, "vocab_size",
        .outOfRange(found: "\(count)", allowed: "1 to \(Vocabulary.countLimit)"))
    }
    return count
  }

  /// An error about a member of one of the small files.
  func error(_ name: String, _ field: String, _ reason: FormatError.Reason, advice: String? = nil)
    -> FormatError
  {
    FormatError(file: file(name), field: field, reason: reason, advice: advice)
  }
}
