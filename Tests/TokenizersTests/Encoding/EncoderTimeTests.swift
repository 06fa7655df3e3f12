import TestSupport
import Testing
import Tokenizers

#if DEBUG
  private let longRun = 1 << 18
#else
  private let longRun = 1 << 20
#endif

/// A megabyte of one character is one piece, or one run, for every encoder.
///
/// Linear is a matter of growth, so that neither a slow machine nor the other tests decide it: four
/// times the text may take four times the processor time with some room, where a quadratic encoder takes sixteen.
@Test(
  arguments: ["a", "A", " ", "\n", "7", "'", "🙂", "\u{301}", "中"],
  ["models/llama3", "tokenizers/encoding/llama4", "models/llama2"])
func longRunsTakeLinearTime(_ character: String, _ fixture: String) throws {
  let encoders = [
    try checkpointEncoder(fixture),
    try archiveEncoder(
      Fixtures.path(fixture), preTokenizer: fixture.contains("llama2") ? "default" : "llama4"),
  ]
  for encoder in encoders {
    let quarter = encodingTime(of: encoder, on: character, bytes: longRun / 4)
    let whole = encodingTime(of: encoder, on: character, bytes: longRun)
    #expect(whole < max(9 * quarter, 2), "\(quarter) s, then \(whole) s")
  }
}

/// Processor time in seconds that `encoder` takes for a run of `bytes` bytes.
private func encodingTime(of encoder: TokenEncoder, on character: String, bytes: Int) -> Double {
  let text = Array(String(repeating: character, count: bytes / character.utf8.count).utf8)
  var tokens: [Int32] = []
  let time = processorTime {
    tokens = encoder.encode(text, addsSpecial: false, parsesSpecial: true)
  }
  #expect(tokens.flatMap { encoder.bytes(of: $0) }.suffix(text.count).elementsEqual(text))
  return time
}
