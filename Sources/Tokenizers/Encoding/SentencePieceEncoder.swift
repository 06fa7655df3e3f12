import Tensors

/// The encoder of a SentencePiece model of the byte-pair kind, as the `sentencepiece` library has it.
struct SentencePieceEncoder: Sendable {
  /// Pieces that text is split into: normal, user-defined and unused ones.
  private let matched: TextTable
  /// By number in `matched`.
  private let matchedIDs: [Int32]
  private let scores: [Float]
  private let isUnused: [Bool]
  /// Pieces that users defined, found as a whole before anything is merged.
  private let userDefined: TextMatcher
  private let unknownID: Int32
  /// Tokens of bytes; empty without byte fallback.
  private let byteIDs: [Int32]
  private let normalization: SentencePieceModel.Normalization

  /// Takes the pieces with ids below `limit`; the others have no row in the embedding.
  init(_ model: SentencePieceModel, limit: Int) {
    var matched = TextTable(minimumCapacity: model.pieces.count)
    var matchedIDs: [Int32] = []
    var scores: [Float] = []
    var isUnused: [Bool] = []
    var userDefined = TextMatcher()
    var unknownID: Int32 = 0
    var byteIDs = [Int32](repeating: -1, count: model.hasByteFallback ? 256 : 0)
    for id in 0..<min(limit, model.pieces.count) {
      let kind = model.kinds[id]
      let text = model.pieces[id]
      switch kind {
      case .normal, .userDefined, .unused:
        guard matched.insert(text).isNew else { continue }
        matchedIDs.append(Int32(id))
        scores.append(model.scores[id])
        isUnused.append(kind == .unused)
        if kind == .userDefined { userDefined.insert(text, value: id) }
      case .unknown: unknownID = Int32(id)
      case .byte:
        if let byte = sentencePieceBytes(text, isByte: true).first, model.hasByteFallback {
          byteIDs[Int(byte)] = Int32(id)
        }
      case .control: break
      }
    }
    self.matched = matched
    self.matchedIDs = matchedIDs
    self.scores = scores
    self.isUnused = isUnused
    self.userDefined = userDefined
    self.unknownID = unknownID
    self.byteIDs = byteIDs.map { $0 < 0 ? unknownID : $0 }
    normalization = model.normalization
  }

  /// Appends the tokens of a text without special tokens.
  func encode(_ bytes: ArraySlice<UInt8>, into tokens: inout [Int32]) {
    let text = normalized(bytes)[...]
    guard !text.isEmpty else { return }
    var merging = ScoredMerging()
    forEachSymbol(text) { range, isFrozen in
      merging.append(start: range.lowerBound, byteCount: range.count, isFrozen: isFrozen)
    }
    // Where an unused piece was put together last, it can be taken apart: by number, bytes of its left part.
    var seams: [Int: Int] = [:]
    merging.run(text, matched, scores: scores) { number, leftByteCount in
      if isUnused[number] { seams[number] = leftByteCount }
    }
    var previousIsUnknown = false
    merging.forEach { range in
      forEachUsedPart(of: range, text, seams) { part in
        append(part, text, &previousIsUnknown, to: &tokens)
      }
    }
  }

  private func append(
    _ range: Range<Int>, _ text: ArraySlice<UInt8>, _ previousIsUnknown: inout Bool,
    to tokens: inout [Int32]
  ) {
    let id = id(of: range, text)
    defer { previousIsUnknown = id == unknownID }
    if id != unknownID {
      tokens.append(id)
    } else if !byteIDs.isEmpty {
      for byte in text[range] { tokens.append(byteIDs[Int(byte)]) }
    } else if !previousIsUnknown {
      tokens.append(id)
    }
  }

  /// The piece with this text; an unused one that cannot be taken apart is unknown.
  private func id(of range: Range<Int>, _ text: ArraySlice<UInt8>) -> Int32 {
    guard let number = matched.number(of: text, range), !isUnused[number] else { return unknownID }
    return matchedIDs[number]
  }

  /// Takes unused pieces apart as they were put together; without recursion, since a file decides
  /// how deep that goes.
  private func forEachUsedPart(
    of range: Range<Int>, _ text: ArraySlice<UInt8>, _ seams: [Int: Int],
    _ body: (Range<Int>) -> Void
  ) {
    var pending = [range]
    while let part = pending.popLast() {
      if !seams.isEmpty, let number = matched.number(of: text, part), isUnused[number],
        let leftByteCount = seams[number]
      {
        let middle = part.lowerBound + leftByteCount
        pending.append(middle..<part.upperBound)
        pending.append(part.lowerBound..<middle)
      } else {
        body(part)
      }
    }
  }

  /// Calls `body` with each user-defined piece and each character between them.
  private func forEachSymbol(_ text: ArraySlice<UInt8>, _ body: (Range<Int>, Bool) -> Void) {
    var index = text.startIndex
    while index < text.endIndex {
      if !userDefined.isEmpty, let match = userDefined.longestMatch(in: text, at: index) {
        body(match.range, true)
        index = match.range.upperBound
      } else {
        let end = min(index + utf8ByteCount(text[index]), text.endIndex)
        body(index..<end, false)
        index = end
      }
    }
  }

  // MARK: Normalization

  /// The text with marks for spaces, as `normalizer_spec` says.
  private func normalized(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
    let space = UInt8(ascii: " ")
    let mark: [UInt8] = normalization.escapesSpaces ? [0xE2, 0x96, 0x81] : [space]
    let removesExtra = normalization.removesExtraSpaces
    var text = bytes
    if removesExtra { text = text.drop { $0 == space } }
    guard !text.isEmpty else { return [] }
    var result: [UInt8] = []
    result.reserveCapacity(text.count + text.count / 2)
    let addsMark = normalization.addsDummyPrefix
    if addsMark, !normalization.spaceIsSuffix { result += mark }
    var previousIsSpace = removesExtra
    for byte in text {
      if byte != space {
        result.append(byte)
        previousIsSpace = false
      } else if !previousIsSpace {
        result += mark
        previousIsSpace = removesExtra
      }
    }
    if removesExtra {
      while result.count >= mark.count, result.suffix(mark.count).elementsEqual(mark) {
        result.removeLast(mark.count)
      }
    }
    if addsMark, normalization.spaceIsSuffix { result += mark }
    return result
  }
}
