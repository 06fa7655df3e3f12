import Architectures
import ByteIO
import StrictJSON
import Tensors
import TestSupport
import Testing

/// Cases recorded from the reference converter; the file states its origin.
private let cases: [JSONValue] = {
  let path = Fixtures.path("golden/checkpoints/llama-mapping.json")
  return (try? JSONValue(file: path, limit: 1 << 20))?["cases"]?.array ?? []
}()

@Test func casesAreThere() { #expect(cases.count > 40) }

@Test(arguments: cases.indices)
func matchesTheConverter(_ index: Int) throws {
  let recorded = cases[index]
  let configuration = try ModelConfiguration(
    try #require(recorded["config"]), file: "config.json")
  let sources = try #require(recorded["source"]?.array).map { row in
    TensorDescriptor(
      name: ExactString(try #require(row.array?[0].string)),
      shape: Shape(try #require(row.array?[1].array).compactMap(\.int)), type: .f16, regions: [])
  }
  let mapping = try ModelMapping(configuration, tensors: sources)

  let expected = try #require(recorded["metadata"]?.array)
  #expect(mapping.metadata.keys.map(\.string) == expected.map { $0.array?[0].string })
  for row in expected {
    let cells = try #require(row.array)
    let key = try #require(cells[0].string)
    let value: MetadataValue? =
      switch cells[1].string {
      case "string": cells[2].string.map { .string($0) }
      case "uint32": cells[2].int.map { .uint32(UInt32($0)) }
      case "float32": cells[2].int.map { .float32(Float(bitPattern: UInt32($0))) }
      case "bool": cells[2].bool.map { .bool($0) }
      default: nil
      }
    #expect(mapping.metadata[key] == value, "\(key)")
  }

  // Generated tensors first, then those of the checkpoint in its order.
  let names = mapping.generated.map(\.name.string) + mapping.tensors.map(\.name.string)
  let shapes = mapping.generated.map(\.shape) + mapping.tensors.map(\.shape)
  let rows = try #require(recorded["tensors"]?.array)
  #expect(names == rows.map { $0.array?[0].string })
  #expect(shapes == rows.map { Shape($0.array?[1].array?.compactMap(\.int) ?? []) })
  #expect(
    mapping.generated.flatMap(\.values).map { Int($0.bitPattern) }
      == recorded["ropeFactorBits"]?.array?.compactMap(\.int) ?? [])
}

/// Shapes of a tiny Llama, by name.
private func tinyTensors(layers: Int = 2) -> [String: [Int]] {
  var shapes = [
    "model.embed_tokens.weight": [48, 64], "model.norm.weight": [64], "lm_head.weight": [48, 64],
  ]
  for layer in 0..<layers {
    for (name, shape) in [
      ("input_layernorm", [64]), ("post_attention_layernorm", [64]),
      ("self_attn.q_proj", [64, 64]), ("self_attn.k_proj", [32, 64]),
      ("self_attn.v_proj", [32, 64]), ("self_attn.o_proj", [64, 64]), ("mlp.gate_proj", [96, 64]),
      ("mlp.up_proj", [96, 64]), ("mlp.down_proj", [64, 96]),
    ] {
      shapes["model.layers.\(layer).\(name).weight"] = shape
    }
  }
  return shapes
}

private func map(
  _ shapes: [String: [Int]], type: TensorType = .f16, config: [String: String] = [:]
) throws -> ModelMapping {
  let tensors = shapes.sorted { $0.key < $1.key }.map { name, shape in
    TensorDescriptor(
      name: ExactString(name), shape: Shape(shape), type: type,
      regions: [.init(file: 0, fileOffset: 8, byteCount: 0)])
  }
  return try ModelMapping(
    TinyConfiguration.parse(config), tensors: tensors, files: ["model.safetensors"])
}

private func failure(
  _ shapes: [String: [Int]], type: TensorType = .f16, config: [String: String] = [:]
) throws -> FormatError? {
  do {
    _ = try map(shapes, type: type, config: config)
    return nil
  } catch let error as FormatError {
    return error
  }
}

@Test func mapsQueriesAndKeysWithTheirHeads() throws {
  let mapping = try map(tinyTensors())
  let transforms = Dictionary(
    uniqueKeysWithValues: mapping.tensors.map { ($0.name.string, $0.transform) })
  #expect(transforms["blk.1.attn_q.weight"] == .permuteRotary(headCount: 4))
  #expect(transforms["blk.1.attn_k.weight"] == .permuteRotary(headCount: 2))
  #expect(transforms.values.filter { $0 == .identity }.count == 21 - 4)
  #expect(mapping.elementCount == tinyTensors().values.reduce(0) { $0 + $1.reduce(1, *) })
  #expect(mapping.architecture == "llama")
  #expect((mapping.layerCount, mapping.headCount, mapping.headCountKV) == (2, 4, 2))
}

@Test func namesEveryMissingTensor() throws {
  // Every single one of them is needed.
  for name in tinyTensors().keys {
    var shapes = tinyTensors()
    shapes[name] = nil
    let error = try #require(try failure(shapes))
    #expect("\(error)".contains("missing tensor \(name)"), "\(error)")
  }
  let error = try #require(try failure([:]))
  #expect("\(error)".contains("model.embed_tokens.weight and 20 other tensors"))
}

@Test func tiedEmbeddingsNeedNoOutput() throws {
  var shapes = tinyTensors()
  shapes["lm_head.weight"] = nil
  #expect(try map(shapes, config: ["tie_word_embeddings": "true"]).tensors.count == 20)
  #expect(try failure(shapes) != nil)
}

@Test func refusesWrongShapes() throws {
  for (name, shape) in tinyTensors() {
    for wrong in [shape.dropLast() + [shape[shape.count - 1] + 1], shape + [1], [], [0]] {
      var shapes = tinyTensors()
      shapes[name] = Array(wrong)
      let error = try #require(try failure(shapes))
      #expect(error.field == name)
      #expect("\(error)".contains("the configuration needs \(Shape(shape))"), "\(error)")
      #expect(error.file == "model.safetensors")
    }
  }
}

@Test(arguments: [
  "extra.weight", "model.layers.0.self_attn.q_proj.weight_scale",
  "model.layers.00.mlp.up_proj.weight",
  "model.layers.x.mlp.up_proj.weight", "model.layers..mlp.up_proj.weight", "model.layers.0",
  "model.layers.99999999999999999999.mlp.up_proj.weight", "", "lm_head.weight\u{301}",
])
func refusesUnknownNames(_ name: String) throws {
  var shapes = tinyTensors()
  shapes[name] = [1]
  let error = try #require(try failure(shapes))
  #expect("\(error)".contains("does not have"), "\(error)")
}

@Test func refusesLayersBeyondTheCount() throws {
  let error = try #require(try failure(tinyTensors(layers: 3)))
  #expect("\(error)".contains("belongs to layer 2, but num_hidden_layers is 2"))
}

@Test(arguments: [TensorType.f8_E4M3, .i8, .u8, .i64, .bool])
func refusesTypesThatAreNotReadYet(_ type: TensorType) throws {
  var shapes = tinyTensors()
  shapes["model.layers.0.self_attn.q_proj.weight_scale"] = [1]
  let error = try #require(try failure(shapes, type: type))
  #expect("\(error)".contains("type \(type), not yet read"))
}

@Test func biasesAreInAllLayersOrNone() throws {
  var shapes = tinyTensors()
  shapes["model.layers.0.self_attn.q_proj.bias"] = [64]
  #expect(
    "\(try #require(try failure(shapes)))".contains("model.layers.1.self_attn.q_proj.bias"))
  shapes["model.layers.1.self_attn.q_proj.bias"] = [64]
  let biases = try map(shapes).tensors.filter { $0.name.string.hasSuffix("attn_q.bias") }
  #expect(biases.map(\.transform) == Array(repeating: .permuteRotary(headCount: 4), count: 2))
  #expect(try failure(tinyTensors(), config: ["attention_bias": "true"]) != nil)
  #expect(try failure(tinyTensors(), config: ["mlp_bias": "true"]) != nil)
}

@Test func leavesOutRecomputedTensors() throws {
  var shapes = tinyTensors()
  shapes["model.layers.0.self_attn.rotary_emb.inv_freq"] = [8]
  shapes["model.layers.7.self_attn.rotary_emb.inv_freq"] = [8]
  let mapping = try map(shapes)
  #expect(mapping.tensors.count == 21)
  #expect(mapping.notes == ["left out: 2 tensors that the archive recomputes"])
}

@Test func permutesWithinHeads() {
  // Two heads of six rows: halves x0 x1 x2 y0 y1 y2 become pairs x0 y0 x1 y1 x2 y2.
  let transform = RowTransform.permuteRotary(headCount: 2)
  let rows = (0..<12).map { transform.sourceRow(forOutputRow: $0, rowCount: 12) }
  #expect(rows == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11])
  #expect(RowTransform.identity.sourceRow(forOutputRow: 5, rowCount: 12) == 5)
}
