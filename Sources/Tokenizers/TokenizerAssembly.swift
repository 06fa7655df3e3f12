import ByteIO
import StrictJSON
import Tensors

/// Puts the entries of one tokenizer together, in the reference's order.
struct TokenizerAssembly {
  private let options: TokenizerOptions
  private let directory: TokenizerDirectory
  private var result = TokenizerMetadata()
  /// `vocab_size`, from the caller or from `config.json`.
  private let declaredCount: Int?

  init(directory path: String, options: TokenizerOptions) throws(FormatError) {
    self.options = options
    directory = try TokenizerDirectory(path: path)
    declaredCount = try directory.declaredCount(given: options.vocabularySize)
  }

  mutating func run() throws(FormatError) -> TokenizerMetadata {
    if options.architecture == "llama4" {
      if let model = try directory.openTokenizerModel(), try RankedTokens.isOne(model) {
        try readRanked(model)
      } else {
        try readByteLevel(try openTokenizerFile(orSay: "tokenizer.json"))
      }
    } else {
      try readLlama()
    }
    return result
  }

  /// The Llama family: any of the three kinds, and two exceptions by the size of the vocabulary.
  private mutating func readLlama() throws(FormatError) {
    try readSpacePrefix()
    if let model = try directory.openTokenizerModel() {
      if try RankedTokens.isOne(model) {
        try readRanked(model)
      } else {
        try readSentencePiece(model)
      }
    } else {
      let file = try openTokenizerFile(orSay: "tokenizer.model or tokenizer.json")
      let isLikeSentencePiece =
        file.model.type == "BPE" && file.model.hasByteFallback
        && file.decoder?["type"]?.string == "Sequence"
      if isLikeSentencePiece { try readByteFallback(file) } else { try readByteLevel(file) }
    }
    if declaredCount == 32016 { try addInfillTokens() }
    if declaredCount == 49152 { result.entries["tokenizer.ggml.add_bos_token"] = .bool(false) }
  }

  private mutating func readSpacePrefix() throws(FormatError) {
    let name = "tokenizer_config.json"
    guard let value = directory.tokenizerConfig?["add_prefix_space"], !value.isNull else { return }
    guard let flag = value.bool else {
      throw directory.error(
        name, "add_prefix_space", .outOfRange(found: "another value", allowed: "true or false"))
    }
    result.entries["tokenizer.ggml.add_space_prefix"] = .bool(flag)
  }

  // MARK: Kinds

  private mutating func readSentencePiece(_ file: PositionalFile) throws(FormatError) {
    let vocabulary = try Vocabulary(
      sentencePiece: SentencePieceModel(file), directory: directory,
      declaredCount: declaredCount, notes: &result.notes)
    write(vocabulary, model: "llama", preTokenizer: options.preTokenizer ?? "default")
    var tokenizerFile: TokenizerFile?
    if let json = try directory.open("tokenizer.json") {
      tokenizerFile = try TokenizerFile(json, readsVocabulary: false)
    }
    var special = try specialTokens(tokenizerFile, count: result.tokenCount)
    if directory.metaParameters != nil { special.setMetaDefaults(vocabulary, isByteLevel: false) }
    try write(special, normalizer: tokenizerFile?.normalizer)
  }

  /// Meta's byte-level tokenizer: ranks in a text file, special tokens by a fixed list.
  private mutating func readRanked(_ file: PositionalFile) throws(FormatError) {
    let ranked = try RankedTokens(file)
    let vocabulary = try Vocabulary(
      ranked, directory: directory, declaredCount: declaredCount, notes: &result.notes)
    write(
      vocabulary, model: "gpt2",
      preTokenizer: options.preTokenizer ?? MetaRelease(directory).preTokenizer)
    result.entries["tokenizer.ggml.merges"] = .array(.string(ranked.pairs().merges))
    var special = try specialTokens(nil, count: result.tokenCount)
    special.setMetaDefaults(vocabulary, isByteLevel: true)
    try write(special, normalizer: nil)
  }

  private mutating func readByteFallback(_ file: TokenizerFile) throws(FormatError) {
    let vocabulary = try Vocabulary(
      byteFallback: file, directory: directory, declaredCount: declaredCount,
      notes: &result.notes)
    write(vocabulary, model: "llama", preTokenizer: options.preTokenizer ?? "default")
    try write(
      specialTokens(file, count: result.tokenCount),
      normalizer: file.normalizer)
  }

  private mutating func readByteLevel(_ file: TokenizerFile) throws(FormatError) {
    let vocabulary = try Vocabulary(
      byteLevel: file, directory: directory, declaredCount: declaredCount, notes: &result.notes)
    guard !file.model.merges.isEmpty else {
      throw FormatError(file: file.path, field: "model.merges", reason: .missing("merges"))
    }
    let special = try specialTokens(file, count: vocabulary.tokens.count)
    write(vocabulary, model: "gpt2", preTokenizer: try preTokenizerName(file, special))
    result.entries["tokenizer.ggml.merges"] = .array(.string(file.model.merges))
    try write(special, normalizer: file.normalizer)
  }

  private mutating func openTokenizerFile(orSay wanted: String) throws(FormatError) -> TokenizerFile
  {
    if let file = try directory.open("tokenizer.json") {
      return try TokenizerFile(file, readsVocabulary: true)
    }
    if try directory.open("tekken.json") != nil {
      throw directory.error(
        "tekken.json", "tokenizer", .unsupported(found: "tekken.json alone", allowed: wanted),
        advice: "download tokenizer.json of the same model")
    }
    throw directory.error(
      "tokenizer.json", "tokenizer", .missing(wanted),
      advice: "download all files of the model, not its weights only")
  }

  private func preTokenizerName(_ file: TokenizerFile, _ special: SpecialTokens)
    throws(FormatError) -> String
  {
    if let name = options.preTokenizer { return name }
    let steps = try PreTokenizerSteps(file.preTokenizer, file: file.path)
    let traits = PreTokenizerTable.Traits(
      steps: steps, architecture: options.architecture,
      ignoresMerges: file.model.ignoresMerges, addsBOS: special.isAdded("bos") ?? false,
      hasToken: { text in
        file.declaredID(of: text) != nil || file.model.id(of: text.utf8) != nil
      })
    if steps.mapsBytes, let name = PreTokenizerTable.shared.name(for: traits) { return name }
    throw FormatError(
      file: file.path, field: "pre_tokenizer",
      reason: .unsupported(
        found: printable(steps.text),
        allowed: "the expressions in formats/tokenizers/pre-tokenizers.tsv"),
      advice: "if a known one splits alike, name it with --pre-tokenizer NAME")
  }

  // MARK: Entries

  private mutating func write(_ vocabulary: Vocabulary, model: String, preTokenizer: String) {
    result.tokenCount = vocabulary.tokens.count
    result.entries.setText("tokenizer.ggml.model", model)
    result.entries.setText("tokenizer.ggml.pre", preTokenizer)
    result.entries["tokenizer.ggml.tokens"] = .array(.string(vocabulary.tokens))
    if !vocabulary.scores.isEmpty {
      result.entries["tokenizer.ggml.scores"] = .array(.float32(vocabulary.scores))
    }
    result.entries["tokenizer.ggml.token_type"] = .array(.int32(vocabulary.kinds))
  }

  /// Metadata keys of the roles that have one; the others are not written.
  private static let idKeys = [
    "bos": "bos", "eos": "eos", "eot": "eot", "eom": "eom", "unk": "unknown",
    // Spelled so in the format.
    "sep": "seperator", "pad": "padding", "mask": "mask",
  ]

  private mutating func specialTokens(_ file: TokenizerFile?, count: Int)
    throws(FormatError) -> SpecialTokens
  {
    try SpecialTokens(
      file: file, directory: directory, tokenCount: count, notes: &result.notes)
  }

  private mutating func write(_ special: SpecialTokens, normalizer: JSONValue?) throws(FormatError)
  {
    for (role, id) in special.ids {
      guard let name = Self.idKeys[role] else { continue }
      result.entries["tokenizer.ggml.\(name)_token_id"] = .uint32(UInt32(id))
    }
    for (role, isAdded) in special.additions where ["bos", "eos", "sep"].contains(role) {
      result.entries["tokenizer.ggml.add_\(role)_token"] = .bool(isAdded)
    }
    if let template = options.chatTemplate {
      ChatTemplate.text(template).write(to: &result.entries)
    } else {
      try ChatTemplate.read(directory, notes: &result.notes)?.write(to: &result.entries)
    }
    if let normalizer { writeNormalizer(normalizer) }
  }

  private mutating func writeNormalizer(_ normalizer: JSONValue) {
    let lowercase = "tokenizer.ggml.normalizer.lowercase"
    let stripAccents = "tokenizer.ggml.normalizer.strip_accents"
    var flags: [String: Bool] = [:]
    func visit(_ node: JSONValue) {
      switch node["type"]?.string {
      case "Lowercase": flags[lowercase] = true
      case "StripAccents": flags[stripAccents] = true
      case "BertNormalizer":
        if let object = node.object, let value = object["lowercase"] {
          flags[lowercase] = value.bool
        }
        if let object = node.object, let value = object["strip_accents"] {
          flags[stripAccents] = value.bool
        }
      case "Sequence": for child in node["normalizers"]?.array ?? [] { visit(child) }
      default: break
      }
    }
    visit(normalizer)
    for key in [lowercase, stripAccents] {
      if let flag = flags[key] { result.entries[key] = .bool(flag) }
    }
  }

  /// Code Llama's tokens for filling in, which its files do not name.
  ///
  /// The archive has a key for the last of them only.
  private mutating func addInfillTokens() throws(FormatError) {
    var file: TokenizerFile?
    if let json = try directory.open("tokenizer.json") {
      file = try TokenizerFile(json, readsVocabulary: false)
    }
    var notes: [String] = []
    var special = try SpecialTokens(
      roles: ["prefix", "suffix", "middle", "eot"], file: file, directory: directory,
      tokenCount: result.tokenCount, notes: &notes)
    special.setDefault("eot", 32010)
    try write(special, normalizer: nil)
  }
}
