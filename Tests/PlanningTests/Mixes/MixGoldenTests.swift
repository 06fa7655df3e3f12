import ByteIO
import Planning
import StrictJSON
import Tensors
import TestSupport
import Testing

/// Every tensor of every real shape gets the type that llama-quantize gives it, in every mix.
@Test(arguments: [
  "llama-2-7b", "llama-3-8b", "llama-3.2-1b", "llama-3.1-70b", "llama-3.1-405b", "mixtral-8x7b",
  "llama-4-scout",
])
func mixesMatchRealShapes(_ model: String) throws {
  let golden = try MixGolden("golden/mixes/\(model).json")
  #expect(golden.mixes.count == 32)
  for (name, outcomes) in golden.mixes {
    let mix = try #require(StockMix(name: name))
    for (hasImportance, expected) in outcomes {
      #expect(expected.count == golden.tensors.count)
      let options = TypeOptions(hasImportance: hasImportance)
      let found = try assignTypes(
        mix, options: options, facts: golden.facts, tensors: golden.tensors)
      #expect(
        wrongTypes(golden.tensors, found, expected) == [],
        "\(model) \(name), importance: \(hasImportance)")
    }
  }
}

/// The order in which the caller lists the tensors does not matter.
@Test func mixesDoNotDependOnTheCallersOrder() throws {
  let golden = try MixGolden("golden/mixes/llama-3-8b.json")
  let mix = try #require(StockMix(name: "Q4_K_M"))
  let sorted = try assignTypes(
    mix, options: TypeOptions(), facts: golden.facts, tensors: golden.tensors)
  let reversed = try assignTypes(
    mix, options: TypeOptions(), facts: golden.facts, tensors: golden.tensors.reversed())
  #expect(reversed == sorted.reversed())
}

/// The tiny models' archives, as written by the strict reference quantizer.
@Test(arguments: ["llama2", "llama3"], StockMix.all)
func mixesMatchTinyModels(_ model: String, _ mix: StockMix) throws {
  for hasImportance in [false, true] {
    let folder = hasImportance ? "models/expected/with-imatrix/" : "models/expected/"
    let path = folder + "\(model)-\(mix.name).json"
    guard Fixtures.exists(path) else {
      // The reference refuses these without a matrix; with one, only some mixes were recorded.
      #expect(hasImportance || mix.requiresImportance)
      continue
    }
    let expected = try Archive(path)
    let found = try assignTypes(
      mix, options: TypeOptions(hasImportance: hasImportance), facts: tinyFacts(model),
      tensors: expected.tensors)
    #expect(wrongTypes(expected.tensors, found, expected.types) == [], "\(path)")
    if let fileType = expected.fileType { #expect(mix.fileType == fileType) }
    let isRefused = found.contains { $0.requiresImportance }
    #expect(isRefused == mix.requiresImportance, "\(path)")
    #expect(hasImportance || !isRefused, "\(path) was made without a matrix")
  }
}

/// The order of the reference's archives is the order of the rules.
@Test func archivesAreInQuantizerOrder() throws {
  let names = try Archive("models/expected/llama3-Q4_K_M.json").tensors.map(\.name)
  #expect(names.count > 50)
  let order = quantizerOrder(names.reversed())
  #expect(order == Array(names.indices.reversed()))
}

@Test func layersComeFromNames() {
  #expect(layerNumber(of: "blk.0.attn_q.weight") == 0)
  #expect(layerNumber(of: "blk.126.ffn_down.weight") == 126)
  #expect(layerNumber(of: "token_embd.weight") == nil)
  #expect(layerNumber(of: "blk.x.attn_q.weight") == nil)
  #expect(layerNumber(of: "blk.99999999999.attn_q.weight") == nil)
  let names: [ExactString] = ["blk.10.a", "blk.2.b", "blk.2.a", "z", "a", "blk.1.z"]
  #expect(
    quantizerOrder(names).map { names[$0] } == [
      "a", "z", "blk.1.z", "blk.2.a", "blk.2.b", "blk.10.a",
    ])
}

/// Head counts and layers of the tiny models' `config.json`.
func tinyFacts(_ model: String) -> ModelFacts {
  ModelFacts(
    file: model, architecture: "llama", layerCount: model == "llama3" ? 6 : 4, headCount: 8,
    headCountKV: model == "llama3" ? 4 : 8, expertCount: 0)
}

/// Names of tensors with a wrong type, with both types.
func wrongTypes(
  _ tensors: [TypedTensor], _ found: [TypeAssignment], _ expected: [TensorType?]
) -> [String] {
  zip(tensors, zip(found, expected)).compactMap { tensor, types in
    types.0.type == types.1
      ? nil : "\(tensor.name): \(types.0.type), not \(types.1?.name ?? "nothing")"
  }
}

/// A file of golden/mixes: tensors, and their types per mix as index lists.
private struct MixGolden {
  var facts: ModelFacts
  var tensors: [TypedTensor]
  var mixes: [(name: String, outcomes: [(hasImportance: Bool, types: [TensorType?])])]

  init(_ path: String) throws {
    let json = try JSONValue(file: Fixtures.path(path), limit: 64 << 20)
    func int(_ key: String) throws -> Int { try #require(json[key]?.int) }
    facts = ModelFacts(
      file: path, architecture: try #require(json["architecture"]?.string),
      layerCount: try int("block_count"), headCount: try int("head_count"),
      headCountKV: try int("head_count_kv"), expertCount: try int("expert_count"))
    tensors = try #require(json["tensors"]?.array).map { entry in
      let entry = try #require(entry.array)
      let shape = Shape(try #require(entry[1].array).compactMap(\.int))
      return (ExactString(try #require(entry[0].string)), shape, .f32)
    }
    mixes = []
    for (name, outcomes) in try #require(json["mixes"]?.object).members {
      var lists: [(hasImportance: Bool, types: [TensorType?])] = []
      for (key, indices) in try #require(outcomes.object).members {
        var types = [TensorType?](repeating: nil, count: tensors.count)
        for (type, indices) in try #require(indices.object).members {
          for index in try #require(indices.array).compactMap(\.int) {
            types[index] = TensorType(name: type)
          }
        }
        try #require(["both", "plain", "importance"].contains(key))
        if key != "importance" { lists.append((false, types)) }
        if key != "plain" { lists.append((true, types)) }
      }
      try #require(lists.count == 2)
      mixes.append((name, lists))
    }
  }
}

/// A file of models/expected: what the reference wrote.
private struct Archive {
  var tensors: [TypedTensor] = []
  var types: [TensorType?] = []
  var fileType: UInt32?

  init(_ path: String) throws {
    let json = try JSONValue(file: Fixtures.path(path), limit: 1 << 20)
    for (name, entry) in try #require(json["tensors"]?.object).members {
      let entry = try #require(entry.array)
      let shape = Shape(ggufDimensions: try #require(entry[1].array).compactMap(\.int))
      tensors.append((ExactString(name), shape, .f32))
      types.append(TensorType(name: try #require(entry[0].string)))
    }
    fileType = json["metadata"]?["general.file_type"]?.string.flatMap { UInt32($0) }
  }
}
