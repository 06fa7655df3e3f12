import TestSupport
import Testing
import Tokenizers

/// A megabyte of one character is one piece, or one run, for every encoder.
@Test(
  arguments: ["a", "A", " ", "\n", "7", "'", "🙂", "\u{301}", "中"],
  ["models/llama3", "tokenizers/encoding/llama4", "models/llama2"])
func longRunsTakeLinearTime(_ character: String, _ fixture: String) throws {
  let text = Array(String(repeating: character, count: (1 << 20) / character.utf8.count).utf8)
  let encoders = [
    try checkpointEncoder(fixture),
    try archiveEncoder(
      Fixtures.path(fixture), preTokenizer: fixture.contains("llama2") ? "default" : "llama4"),
  ]
  for encoder in encoders {
    let clock = ContinuousClock()
    var tokens: [Int32] = []
    let time = clock.measure {
      tokens = encoder.encode(text, addsSpecial: false, parsesSpecial: true)
    }
    #expect(tokens.flatMap { encoder.bytes(of: $0) }.suffix(text.count).elementsEqual(text))
    // Under a second by itself; the allowance is for machines that do other things meanwhile.
    #expect(time < .seconds(8), "\(time)")
  }
}
