/// The way from a text to tokens that llama.cpp goes with an archive.
struct ArchiveEncoding: Sendable {
  enum Model: Sendable {
    case byteLevel(ByteLevelEncoder)
    /// With whether a space goes before a text at the beginning and after a special token.
    case scored(ArchiveScoredEncoder, addsSpace: Bool)
  }

  var specialTokens: ArchiveTokenSplitter
  var model: Model

  func encode(_ text: [UInt8], parsesSpecial: Bool, into tokens: inout [Int32]) {
    var afterSpecial = true
    for fragment in specialTokens.split(text[...], parsesSpecial: parsesSpecial) {
      switch fragment {
      case .token(let token):
        tokens.append(token)
        afterSpecial = true
      case .text(let range):
        switch model {
        case .byteLevel(let encoder): encoder.encode(text[range], into: &tokens)
        case .scored(let encoder, let addsSpace):
          encoder.encode(text[range], addsSpace: addsSpace && afterSpecial, into: &tokens)
        }
        afterSpecial = false
      }
    }
  }
}
