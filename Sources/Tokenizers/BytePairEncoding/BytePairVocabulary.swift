import ByteIO
import StrictJSON
import Tensors

extension Vocabulary {
  /// Vocabulary of a byte-level `tokenizer.json`, padded to `declaredCount` where ids have no token.
  ///
  /// - Throws: `FormatError` when a token's id does not fit the declared vocabulary.
  init(
    byteLevel file: TokenizerFile, directory: TokenizerDirectory, declaredCount: Int?,
    notes: inout [String]
  ) throws(FormatError) {
    let rebuilt = TokenizerClass(directory, isByteLevel: true)
    let (loaded, _) = try Self.load(file, directory, rebuilt, limit: declaredCount, &notes)
    // An id far out fails below, before anything of its size is allocated.
    let count = declaredCount ?? min(loaded.end, Self.countLimit)
    let positions = try loaded.modelPositions(count: count, file: file.path)
    let decodes = ByteLevelText.isDecoder(file.decoder)
    tokens.reserveCapacity(stringCount: count, byteCount: loaded.model.tokens.bytes.count)
    for id in 0..<count {
      if let token = loaded.added[id] {
        // What is matched in plain text has to be written as plain text.
        let text =
          decodes && !token.isNormalized ? ByteLevelText.decode(token.content) : token.content
        if token.isSpecial || looksLikeControlToken(text) {
          append(Array(text.utf8), .control)
        } else {
          append(Array(withPlainSpaces(text).utf8), .userDefined)
        }
      } else if positions[id] >= 0 {
        append(loaded.model.tokens[Int(positions[id])], .normal)
      } else {
        append(Array(Self.paddingText(id).utf8), .unused)
      }
    }
    if let outside = loaded.added.keys.filter({ $0 >= count }).min() {
      throw FormatError(
        file: file.path, field: "added_tokens",
        reason: .outOfRange(found: "id \(outside)", allowed: "0 to \(count - 1)"),
        advice: "compare vocab_size in config.json")
    }
  }

  /// Vocabulary of a `tokenizer.json` with byte fallback, which SentencePiece models become.
  ///
  /// Scores are lost in that form; every token gets the same one and the archive's reader orders
  /// merges by it. Ids up to `declaredCount` without a token are padded, tokens from there on are
  /// left out with a note: an archive whose embedding has another count of rows could not be loaded.
  init(
    byteFallback file: TokenizerFile, directory: TokenizerDirectory, declaredCount: Int?,
    notes: inout [String]
  ) throws(FormatError) {
    let rebuilt = TokenizerClass(directory, isByteLevel: false)
    let (loaded, named) = try Self.load(file, directory, rebuilt, limit: nil, &notes)
    let baseCount = loaded.model.tokens.count
    let positions = try loaded.modelPositions(count: baseCount, file: file.path)
    let count = declaredCount ?? loaded.end
    if loaded.end > count {
      notes.append(
        "tokenizer.json: tokens from id \(count) on are left out, as vocab_size is \(count)")
    }
    tokens.reserveCapacity(stringCount: count, byteCount: loaded.model.tokens.bytes.count)
    for id in 0..<count {
      if id < baseCount {
        let text = loaded.model.tokens[Int(positions[id])]
        let isNamed = named.contains(String(decoding: text, as: UTF8.self))
        let kind: TokenKind = isByteToken(text) ? .byte : isNamed ? .control : .normal
        append(text, kind, score: Self.addedScore)
      } else if let token = loaded.added[id] {
        append(
          Array(token.content.utf8), named.contains(token.content) ? .control : .userDefined,
          score: Self.addedScore)
      } else {
        append(Array(Self.paddingText(id).utf8), .unused, score: Self.paddingScore)
      }
    }
  }

  /// Applies the configuration files to the tokenizer's own tokens.
  ///
  /// Special tokens that only a configuration names are left out from id `limit` on.
  static func load(
    _ file: TokenizerFile, _ directory: TokenizerDirectory, _ rebuilt: TokenizerClass,
    limit: Int?, _ notes: inout [String]
  ) throws(FormatError) -> (LoadedVocabulary, NamedSpecialTokens) {
    guard file.model.isBytePairEncoding else {
      throw FormatError(
        file: file.path, field: "model.type",
        reason: .unsupported(
          found: printable(file.model.type ?? "no type", limit: 80), allowed: "BPE"))
    }
    let named = try NamedSpecialTokens(directory, defaults: rebuilt.defaults)
    let decoder = try AddedToken.decoder(of: directory)
    var loaded = try LoadedVocabulary(
      file, startsWith: rebuilt.isRebuilt && decoder != nil ? [] : file.addedTokens)
    if let decoder {
      let source = directory.file("tokenizer_config.json")
      for token in decoder {
        try loaded.add(token, file: source, field: "added_tokens_decoder", notes: &notes)
      }
    } else {
      let source = directory.file("added_tokens.json")
      for token in try AddedToken.list(of: directory, isSpecial: named.contains)
      where loaded.added[token.id] == nil {
        try loaded.add(token, file: source, field: "added_tokens.json", notes: &notes)
      }
    }
    for (text, isNormalized) in named.tokens where !loaded.isAdded(text) {
      let id = loaded.nextID(for: text)
      if let limit, id >= limit {
        notes.append(
          "special token \"\(printable(text, limit: 80))\" is not in the vocabulary and is left out"
        )
        continue
      }
      var token = AddedToken(special: text, id: id)
      token.isNormalized = isNormalized
      loaded.insert(token)
    }
    if directory.hasPictureToken, let limit { loaded.dropAdded(from: limit, &notes) }
    return (loaded, named)
  }
}

/// Which class the checkpoint's tokenizer is loaded as, where that changes its tokens.
///
/// Of those we follow, two classes build the tokenizer anew from vocabulary and merges, and name
/// special tokens where the configuration does not. Every other class is taken to read
/// `tokenizer.json` as it is, which holds for the generic ones; `CodeLlamaTokenizer`, which would add
/// a token that no row of the embedding belongs to, is read so on purpose.
struct TokenizerClass {
  /// Added tokens come from `added_tokens_decoder` alone, if there is one.
  let isRebuilt: Bool
  let defaults: [String: String]

  init(_ directory: TokenizerDirectory, isByteLevel: Bool) {
    var name =
      directory.tokenizerConfig?["tokenizer_class"]?.string
      ?? directory.modelConfigValue("tokenizer_class")?.string ?? ""
    if name.hasSuffix("Fast") { name.removeLast(4) }
    let modelType = directory.modelConfig["model_type"]?.string ?? ""
    let isMistral =
      ["mistral", "mistral3", "ministral", "ministral3", "mixtral"].contains(modelType)
    switch name {
    case _ where isMistral: (isRebuilt, defaults) = (false, [:])
    case "LlamaTokenizer" where !isByteLevel:
      (isRebuilt, defaults) = (true, ["unk": "<unk>", "bos": "<s>", "eos": "</s>"])
    case "GPT2Tokenizer" where isByteLevel:
      let end = "<|endoftext|>"
      (isRebuilt, defaults) = (true, ["unk": end, "bos": end, "eos": end])
    default: (isRebuilt, defaults) = (false, [:])
    }
  }
}
