import ByteIO
import Tensors

extension TokenEncoder {
  /// Reads the tokenizer of an archive for encoding.
  ///
  /// - Parameters:
  ///   - metadata: the archive's key-value pairs.
  ///   - file: path for errors.
  /// - Throws: `FormatError` naming the key.
  package init(archive metadata: Metadata, file: String) throws(FormatError) {
    let keys = ArchiveTokenizerKeys(metadata, file: file)
    let model = try keys.text("tokenizer.ggml.model")
    let tokens = try keys.tokens()
    let kinds = try keys.kinds(count: tokens.count)
    let attributes = ArchiveTokenKinds(tokens, kinds, keys)

    var splitter = ArchiveTokenSplitter()
    for id in tokens.indices where attributes.isSpecial[id] {
      guard tokens[id].count <= TextMatcher.textByteLimit else {
        throw keys.error(
          "tokenizer.ggml.tokens[\(id)]",
          .outOfRange(
            found: "a special token of \(tokens[id].count) bytes",
            allowed: "at most \(TextMatcher.textByteLimit) bytes"))
      }
      splitter.insert(tokens[id], id: Int32(id), isControl: attributes.isControl[id])
    }

    let encoding: ArchiveEncoding.Model
    var pieces = StringTable()
    var adds: (bos: Bool, eos: Bool)
    var ids: (bos: Int?, eos: Int?)
    switch model {
    case "llama":
      adds = (true, false)
      ids = (1, 2)
      let texts = try keys.table(tokens)
      let unknown = keys.id("unknown", count: tokens.count) ?? 0
      encoding = .scored(
        ArchiveScoredEncoder(
          texts: texts, scores: try keys.scores(count: tokens.count),
          unknownToken: Int32(unknown)),
        addsSpace: keys.flag("tokenizer.ggml.add_space_prefix") ?? true)
      for id in tokens.indices {
        pieces.append(sentencePieceBytes(tokens[id], isByte: kinds[id] == TokenKind.byte.rawValue))
      }
    case "gpt2":
      let name = try keys.text("tokenizer.ggml.pre")
      guard let habits = ArchivePreTokenizer(name) else {
        throw keys.error(
          "tokenizer.ggml.pre",
          .unsupported(
            found: printable(name, limit: 80), allowed: ArchivePreTokenizer.names))
      }
      adds = (habits.addsBOS, false)
      ids = (11, 11)
      encoding = .byteLevel(
        ByteLevelEncoder(
          try keys.pairs(tokens), rules: habits.rules, ignoresMerges: habits.ignoresMerges,
          world: .archive))
      for id in tokens.indices {
        let isPlain = !attributes.isSpecial[id]
        pieces.append((isPlain ? ByteLevelText.bytes(of: tokens[id]) : nil) ?? Array(tokens[id]))
      }
    default:
      throw keys.error(
        "tokenizer.ggml.model",
        .unsupported(found: printable(model, limit: 80), allowed: "llama, gpt2"))
    }
    ids.bos =
      keys.id("bos", count: tokens.count) ?? ids.bos.flatMap { $0 < tokens.count ? $0 : nil }
    ids.eos =
      keys.id("eos", count: tokens.count) ?? ids.eos.flatMap { $0 < tokens.count ? $0 : nil }
    adds.bos = keys.flag("tokenizer.ggml.add_bos_token") ?? adds.bos
    adds.eos = keys.flag("tokenizer.ggml.add_eos_token") ?? adds.eos

    road = .archive(ArchiveEncoding(specialTokens: splitter, model: encoding))
    self.pieces = pieces
    beginningOfText = ids.bos.map { Int32($0) }
    endOfText = ids.eos.map { Int32($0) }
    prefix = adds.bos ? [beginningOfText].compactMap { $0 } : []
    suffix = adds.eos ? [endOfText].compactMap { $0 } : []
  }
}
