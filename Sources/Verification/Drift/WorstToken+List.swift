import ByteIO
import ForwardRuns
import Tokenizers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

extension WorstToken {
  /// Most positions that are listed, and tokens of context that are shown before each.
  private static let limit = 20
  private static let contextTokenCount = 24

  /// The positions with the largest divergence, worst first.
  static func list(_ scores: [PositionScore], text: ChunkedText, encoder: TokenEncoder)
    -> [WorstToken]
  {
    let perChunk = text.scoredPositions.count
    let worst = scores.indices.sorted {
      scores[$0].divergence == scores[$1].divergence
        ? $0 < $1 : scores[$0].divergence > scores[$1].divergence
    }.prefix(limit)
    func string(_ tokens: ArraySlice<Int32>) -> String {
      String(decoding: tokens.flatMap { encoder.bytes(of: $0) }, as: UTF8.self)
    }
    func string(_ token: Int32) -> String { token < 0 ? "" : string([token]) }
    return worst.map { index in
      let score = scores[index]
      let (chunk, place) = index.quotientAndRemainder(dividingBy: perChunk)
      let position = text.scoredPositions.lowerBound + place + 1
      let end = chunk * text.contextLength + position
      let start = max(chunk * text.contextLength, end - contextTokenCount)
      return WorstToken(
        chunk: chunk, position: position, divergence: score.divergence,
        context: string(text.tokens[start..<end]), token: string(text.tokens[end]),
        referenceProbability: exp(-score.referenceLoss),
        candidateProbability: exp(-score.candidateLoss),
        referenceTop: string(score.referenceTop), candidateTop: string(score.candidateTop))
    }
  }
}
