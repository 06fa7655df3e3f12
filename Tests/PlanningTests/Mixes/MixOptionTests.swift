import ByteIO
import Planning
import StrictJSON
import Tensors
import TestSupport
import Testing

/// Small models of unusual shapes, and options, against `llama-quantize --dry-run`.
@Test func optionsMatchTheReference() throws {
  let path = "golden/mix-options/mix-options.json"
  let json = try JSONValue(file: Fixtures.path(path), limit: 16 << 20)
  var models: [String: (facts: ModelFacts, tensors: [TypedTensor])] = [:]
  for (name, model) in try #require(json["models"]?.object).members {
    models[name] = try readModel(name, model)
  }
  let runs = try #require(json["runs"]?.array)
  #expect(runs.count > 500)
  for run in runs {
    let (facts, tensors) = try #require(models[run["model"]?.string ?? ""])
    let arguments = try #require(run["options"]?.array).compactMap(\.string)
    let mix = try #require(StockMix(name: run["mix"]?.string ?? ""))
    let label: Comment = "\(facts.file) \(mix.name) \(arguments)"
    let options = try readOptions(arguments)
    guard let types = run["types"]?.object else {
      #expect(throws: FormatError.self, label) {
        try assignTypes(mix, options: options, facts: facts, tensors: tensors)
      }
      continue
    }
    var expected = [TensorType?](repeating: nil, count: tensors.count)
    for (type, indices) in types.members {
      for index in try #require(indices.array).compactMap(\.int) {
        expected[index] = TensorType(name: type)
      }
    }
    let found = try assignTypes(mix, options: options, facts: facts, tensors: tensors)
    #expect(wrongTypes(tensors, found, expected) == [], label)
    #expect(found.contains { $0.requiresImportance } == run["needs_importance"]?.bool, label)
  }
}

private func readModel(
  _ name: String, _ json: JSONValue
) throws -> (facts: ModelFacts, tensors: [TypedTensor]) {
  func int(_ key: String) throws -> Int { try #require(json[key]?.int) }
  let facts = ModelFacts(
    file: name, architecture: try #require(json["architecture"]?.string),
    layerCount: try int("block_count"), headCount: try int("head_count"),
    headCountKV: try int("head_count_kv"), expertCount: try int("expert_count"))
  let tensors: [TypedTensor] = try #require(json["tensors"]?.array).map { entry in
    let entry = try #require(entry.array)
    let shape = Shape(try #require(entry[1].array).compactMap(\.int))
    return (ExactString(try #require(entry[0].string)), shape, .f32)
  }
  return (facts, tensors)
}

/// The reference's arguments as our options.
private func readOptions(_ arguments: [String]) throws -> TypeOptions {
  var options = TypeOptions()
  var rest = arguments.makeIterator()
  while let name = rest.next() {
    if name == "--pure" { options.pure = true; continue }
    if name == "--leave-output-tensor" { options.leaveOutput = true; continue }
    let value = rest.next() ?? ""
    switch name {
    case "--output-tensor-type": options.outputType = try #require(OutputType(name: value)).type
    case "--token-embedding-type":
      options.embeddingType = try #require(OutputType(name: value)).type
    case "--tensor-type": options.overrides.append(try TensorTypeOverride(value))
    default: Issue.record("unknown option \(name)")
    }
  }
  return options
}

private let matrix: TypedTensor = ("blk.0.attn_q.weight", Shape([256, 256]), .f32)

private func assign(
  _ tensors: [TypedTensor], _ mixName: String = "Q4_K_M", _ options: TypeOptions = TypeOptions()
) throws -> [TypeAssignment] {
  let mix = try StockMix.named(mixName, pure: options.pure)
  return try assignTypes(mix, options: options, facts: tinyFacts("llama3"), tensors: tensors)
}

@Test func unquantizedTensorsKeepTheirSourceType() throws {
  let tensors: [TypedTensor] = [
    ("output_norm.weight", Shape([256]), .f32), ("blk.0.attn_q.bias", Shape([256]), .f16),
    ("blk.0.ffn_gate_inp.weight", Shape([8, 256]), .bf16), matrix,
  ]
  let found = try assign(tensors)
  #expect(found.map(\.type) == [.f32, .f16, .bf16, .q4_K])
  #expect(found.map(\.isQuantizable) == [false, false, false, true])
  #expect(try assign(tensors, "F16").map(\.type) == [.f32, .f16, .bf16, .f16])
}

@Test func copyKeepsEveryType() throws {
  let tensors: [TypedTensor] = [
    matrix, ("output.weight", Shape([64, 256]), .q6_K),
    ("blk.0.attn_k.weight", Shape([64, 256]), .iq2_S),
  ]
  let found = try assign(tensors, "Q8_0", TypeOptions(outputType: .f16, copyOnly: true))
  #expect(found.map(\.type) == [.f32, .q6_K, .iq2_S])
  #expect(found.allSatisfy { !$0.requiresImportance })
}

@Test func partialBlocksFallBackAndSaySo() throws {
  func fallback(_ columnCount: Int, _ mix: String) throws -> TypeAssignment {
    try assign([("blk.0.attn_q.weight", Shape([8, columnCount]), .f32)], mix)[0]
  }
  let exact = try fallback(512, "Q4_K_M")
  #expect(exact.type == .q4_K && exact.fallbackFrom == nil)
  let of32 = try fallback(288, "Q4_K_M")
  #expect(of32.type == .q5_0 && of32.fallbackFrom == .q4_K)
  let odd = try fallback(250, "Q4_K_M")
  #expect(odd.type == .f16 && odd.fallbackFrom == .q4_K)
  let odd32 = try fallback(250, "Q4_0")
  #expect(odd32.type == .f16 && odd32.fallbackFrom == .q4_0)
}

@Test func optionTypesMustFillRows() {
  let output: TypedTensor = ("output.weight", Shape([8, 250]), .f32)
  #expect(throws: OptionError.self) { try assign([output], "Q4_0", TypeOptions(outputType: .q8_0)) }
  let embedding: TypedTensor = ("token_embd.weight", Shape([8, 288]), .f32)
  #expect(throws: OptionError.self) {
    try assign([embedding], "Q4_0", TypeOptions(embeddingType: .q4_K))
  }
}

@Test func pureTakesAnyTensorType() throws {
  #expect(try assign([matrix], "nvfp4", TypeOptions(pure: true)).map(\.type) == [.nvfp4])
  #expect(try assign([matrix], "Q3_K", TypeOptions(pure: true)).map(\.type) == [.q3_K])
  let error = #expect(throws: OptionError.self) { try StockMix.named("MXFP4", pure: false) }
  #expect(error?.advice?.contains("--pure") == true)
  #expect(throws: OptionError.self) { try StockMix.named("Q8_K", pure: true) }
}

@Test func modelsWithExpertsNeedLayersInNames() throws {
  var facts = tinyFacts("llama3")
  facts.expertCount = 4
  let mix = try #require(StockMix(name: "Q4_K_M"))
  for name: ExactString in ["ffn_down.weight", "blk.6.ffn_down.weight"] {
    let error = #expect(throws: FormatError.self) {
      try assignTypes(
        mix, options: TypeOptions(), facts: facts, tensors: [(name, Shape([256, 256]), .f32)])
    }
    #expect(error?.field == "tensor \(name)")
  }
}

@Test func optionsWithoutEffectAreNamed() throws {
  let options = TypeOptions(overrides: [
    try TensorTypeOverride("attn_q=q8_0"), try TensorTypeOverride("atn_q=q8_0"),
  ])
  let mix = try #require(StockMix(name: "Q4_K_M"))
  let float = try #require(StockMix(name: "F16"))
  let notes = try ineffectiveOptions(mix, options: options, tensors: [matrix])
  #expect(notes == ["--tensor-type atn_q: no tensor's name matches"])
  #expect(try ineffectiveOptions(float, options: options, tensors: [matrix]).count == 1)
}
