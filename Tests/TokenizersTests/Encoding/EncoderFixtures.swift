import ByteIO
import StrictJSON
import Tensors
import TestSupport
import Testing
import Tokenizers

/// Texts and ids of `Fixtures/tokenizers/encoding/expected.json`, which tells where they are from.
struct EncodingGolden {
  let texts: [String]
  private let document: JSONValue

  static let shared = Result { try EncodingGolden() }

  private init() throws {
    document = try JSONValue(
      file: Fixtures.path("tokenizers/encoding/expected.json"), limit: 16 << 20)
    texts = try #require(document["texts"]?.array).compactMap(\.string)
    #expect(texts.count == 420)
  }

  /// Ids by text; `mode` is `parsed` or `plain`.
  func ids(_ name: String, _ mode: String) throws -> [[Int32]] {
    let lists = try #require(document["ids"]?[name]?[mode]?.array)
    return lists.map { ($0.array ?? []).compactMap { $0.int.map { Int32($0) } } }
  }
}

/// Says where the encoder and the ids differ.
func expectTokens(
  _ encoder: TokenEncoder, _ texts: [String], _ expected: [[Int32]], parsesSpecial: Bool,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(texts.count == expected.count, sourceLocation: sourceLocation)
  for (text, ids) in zip(texts, expected) {
    let found = encoder.encode(text, addsSpecial: false, parsesSpecial: parsesSpecial)
    #expect(found == ids, "\(text.debugDescription)", sourceLocation: sourceLocation)
  }
}

/// The encoder that an archive of this checkpoint has.
func archiveEncoder(_ directory: String, preTokenizer: String? = nil) throws -> TokenEncoder {
  var options = TokenizerOptions()
  options.preTokenizer = preTokenizer
  let metadata = try readTokenizer(directory: directory, options: options)
  return try TokenEncoder(archive: metadata.entries, file: "archive.gguf")
}

func checkpointEncoder(_ fixture: String) throws -> TokenEncoder {
  try TokenEncoder(checkpoint: Fixtures.path(fixture), vocabularySize: nil)
}
