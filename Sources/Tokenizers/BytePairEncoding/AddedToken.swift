import ByteIO
import StrictJSON

/// A token that is matched as a whole before the text is split, with the id that its file gives it.
struct AddedToken: Hashable {
  var content: String
  var id: Int
  var isSpecial: Bool
  /// Whether it is matched after the text was normalized; by default special tokens are not.
  var isNormalized: Bool
  /// Whether it is matched only where no letter or digit touches it.
  var isSingleWord = false
  /// Whether white space before it, or after it, belongs to it.
  var stripsLeft = false
  var stripsRight = false

  /// Reads the members that matter here.
  ///
  /// - Throws: `FormatError` when `content` is missing or a member has the wrong type.
  init(_ object: JSONObject, id: Int, file: String, field: String) throws(FormatError) {
    func flag(_ name: String) throws(FormatError) -> Bool? {
      guard let value = object[name], !value.isNull else { return nil }
      guard let flag = value.bool else {
        throw FormatError(
          file: file, field: "\(field).\(name)",
          reason: .outOfRange(found: "another value", allowed: "true or false"))
      }
      return flag
    }
    guard let content = object["content"]?.string else {
      throw FormatError(file: file, field: "\(field).content", reason: .missing("a string"))
    }
    guard content.utf8.count <= Vocabulary.tokenByteLimit else {
      throw FormatError(
        file: file, field: "\(field).content",
        reason: .outOfRange(
          found: "\(content.utf8.count) bytes", allowed: "at most \(Vocabulary.tokenByteLimit)"))
    }
    guard id >= 0, id <= Int(Int32.max) else {
      throw FormatError(
        file: file, field: field,
        reason: .outOfRange(found: "id \(id)", allowed: "0 to \(Int32.max)"))
    }
    self.content = content
    self.id = id
    isSpecial = try flag("special") ?? false
    isNormalized = try flag("normalized") ?? !isSpecial
    isSingleWord = try flag("single_word") ?? false
    stripsLeft = try flag("lstrip") ?? false
    stripsRight = try flag("rstrip") ?? false
  }

  /// The tokens of `added_tokens_decoder` in `tokenizer_config.json`, by id; `nil` without one.
  static func decoder(of directory: TokenizerDirectory) throws(FormatError) -> [AddedToken]? {
    let name = "tokenizer_config.json"
    guard let value = directory.tokenizerConfig?["added_tokens_decoder"] else { return nil }
    guard let members = value.object?.members else {
      throw directory.error(
        name, "added_tokens_decoder",
        .outOfRange(found: "another value", allowed: "an object"))
    }
    var tokens: [AddedToken] = []
    var ids: Set<Int> = []
    for (key, value) in members {
      let field = "added_tokens_decoder[\(printable(key, limit: 40))]"
      guard let id = Int(key), let object = value.object else {
        throw directory.error(
          name, field, .outOfRange(found: "another value", allowed: "an object named by an id"))
      }
      guard ids.insert(id).inserted else {
        throw directory.error(name, field, .duplicate("id \(id)"))
      }
      tokens.append(
        try AddedToken(object, id: id, file: directory.file(name), field: field))
    }
    return tokens.sorted { $0.id < $1.id }
  }
}

extension AddedToken {
  /// The tokens of `added_tokens.json`, `{text: id}`, by id; empty without that file.
  ///
  /// That file does not say which are special: another one may, and `isSpecial` asks it.
  static func list(
    of directory: TokenizerDirectory, isSpecial: (String) -> Bool = { _ in false }
  ) throws(FormatError) -> [AddedToken] {
    let name = "added_tokens.json"
    var tokens: [AddedToken] = []
    for (text, value) in try directory.readObject(name)?.members ?? [] {
      let field = printable(text, limit: 80)
      guard let id = value.int, id >= 0, id <= Int(Int32.max) else {
        throw directory.error(
          name, field, .outOfRange(found: "another value", allowed: "a token id"))
      }
      var token = AddedToken(special: text, id: id)
      token.isSpecial = isSpecial(text)
      token.isNormalized = !token.isSpecial
      tokens.append(token)
    }
    return tokens.sorted { $0.id < $1.id }
  }

  /// A special token that a configuration names.
  init(special content: String, id: Int) {
    self.content = content
    self.id = id
    isSpecial = true
    isNormalized = false
  }
}
