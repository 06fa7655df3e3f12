import ByteIO
import StrictJSON
import Tensors

extension TokenEncoder {
  /// Reads the tokenizer of a checkpoint for encoding.
  ///
  /// `tokenizer.model` counts before `tokenizer.json`, as for the archive's metadata.
  ///
  /// - Parameters:
  ///   - directory: holds the tokenizer's files.
  ///   - vocabularySize: rows of the token embedding; `nil` takes `vocab_size` of `config.json` or
  ///     `params.json`.
  /// - Throws: `FormatError` naming file and field, also when the tokenizer does something that is
  ///   not known here: it is never left out in silence.
  package init(checkpoint directory: String, vocabularySize: Int?) throws(FormatError) {
    let files = try TokenizerDirectory(path: directory)
    let declaredCount = try files.declaredCount(given: vocabularySize)
    let isLlama4 =
      files.modelConfig["model_type"]?.string?.hasPrefix("llama4") ?? false
    if let model = try files.openTokenizerModel() {
      if try RankedTokens.isOne(model) {
        try self.init(ranked: model, files, declaredCount)
        return
      }
      if !isLlama4 {
        try self.init(sentencePiece: model, files, declaredCount)
        return
      }
    }
    guard let json = try files.open("tokenizer.json") else {
      throw files.error(
        "tokenizer.json", "tokenizer", .missing("tokenizer.model or tokenizer.json"),
        advice: "download all files of the model, not its weights only")
    }
    try self.init(json: TokenizerFile(json, readsVocabulary: true), files, declaredCount)
  }

  // MARK: SentencePiece

  private init(
    sentencePiece file: PositionalFile, _ files: TokenizerDirectory, _ declaredCount: Int?
  ) throws(FormatError) {
    let model = try SentencePieceModel(file)
    if model.modelType != 2 {
      throw FormatError(
        file: file.path, field: "tokenizer.model.trainer_spec.model_type",
        reason: .unsupported(found: "\(model.modelType)", allowed: "2, byte-pair encoding"))
    }
    if model.normalization.replacesCharacters {
      throw FormatError(
        file: file.path, field: "tokenizer.model.normalizer_spec.precompiled_charsmap",
        reason: .unsupported(found: "a table of characters", allowed: "the identity"))
    }
    var notes: [String] = []
    let vocabulary = try Vocabulary(
      sentencePiece: model, directory: files, declaredCount: declaredCount, notes: &notes)
    let special = try SpecialTokens(
      file: nil, directory: files, tokenCount: vocabulary.tokens.count, notes: &notes)
    var encoding = CheckpointEncoding(
      model: .sentencePiece(SentencePieceEncoder(model, limit: vocabulary.tokens.count)))
    let decoder = try AddedToken.decoder(of: files) ?? []
    let flags = Dictionary(decoder.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
    for id in 0..<vocabulary.tokens.count {
      let kind = vocabulary.kinds[id]
      let isSpecial = kind == TokenKind.control.rawValue || kind == TokenKind.unknown.rawValue
      guard isSpecial || kind == TokenKind.userDefined.rawValue else { continue }
      var token = flags[id] ?? AddedToken(special: vocabulary.tokens.text(id), id: id)
      token.isSpecial = isSpecial
      try encoding.addedTokens.insert(checked: token, file: file.path)
    }
    func control(_ text: String) -> Int? {
      model.pieces.indices.first {
        model.kinds[$0] == .control && model.pieces[$0].elementsEqual(text.utf8)
      }.flatMap { $0 < vocabulary.tokens.count ? $0 : nil }
    }
    self.init(
      encoding, pieces: vocabulary.sentencePieceTexts,
      bos: special.id("bos") ?? control("<s>"), eos: special.id("eos") ?? control("</s>"),
      addsBOS: special.isAdded("bos") ?? true, addsEOS: special.isAdded("eos") ?? false)
  }

  // MARK: Ranks

  private init(
    ranked file: PositionalFile, _ files: TokenizerDirectory, _ declaredCount: Int?
  ) throws(FormatError) {
    let ranked = try RankedTokens(file)
    var notes: [String] = []
    let vocabulary = try Vocabulary(
      ranked, directory: files, declaredCount: declaredCount, notes: &notes)
    var special = try SpecialTokens(
      file: nil, directory: files, tokenCount: vocabulary.tokens.count, notes: &notes)
    special.setMetaDefaults(vocabulary, isByteLevel: true)
    var encoding = CheckpointEncoding(
      model: .byteLevel(
        ByteLevelEncoder(
          ranked.pairs().vocabulary, rules: [MetaRelease(files).splitRule], ignoresMerges: true,
          world: .tokenizersLibrary)))
    for id in vocabulary.tokens.indices
    where vocabulary.kinds[id] == TokenKind.control.rawValue {
      try encoding.addedTokens.insert(
        checked: AddedToken(special: vocabulary.tokens.text(id), id: id), file: file.path)
    }
    self.init(
      encoding, pieces: vocabulary.byteLevelTexts, bos: special.id("bos"),
      eos: special.id("eos"), addsBOS: special.isAdded("bos") ?? true,
      addsEOS: special.isAdded("eos") ?? false)
  }

  // MARK: tokenizer.json

  private init(
    json file: TokenizerFile, _ files: TokenizerDirectory, _ declaredCount: Int?
  ) throws(FormatError) {
    let steps = try PreTokenizerSteps(file.preTokenizer, file: file.path)
    let isByteLevel = steps.mapsBytes
    var notes: [String] = []
    let vocabulary: Vocabulary
    if isByteLevel {
      vocabulary = try Vocabulary(
        byteLevel: file, directory: files, declaredCount: declaredCount, notes: &notes)
    } else {
      vocabulary = try Vocabulary(
        byteFallback: file, directory: files, declaredCount: declaredCount, notes: &notes)
    }
    let count = vocabulary.tokens.count
    let rebuilt = TokenizerClass(files, isByteLevel: isByteLevel)
    let (loaded, _) = try Vocabulary.load(file, files, rebuilt, limit: declaredCount, &notes)
    try Self.checkModel(file)

    var encoding = CheckpointEncoding(
      model: isByteLevel
        ? .byteLevel(try Self.byteLevel(file, steps, count))
        : .characters(try Self.characters(file, count), try Self.metaspace(file)))
    encoding.normalizer = try TextNormalizer(file.normalizer, file: file.path)
    for token in loaded.added.values.sorted(by: { $0.id < $1.id }) where token.id < count {
      if token.isNormalized {
        let text = encoding.normalizer.normalize(Array(token.content.utf8)[...])
        try encoding.normalizedTokens.insert(checked: token, text: text, file: file.path)
      } else {
        try encoding.addedTokens.insert(checked: token, file: file.path)
      }
    }
    let special = try SpecialTokens(
      file: file, directory: files, tokenCount: count, notes: &notes)
    // A tokenizer that is built anew gets its template anew, too.
    let adds = rebuilt.isRebuilt && !isByteLevel
    self.init(
      encoding, pieces: isByteLevel ? vocabulary.byteLevelTexts : vocabulary.sentencePieceTexts,
      bos: special.id("bos"), eos: special.id("eos"),
      addsBOS: special.isAdded("bos") ?? adds, addsEOS: special.isAdded("eos") ?? false)
  }

  private static func checkModel(_ file: TokenizerFile) throws(FormatError) {
    let model = file.model
    for (field, isThere) in [
      ("continuing_subword_prefix", !model.subwordPrefix.isEmpty),
      ("end_of_word_suffix", !model.wordSuffix.isEmpty), ("dropout", model.hasDropout),
    ] where isThere {
      throw FormatError(
        file: file.path, field: "model.\(field)",
        reason: .unsupported(found: "one", allowed: "none, for encoding"))
    }
  }

  private static func byteLevel(
    _ file: TokenizerFile, _ steps: PreTokenizerSteps, _ count: Int
  ) throws(FormatError) -> ByteLevelEncoder {
    var rules: [SplitRule] = []
    for step in steps.steps {
      guard let rule = SplitRule(step: step.string) else {
        throw FormatError(
          file: file.path, field: "pre_tokenizer",
          reason: .unsupported(
            found: printable(step.string),
            allowed: "for encoding, the splits of Llama 3 and 4, GPT-2, Qwen 2 and Tekken"))
      }
      rules.append(rule)
    }
    let addsSpace = try addsSpaceBefore(file, stepCount: rules.count)
    let model = file.model
    var pairs = PairVocabulary(tokenCount: model.tokens.count, mergeCount: model.merges.count)
    for (position, id) in model.ids.enumerated() where Int(id) < count {
      guard let bytes = ByteLevelText.bytes(of: model.tokens[position]) else { continue }
      _ = pairs.addToken(bytes, id: id)
    }
    pairs.addMerges(of: model) { ByteLevelText.bytes(of: $0) }
    let unknown = model.unknownToken.flatMap { model.id(of: $0.utf8) }
    return ByteLevelEncoder(
      pairs, rules: rules, ignoresMerges: model.ignoresMerges, addsSpace: addsSpace,
      unknownToken: unknown.flatMap { $0 < count ? Int32($0) : nil }, world: .tokenizersLibrary)
  }

  /// `add_prefix_space` of the step that maps bytes.
  private static func addsSpaceBefore(_ file: TokenizerFile, stepCount: Int) throws(FormatError)
    -> Bool
  {
    let root = file.preTokenizer
    let nodes = root?["pretokenizers"]?.array ?? [root].compactMap { $0 }
    let addsSpace = nodes.contains {
      $0["type"]?.string == "ByteLevel" && ($0["add_prefix_space"]?.bool ?? true)
    }
    guard !addsSpace || nodes.count == 1 else {
      throw FormatError(
        file: file.path, field: "pre_tokenizer.add_prefix_space",
        reason: .unsupported(found: "true after another step", allowed: "false"))
    }
    return addsSpace
  }

  private static func characters(_ file: TokenizerFile, _ count: Int) throws(FormatError)
    -> CharacterPairEncoder
  {
    let model = file.model
    var pairs = PairVocabulary(tokenCount: model.tokens.count, mergeCount: model.merges.count)
    for (position, id) in model.ids.enumerated() where Int(id) < count {
      _ = pairs.addToken(model.tokens[position], id: id)
    }
    pairs.addMerges(of: model) { Array($0) }
    return CharacterPairEncoder(
      pairs, ignoresMerges: model.ignoresMerges, hasByteFallback: model.hasByteFallback,
      unknownToken: model.unknownToken, fusesUnknown: model.fusesUnknown)
  }

  private static func metaspace(_ file: TokenizerFile) throws(FormatError) -> Metaspace? {
    guard let root = file.preTokenizer else { return nil }
    let nodes = root["pretokenizers"]?.array ?? [root]
    guard let node = nodes.first else { return nil }
    guard nodes.count == 1, node["type"]?.string == "Metaspace" else {
      throw FormatError(
        file: file.path, field: "pre_tokenizer",
        reason: .unsupported(
          found: printable(node["type"]?.string ?? "no type", limit: 80),
          allowed: "ByteLevel, Metaspace or none"))
    }
    return try Metaspace(node, file: file.path)
  }

  private init(
    _ encoding: CheckpointEncoding, pieces: StringTable, bos: Int?, eos: Int?, addsBOS: Bool,
    addsEOS: Bool
  ) {
    road = .checkpoint(encoding)
    self.pieces = pieces
    beginningOfText = bos.map { Int32($0) }
    endOfText = eos.map { Int32($0) }
    prefix = addsBOS ? [beginningOfText].compactMap { $0 } : []
    suffix = addsEOS ? [endOfText].compactMap { $0 } : []
  }
}

extension SplitRule {
  /// The scanner of a step of `PreTokenizerSteps`; `nil` when there is none.
  init?(step: String) {
    switch step {
    case "digits:individual": self = .digits
    case "bytelevel:split": self = .plain
    default:
      guard let rule = SplitRule.named(step) else { return nil }
      self = rule
    }
  }
}

extension PairVocabulary {
  /// Adds the merges of a `tokenizer.json`, each part by what `bytes` says that it stands for.
  mutating func addMerges(of model: BytePairModel, _ bytes: (ArraySlice<UInt8>) -> [UInt8]?) {
    var spaced = model.mergesWithSpaces[...]
    for rank in model.merges.indices {
      if spaced.first == rank {
        // Its text has a plain space, which no text has that comes to the merges.
        spaced.removeFirst()
        continue
      }
      let merge = model.merges[rank]
      guard let space = merge.firstIndex(of: UInt8(ascii: " ")),
        let left = bytes(merge[..<space]), let right = bytes(merge[(space + 1)...])
      else { continue }
      addMerge(left, right, rank: rank, replaces: true)
    }
  }
}

extension AddedTokenSplitter {
  /// Adds a token after a look at its length.
  mutating func insert(
    checked token: AddedToken, text: ArraySlice<UInt8>? = nil, file: String
  ) throws(FormatError) {
    let text = text ?? Array(token.content.utf8)[...]
    guard text.count <= TextMatcher.textByteLimit else {
      throw FormatError(
        file: file, field: "added token \(token.id)",
        reason: .outOfRange(
          found: "\(text.count) bytes", allowed: "at most \(TextMatcher.textByteLimit) bytes"))
    }
    insert(token, text: text)
  }
}

extension Vocabulary {
  /// What each token of a SentencePiece vocabulary stands for.
  var sentencePieceTexts: StringTable {
    var texts = StringTable()
    for id in tokens.indices {
      texts.append(
        sentencePieceBytes(tokens[id], isByte: kinds[id] == TokenKind.byte.rawValue))
    }
    return texts
  }

  /// What each token of a byte-level vocabulary stands for.
  var byteLevelTexts: StringTable {
    var texts = StringTable()
    for id in tokens.indices {
      let bytes =
        kinds[id] == TokenKind.normal.rawValue ? ByteLevelText.bytes(of: tokens[id]) : nil
      texts.append(bytes ?? Array(tokens[id]))
    }
    return texts
  }
}
