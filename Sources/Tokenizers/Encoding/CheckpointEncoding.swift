/// The way from a text to tokens that a checkpoint's files describe.
struct CheckpointEncoding: Sendable {
  enum Model: Sendable {
    case byteLevel(ByteLevelEncoder)
    case characters(CharacterPairEncoder, Metaspace?)
    case sentencePiece(SentencePieceEncoder)
  }

  /// Looked for in the text as it is.
  var addedTokens = AddedTokenSplitter()
  var normalizer = TextNormalizer()
  /// Looked for in the normalized text between the former.
  var normalizedTokens = AddedTokenSplitter()
  var model: Model

  func encode(_ text: [UInt8], parsesSpecial: Bool, into tokens: inout [Int32]) {
    var merging = RankedMerging()
    for fragment in addedTokens.split(text[...], parsesSpecial: parsesSpecial) {
      guard case .text(let range) = fragment else {
        if case .token(let token) = fragment { tokens.append(token) }
        continue
      }
      let normalized = normalizer.normalize(text[range])
      for part in normalizedTokens.split(normalized, parsesSpecial: parsesSpecial) {
        switch part {
        case .token(let token): tokens.append(token)
        case .text(let inner):
          let isFirst = range.lowerBound == 0 && inner.lowerBound == normalized.startIndex
          encode(normalized[inner], isFirst: isFirst, &merging, into: &tokens)
        }
      }
    }
  }

  private func encode(
    _ text: ArraySlice<UInt8>, isFirst: Bool, _ merging: inout RankedMerging,
    into tokens: inout [Int32]
  ) {
    switch model {
    case .byteLevel(let encoder): encoder.encode(text, into: &tokens)
    case .sentencePiece(let encoder): encoder.encode(text, into: &tokens)
    case .characters(let encoder, nil): encoder.encode(word: text, &merging, into: &tokens)
    case .characters(let encoder, let metaspace?):
      for word in metaspace.words(text, isFirst: isFirst) {
        encoder.encode(word: word, &merging, into: &tokens)
      }
    }
  }
}
