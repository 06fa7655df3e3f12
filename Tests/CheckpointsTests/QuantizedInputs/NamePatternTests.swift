import Checkpoints
import TestSupport
import Testing

private let module = "model.layers.12.self_attn.q_proj"

@Test(arguments: [
  (".*", true), ("", true), ("model", true), ("odel", false), ("^model", true),
  (".*q_proj$", true), (".*q_pro$", false), (".*(q|k|v)_proj$", true), (".*(k|v)_proj$", false),
  (#".*layers\.\d+\.self_attn"#, true), (#".*layers\.\d{2}\.self_attn"#, true),
  (#".*layers\.\d{3}\.self_attn"#, false), (#".*layers\.\d{1,3}\.self_attn"#, true),
  (#".*layers\.\d{3,}\.self_attn"#, false), (#".*layers\.[0-9]+\."#, true),
  (#".*layers\.[^0-9]+\."#, false), (#".*layers\.(?:1[0-9]|2\d)\..*"#, true),
  (#"model\.layers\.\w+\.self_attn\.q_proj"#, true), ("model.layers.12.self.attn", true),
  ("model.layers.1?2?3?.self", true), ("(model|lm_head)", true), ("lm_head|model", true),
  (".*?q_proj", true), ("model.layers.12.self_attn.q_proj.x", false), (#"\S+$"#, true),
  (#".*\s"#, false), ("[]x]", false), ("[m]", true), ("[a-l]", false), ("$", false),
])
func matchesTheBeginningOfNames(_ expression: String, _ isMatch: Bool) throws {
  let pattern = try #require(NamePattern(expression), "\(expression)")
  #expect(pattern.matchesStart(of: Array(module.utf8)) == isMatch, "\(expression)")
}

@Test(arguments: [
  "(?!x)", "(?=x)", "(?P<a>x)", "(", ")", "a)", "(a", "[a", "*a", "a**", "a++", "a{", "a{2",
  "a{3,2}", "a{9999}", #"\b"#, #"(a)\1"#, #"\"#, "[z-a]", "[ä]",
  String(repeating: "(", count: 17) + "a" + String(repeating: ")", count: 17),
  "((((a{64}){64}){64}){64}){64}", "(((((((){64}){64}){64}){64}){64}){64}){64}",
  String(repeating: "a", count: 5000),
])
func knowsWhatIsNotKnown(_ expression: String) {
  #expect(NamePattern(expression) == nil, "\(expression.prefix(40))")
}

/// What takes others for ever: nested repetitions.
@Test func nestedRepetitionsTakeNoTime() throws {
  let name = [UInt8](repeating: UInt8(ascii: "a"), count: 10_000)
  for expression in ["(a*)*$b", "(a+)+$b", "((a?)*)*$b", "(a|a)*$b", "(.*)*(.*)*(.*)*$b"] {
    let pattern = try #require(NamePattern(expression))
    let time = processorTime { #expect(!pattern.matchesStart(of: name)) }
    #expect(isOfOrder(time, of: 0.2), "\(expression): \(time)")
  }
}

/// Codes whose shapes fit a group of four and one of eight bits: the library's order of targets
/// decides.
@Test(arguments: [
  (#"["a"]"#, #"["re:.*"]"#, true), (#"["re:.*"]"#, #"["a"]"#, false),
  (#"["re:a"]"#, #"["Linear"]"#, true), (#"["Linear"]"#, #"["re:^a$"]"#, false),
  (#"["Linear"]"#, #"["Embedding"]"#, true), (#"["re:b.*", "re:a"]"#, #"["re:c"]"#, true),
  // Of two expressions, the first in the order of their bytes.
  (#"["re:.*"]"#, #"["re:[a]"]"#, true), (#"["Linear"]"#, #"["Linear"]"#, false),
])
func targetsDecideBetweenGroups(
  _ first: String, _ second: String, _ isFirst: Bool
) throws {
  let original = try Release("ct-pack-4-group")
  var release = original
  func group(_ targets: String, _ isSymmetric: Bool) -> String {
    #"""
    {"targets": \#(targets), "weights": {"num_bits": 4, "type": "int", "strategy": "group",
     "group_size": \#(isSymmetric ? 32 : 31), "symmetric": true}}
    """#
  }
  // Groups of 31 and of 32 make up three of a row of 90 to 93 columns.
  release.change("a.weight_shape") { $0.bytes[8] = 93 }
  release.configuration = """
    {"quant_method": "compressed-tensors", "format": "pack-quantized",
     "config_groups": {"x": \(group(first, true)), "y": \(group(second, false))}}
    """
  var only = release
  only.configuration = """
    {"quant_method": "compressed-tensors", "format": "pack-quantized",
     "config_groups": {"x": \(group(first, isFirst))}}
    """
  let (found, wanted) = (try release.open(), try only.open())
  #expect(
    try found.bytes(found.tensor("a.weight")) == wanted.bytes(wanted.tensor("a.weight")))
}

@Test func expressionsThatAreNotKnownAreNamed() throws {
  var release = try Release("ct-pack-4-group")
  release.change("a.weight_shape") { $0.bytes[8] = 93 }
  func message(_ targets: String) -> String {
    release.configuration = """
      {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {
       "x": {"targets": ["Other"], "weights": {"num_bits": 4, "type": "int",
       "strategy": "group", "group_size": 32}},
       "y": {"targets": [\(targets)], "weights": {"num_bits": 4, "type": "int",
       "strategy": "group", "group_size": 31}}}}
      """
    return release.failure().map { "\($0)" } ?? ""
  }
  #expect(message(#""re:(?!b).*""#).contains("y.targets: found the expression \"(?!b).*\""))
  #expect(message(#""re:b""#).contains("several config_groups fit"))
  #expect(message(#""re:a""#) == "")
}
