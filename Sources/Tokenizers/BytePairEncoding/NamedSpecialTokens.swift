import ByteIO
import StrictJSON

/// The tokens that configuration files call special by role or by list.
///
/// A tokenizer that is loaded with such a configuration gives each of them an id, if it has none,
/// and matches it as a whole. Source: formats/tokenizers/README.md
struct NamedSpecialTokens {
  /// In the order in which ids are given out; texts are unique.
  private(set) var tokens: [(text: String, isNormalized: Bool)] = []
  private var texts: Set<ExactString> = []

  /// Roles that every tokenizer has, in the reference's order.
  static let roles = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"]

  /// Collects the tokens; `defaults` has the text for a role that no file names.
  init(_ directory: TokenizerDirectory, defaults: [String: String]) throws(FormatError) {
    var config = directory.tokenizerConfig ?? JSONObject()
    if config["added_tokens_decoder"] == nil,
      let map = try directory.readObject("special_tokens_map.json")
    {
      for (key, value) in map.members { config.set(key, value) }
    }
    for role in Self.roles {
      if let value = config[role + "_token"] {
        insert(value)
      } else if let text = defaults[role] {
        insert(.string(text))
      }
    }
    let roleKeys = Set(Self.roles.map { $0 + "_token" })
    for (key, value) in config.members
    where key.hasSuffix("_token") && !roleKeys.contains(key) && value.string != nil {
      insert(value)
    }
    var extra = config["extra_special_tokens"]
    if isEmpty(extra) { extra = config["additional_special_tokens"] }
    for value in extra?.array ?? [] { insert(value) }
    for (_, value) in extra?.object?.members ?? [] { insert(value) }
  }

  func contains(_ text: String) -> Bool { texts.contains(ExactString(text)) }

  private func isEmpty(_ value: JSONValue?) -> Bool {
    (value?.array?.isEmpty ?? true) && (value?.object?.members.isEmpty ?? true)
  }

  private mutating func insert(_ value: JSONValue) {
    guard let text = value.string ?? value["content"]?.string, !text.isEmpty else { return }
    guard texts.insert(ExactString(text)).inserted else { return }
    tokens.append((text, value["normalized"]?.bool ?? false))
  }
}
