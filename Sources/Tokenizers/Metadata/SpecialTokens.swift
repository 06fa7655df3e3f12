import ByteIO
import StrictJSON

/// Ids of special tokens, and which of them a prompt starts or ends with.
///
/// The reference looks in this order, and the first answer counts: the role's text in
/// `tokenizer_config.json`, found among the added tokens of `tokenizer.json`; then
/// `<role>_token_id` in `config.json`. Whether a prompt gets the token is read from the
/// tokenizer's `post_processor` first, then from `add_<role>_token`.
/// Source: formats/tokenizers/README.md
struct SpecialTokens {
  /// Order of insertion is the order in which the archive lists them.
  private(set) var ids: [(role: String, id: Int)] = []
  private(set) var additions: [(role: String, isAdded: Bool)] = []

  /// Roles that are looked for; a template that ends with another token than `eos` adds some.
  private var roles: [String]
  private let tokenCount: Int

  init(
    roles: [String] = NamedSpecialTokens.roles, file: TokenizerFile?,
    directory: TokenizerDirectory, tokenCount: Int, notes: inout [String]
  ) throws(FormatError) {
    self.roles = roles
    self.tokenCount = tokenCount
    var config = directory.tokenizerConfig
    // An empty object counts as no file.
    if config?.members.isEmpty == true { config = nil }
    if let file { try readPostProcessor(file, &config) }
    if let config { try readTokenizerConfig(config, file, directory, &notes) }
    try readModelConfig(directory, &notes)
  }

  func id(_ role: String) -> Int? { ids.first { $0.role == role }?.id }
  func isAdded(_ role: String) -> Bool? { additions.first { $0.role == role }?.isAdded }

  /// Sets an id that no file gave.
  mutating func setDefault(_ role: String, _ id: Int) {
    if self.id(role) == nil { ids.append((role, id)) }
  }

  /// Sets what Meta's own programs do, where no other file says something: a prompt starts with the
  /// beginning of text and has no token at its end.
  mutating func setMetaDefaults(_ vocabulary: Vocabulary, isByteLevel: Bool) {
    let texts = [
      ("bos", ["<|begin_of_text|>", "<s>"]), ("eos", ["<|end_of_text|>", "</s>"]),
      ("eot", ["<|eot_id|>", "<|eot|>"]), ("eom", ["<|eom_id|>", "<|eom|>"]),
    ]
    for (role, spellings) in texts where id(role) == nil {
      let found = vocabulary.kinds.indices.first { id in
        vocabulary.kinds[id] == TokenKind.control.rawValue
          && spellings.contains { vocabulary.tokens[id].elementsEqual($0.utf8) }
      }
      if let found { setDefault(role, found) }
    }
    var additions = [("bos", true), ("eos", false)]
    // As for the same tokenizer's `tokenizer.json`, whose template says so.
    if isByteLevel { additions.append(("sep", false)) }
    for (role, isAdded) in additions where self.isAdded(role) == nil {
      setAddition(role, isAdded)
    }
  }

  private mutating func setAddition(_ role: String, _ isAdded: Bool) {
    if let index = additions.firstIndex(where: { $0.role == role }) {
      additions[index].isAdded = isAdded
    } else {
      additions.append((role, isAdded))
    }
  }

  private mutating func set(
    _ role: String, _ id: Int, _ directory: TokenizerDirectory, _ source: (String, String),
    _ notes: inout [String]
  ) throws(FormatError) {
    if id == -1 {
      // Old configurations write -1 where there is no such token.
      notes.append("\(source.0): \(source.1) is -1 and is left out")
      return
    }
    guard id >= 0 else {
      throw directory.error(
        source.0, source.1, .outOfRange(found: "\(id)", allowed: "0 to \(tokenCount - 1)"))
    }
    guard id < tokenCount else {
      // The reference writes it, and programs that load the archive warn and go on without it.
      notes.append("\(source.0): \(source.1) \(id) is outside the vocabulary and is left out")
      return
    }
    setDefault(role, id)
  }

  // MARK: Sources

  private mutating func readTokenizerConfig(
    _ config: JSONObject, _ file: TokenizerFile?, _ directory: TokenizerDirectory,
    _ notes: inout [String]
  ) throws(FormatError) {
    for role in roles {
      if let flag = config["add_\(role)_token"]?.bool, isAdded(role) == nil {
        setAddition(role, flag)
      }
      let entry = config["\(role)_token"]
      guard let text = entry?.string ?? entry?["content"]?.string,
        let id = file?.declaredID(of: text)
      else { continue }
      try set(role, id, directory, ("tokenizer.json", "id of \(role)_token"), &notes)
    }
  }

  private mutating func readModelConfig(
    _ directory: TokenizerDirectory, _ notes: inout [String]
  ) throws(FormatError) {
    for role in roles {
      // A list of ids, as some configurations give for eos, says nothing here.
      guard let id = directory.modelConfigValue("\(role)_token_id")?.int else { continue }
      try set(role, id, directory, ("config.json", "\(role)_token_id"), &notes)
    }
  }
}

// MARK: Post-processors

extension SpecialTokens {
  /// Texts of roles while the post-processor is read.
  ///
  /// They are JSON values, since a token given as an object is not equal to its text, and the
  /// reference goes by that.
  private struct RoleTexts {
    var bos, eos, cls, sep: JSONValue?
  }

  private mutating func readPostProcessor(_ file: TokenizerFile, _ config: inout JSONObject?)
    throws(FormatError)
  {
    var texts = RoleTexts(
      bos: truthy(config?["bos_token"]), eos: truthy(config?["eos_token"]),
      cls: truthy(config?["cls_token"]), sep: truthy(config?["sep_token"]))
    if texts.bos == nil, let cls = texts.cls {
      texts.bos = cls
      config?.set("bos_token", cls)
    }
    if texts.eos == nil, let sep = texts.sep {
      texts.eos = sep
      config?.set("eos_token", sep)
    }
    guard let root = file.postProcessor else { return }
    for processor in root["processors"]?.array ?? [root] {
      switch processor["type"]?.string {
      case "ByteLevel":
        if isAdded("bos") == nil { setAddition("bos", false) }
        if isAdded("eos") == nil { setAddition("eos", false) }
      case "RobertaProcessing":
        for role in ["bos", "eos", "sep"] { setAddition(role, true) }
        if texts.cls == nil, config != nil, let cls = processor["cls"]?.array?.first ?? texts.bos {
          texts.cls = cls
          config?.set("cls_token", cls)
        }
        if texts.sep == nil, config != nil, let sep = processor["sep"]?.array?.first ?? texts.eos {
          texts.sep = sep
          config?.set("sep_token", sep)
        }
      case "TemplateProcessing":
        try readTemplate(processor, file, &texts, &config)
      default: break
      }
    }
  }

  private mutating func readTemplate(
    _ processor: JSONValue, _ file: TokenizerFile, _ texts: inout RoleTexts,
    _ config: inout JSONObject?
  ) throws(FormatError) {
    let single = try pieces(processor, "single", file)
    var first: JSONValue?
    var last: JSONValue?
    if single.count > 1 {
      first = special(single.first)
      last = special(single.last)
      if let first { readFirst(first, &texts, &config) }
      if let last { readLast(last, &texts, &config) }
    }
    var pair = try pieces(processor, "pair", file)[...]
    if pair.isEmpty { return }
    let startsAlike = first != nil && special(pair.first) == first
    let endsAlike = last != nil && special(pair.last) == last
    if startsAlike { pair = pair.dropFirst() }
    if endsAlike { pair = pair.dropLast() }
    guard pair.first?["Sequence"]?["id"]?.string == "A",
      pair.last?["Sequence"]?["id"]?.string == "B"
    else { return }
    let middle = Array(pair.dropFirst().dropLast())
    guard let separator = middle.first else { return }
    func isSeparator(_ piece: JSONValue) -> Bool {
      guard let text = special(piece) else { return false }
      return text == texts.sep || text == texts.eos
    }
    var isAdded = isSeparator(separator) && last == nil
    if middle.count == 2, isSeparator(middle[1]) { isAdded = true }
    setAddition("sep", isAdded)
    if isAdded, texts.sep == nil, let eos = texts.eos { config?.set("sep_token", eos) }
  }

  /// The token before the text: the prompt begins with it.
  private mutating func readFirst(
    _ first: JSONValue, _ texts: inout RoleTexts, _ config: inout JSONObject?
  ) {
    if config == nil {
      texts.bos = first
    } else if first != texts.bos, first != texts.cls {
      if texts.bos == nil {
        texts.bos = first
        config?.set("bos_token", first)
      }
      if texts.cls == nil {
        texts.cls = first
        config?.set("cls_token", first)
      }
    }
    setAddition("bos", first == texts.bos || first == texts.cls)
  }

  /// The token after the text.
  ///
  /// It takes the role of `eos`; the former one becomes end of turn.
  private mutating func readLast(
    _ last: JSONValue, _ texts: inout RoleTexts, _ config: inout JSONObject?
  ) {
    if config == nil {
      texts.eos = last
    } else if last != texts.eos {
      for role in ["eot", "eom"] where !roles.contains(role) {
        roles.append(role)
        config?.set("\(role)_token", texts.eos ?? .null)
        break
      }
      texts.eos = last
      config?.set("eos_token", last)
    }
    setAddition("eos", last == texts.eos)
  }

  private func pieces(_ processor: JSONValue, _ name: String, _ file: TokenizerFile)
    throws(FormatError) -> [JSONValue]
  {
    guard let value = processor[name] else { return [] }
    guard let pieces = value.array, pieces.allSatisfy({ $0.object != nil }) else {
      throw FormatError(
        file: file.path, field: "post_processor.\(name)",
        reason: .outOfRange(found: "another value", allowed: "a list of objects"))
    }
    return pieces
  }

  private func special(_ piece: JSONValue?) -> JSONValue? {
    truthy(piece?["SpecialToken"]?["id"])
  }

  /// The value, unless it is one that stands for "not given".
  private func truthy(_ value: JSONValue?) -> JSONValue? {
    switch value {
    case .null, .bool(false), .string(""): nil
    case .array(let values) where values.isEmpty: nil
    case .object(let object) where object.members.isEmpty: nil
    default: value
    }
  }
}
