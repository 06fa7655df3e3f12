import ByteIO
import ReferenceModel
import TestSupport
import Testing
import Threads

/// Runs the body and returns the error that it has to throw.
func formatError(_ comment: String, _ body: () throws -> Void) -> String {
  do {
    try body()
    Issue.record("no error: \(comment)")
    return ""
  } catch let error as FormatError {
    return "\(error)"
  } catch {
    Issue.record("\(error) is no FormatError: \(comment)")
    return ""
  }
}

/// Damaged checkpoints are refused, with the place.
@Suite struct CheckpointDamageTests {
  static let base = "biased-wide-heads"

  /// Edits of a file and what the error has to say.
  struct Edit: Sendable, CustomTestStringConvertible {
    var file: String
    var old: String
    var new: String
    var says: [String]
    var testDescription: String { new }
  }

  static let edits = [
    Edit(
      file: "model.safetensors", old: "model.norm.weight", new: "model.nrom.weight",
      says: ["model.nrom.weight", "does not have"]),
    Edit(
      file: "model.safetensors", old: "layers.1.mlp.up_proj.weight",
      new: "layers.2.mlp.up_proj.weight", says: ["layers.2.mlp.up_proj.weight", "2 layers"]),
    Edit(
      file: "model.safetensors", old: "\"shape\":[48,24]", new: "\"shape\":[24,48]",
      says: ["q_proj.weight", "[24, 48]", "[48, 24]"]),
    Edit(
      file: "model.safetensors", old: "\"dtype\":\"F32\"", new: "\"dtype\":\"I32\"",
      says: ["type I32"]),
    Edit(
      file: "config.json", old: "\"num_hidden_layers\": 2", new: "\"num_hidden_layers\": 3",
      says: ["missing tensor model.layers.2."]),
    Edit(
      file: "config.json", old: "\"vocab_size\": 260", new: "\"vocab_size\": 259",
      says: ["[260, 24]", "[259, 24]"]),
    Edit(
      file: "config.json", old: "\"rope_theta\": 500000.0",
      new: "\"rope_scaling\": {\"type\": \"spiral\"}", says: ["spiral"]),
    Edit(
      file: "config.json", old: "\"rope_theta\": 500000.0",
      new: "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2.0}",
      says: ["yarn", "not there yet"]),
    Edit(
      file: "config.json", old: "\"mlp_bias\": true",
      new: "\"mlp_bias\": true, \"is_causal\": false", says: ["causal"]),
    Edit(
      file: "config.json", old: "\"mlp_bias\": true",
      new: "\"mlp_bias\": true, \"quantization_config\": {}", says: ["quantization_config"]),
  ]

  @Test(arguments: edits) func isRefused(_ edit: Edit) throws {
    let checkpoint = try TinyCheckpoint(Self.base)
    _ = try checkpoint.open()
    try checkpoint.edit(edit.file, edit.old, edit.new)
    let text = formatError(edit.new) { _ = try checkpoint.open() }
    for part in edit.says { #expect(text.contains(part), "\(text)") }
  }

  @Test func biasOfOneLayerIsRefused() throws {
    let checkpoint = try TinyCheckpoint(Self.base)
    try checkpoint.edit("config.json", "\"mlp_bias\": true", "\"mlp_bias\": false")
    _ = try checkpoint.open()
    try checkpoint.edit(
      "model.safetensors", "model.layers.0.mlp.up_proj.bias",
      "model.layers.0.self_attn.rotary_emb.inv_freq")
    let text = formatError("one bias") { _ = try checkpoint.open() }
    #expect(text.contains("layers.1.mlp.up_proj.bias") && text.contains("only 1 of 2"), "\(text)")
  }

  /// Never logits that are made of garbage: the first layer that sees it is named.
  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func nonFiniteWeightsAreNamed(_ value: Float) throws {
    for (tensor, place) in [
      ("model.embed_tokens.weight", "the embedding"),
      ("model.layers.0.self_attn.q_proj.weight", "layer 0"),
      ("model.layers.1.self_attn.v_proj.bias", "layer 1"),
      ("model.layers.1.post_attention_layernorm.weight", "layer 1"),
      ("model.layers.0.mlp.gate_proj.weight", "layer 0"),
    ] {
      let checkpoint = try TinyCheckpoint(Self.base)
      try checkpoint.set(tensor, to: value)
      let model = try checkpoint.open()
      let text = formatError(tensor) { _ = try model.logits(Array(0..<8)) }
      #expect(text.contains(place) && text.contains("model.safetensors"), "\(tensor): \(text)")
    }
  }

  /// They are not hidden by large numbers on the way.
  @Test func overflowIsNamed() throws {
    let checkpoint = try TinyCheckpoint(Self.base)
    try checkpoint.set("model.layers.0.mlp.up_proj.bias", to: 3e38)
    try checkpoint.set("model.layers.0.mlp.gate_proj.bias", to: 3e38)
    let model = try checkpoint.open()
    let text = formatError("overflow") { _ = try model.logits(Array(0..<8)) }
    #expect(text.contains("layer 0"), "\(text)")
  }

  @Test(arguments: [-1, 260, Int32.max]) func tokenOutsideTheVocabularyIsRefused(_ token: Int32)
    throws
  {
    let model = try TinyCheckpoint(Self.base).open()
    let text = formatError("token") { _ = try model.logits([0, token]) }
    #expect(text.contains("\(token)") && text.contains("0 to 259"), "\(text)")
  }

  @Test func cancellationStopsEveryStep() throws {
    let model = try TinyCheckpoint(Self.base).open()
    let flag = CancellationFlag()
    let pass = try ForwardPass(model, tokenCount: 8, contextLength: 8, cancellation: flag)
    try pass.embed(Array(0..<8))
    flag.cancel()
    #expect(throws: ForwardCancelled.self) { try pass.runLayer(0) }
    #expect(throws: ForwardCancelled.self) { try pass.beginOutput(positions: [0]) }
    #expect(throws: ForwardCancelled.self) { _ = try pass.allLogits(positionCount: 1) }
  }
}
