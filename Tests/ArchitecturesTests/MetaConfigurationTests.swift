import Architectures
import ByteIO
import StrictJSON
import Tensors
import TestSupport
import Testing

/// A `params.json` with the tensors that say what it leaves open.
private enum Parameters {
  static let members = [
    "dim": "64", "n_layers": "2", "n_heads": "4", "n_kv_heads": "2", "multiple_of": "32",
    "norm_eps": "1e-05", "rope_theta": "500000.0", "vocab_size": "48",
  ]

  static func tensors(
    vocabulary: Int = 48, width: Int = 64, feedForward: Int = 192, hasOutput: Bool = true
  ) -> [TensorDescriptor] {
    var list: [(String, [Int])] = [
      ("layers.0.feed_forward.w1.weight", [feedForward, width]),
      ("tok_embeddings.weight", [vocabulary, width]),
    ]
    if hasOutput { list.append(("output.weight", [vocabulary, width])) }
    return list.map { name, shape in
      TensorDescriptor(name: ExactString(name), shape: Shape(shape), type: .f16, regions: [])
    }
  }

  static func text(_ changes: [String: String]) -> String {
    let merged = members.merging(changes) { $1 }.filter { !$0.value.isEmpty }
    return "{" + merged.map { "\"\($0.key)\":\($0.value)" }.sorted().joined(separator: ",") + "}"
  }

  static func parse(
    _ changes: [String: String] = [:], companion: ModelConfiguration? = nil,
    tensors: [TensorDescriptor] = tensors()
  ) throws(FormatError) -> ModelConfiguration {
    try ModelConfiguration(
      metaParameters: JSONValue(parsing: Array(text(changes).utf8), file: "params.json"),
      file: "params.json", companion: companion, tensors: tensors)
  }
}

@Test func readsMetasParameters() throws {
  let configuration = try Parameters.parse()
  #expect(configuration.embeddingLength == 64)
  #expect(configuration.layerCount == 2)
  #expect(configuration.headCount == 4)
  #expect(configuration.headCountKV == 2)
  #expect(configuration.headDimension == 16)
  #expect(configuration.feedForwardLength == 192)
  #expect(configuration.vocabularySize == 48)
  #expect(configuration.rmsEpsilon == 1e-5)
  #expect(configuration.rotary.theta == 500_000)
  #expect(configuration.rotary.scaling == .none)
  #expect(!configuration.tiesEmbeddings)
  #expect(configuration.contextLength == 8192)
  #expect(configuration.notes.count == 1)
  let open = try Parameters.parse(
    ["vocab_size": "-1", "n_kv_heads": "", "rope_theta": "", "multiple_of": ""],
    tensors: Parameters.tensors(vocabulary: 50, feedForward: 256, hasOutput: false))
  #expect(open.vocabularySize == 50)
  #expect(open.headCountKV == 4)
  #expect(open.rotary.theta == 10_000)
  #expect(open.feedForwardLength == 256)
  #expect(open.tiesEmbeddings)
}

/// Sizes that Meta's releases state, and the feed-forward length that their tensors have.
@Test(arguments: [
  (4096, 256, nil, 11_008), (5120, 256, nil, 13_824), (8192, 256, nil, 22_016),
  (8192, 4096, "1.3", 28_672), (4096, 1024, "1.3", 14_336), (16_384, 4096, "1.2", 53_248),
  (2048, 256, "1.5", 8192), (3072, 256, "1.0", 8192),
])
func feedForwardLengthsAreThoseOfTheReleases(
  _ width: Int, _ multiple: Int, _ multiplier: String?, _ length: Int
) throws {
  let changes = [
    "dim": "\(width)", "n_heads": "32", "n_kv_heads": "8", "multiple_of": "\(multiple)",
    "ffn_dim_multiplier": multiplier ?? "",
  ]
  let tensors = Parameters.tensors(width: width, feedForward: length)
  #expect(try Parameters.parse(changes, tensors: tensors).feedForwardLength == length)
}

/// The page's table of generations, row by row through `params.json` of that release.
@Test func generationsAreThoseOfThePage() throws {
  let rows = try MarkdownTable(
    page: "meta-native.md", columns: ["generation", "context", "factor", "base"]
  ).rows
  let examples: [String: [String: String]] = [
    "Llama 1": ["n_kv_heads": "", "norm_eps": "1e-06", "rope_theta": ""],
    "Llama 2": ["n_kv_heads": "", "rope_theta": ""],
    "Code Llama": ["n_kv_heads": "", "rope_theta": "1000000"],
    "Llama 3": [:],
    "Llama 3.1, 3.3": ["use_scaled_rope": "true", "rope_theta": ""],
    "Llama 3.2 1B, 3B": [
      "use_scaled_rope": "true", "dim": "2048", "n_layers": "16", "n_heads": "32",
    ],
    "Llama 4 Scout": [
      "use_scaled_rope": "true", "moe_args": #"{"num_experts":4}"#, "ffn_exp": "4",
      "rope_theta": "",
    ],
    "Llama 4 Maverick": ["moe_args": #"{"num_experts":4}"#, "ffn_exp": "4", "rope_theta": ""],
  ]
  #expect(rows.count == examples.count)
  for row in rows {
    let name = try #require(row["generation"])
    let changes = try #require(examples[name], "\(name)")
    let width = Int(changes["dim"] ?? "64") ?? 0
    let feedForward = width == 64 ? 192 : 5472
    let configuration = try Parameters.parse(
      changes, tensors: Parameters.tensors(width: width, feedForward: feedForward))
    #expect("\(configuration.contextLength)" == row["context"], "\(name)")
    #expect(configuration.notes.contains { $0.contains(name) })
    var factor = "none"
    if case .llama3(let scaling) = configuration.rotary.scaling {
      factor = "\(Int(scaling.factor))"
      #expect(scaling.originalContextLength == 8192)
      #expect(scaling.lowFrequencyFactor == 1)
      #expect(scaling.highFrequencyFactor == (name == "Llama 4 Scout" ? 1 : 4))
    }
    #expect(factor == row["factor"], "\(name)")
    if changes["rope_theta"] == "" {
      #expect(configuration.rotary.theta.map { "\(Int($0))" } == row["base"], "\(name)")
    }
  }
  // The largest Llama 1 has the epsilon of Llama 2.
  let largest = try Parameters.parse(
    ["dim": "8192", "n_layers": "80", "n_heads": "64", "n_kv_heads": "", "rope_theta": ""],
    tensors: Parameters.tensors(width: 8192, feedForward: 21_856))
  #expect(largest.contextLength == 2048)
}

@Test func configurationBesideStatesWhatIsOpen() throws {
  let scaling =
    #"{"rope_type":"llama3","factor":4,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":128}"#
  let other = ["rope_theta": "500000.0", "rope_scaling": scaling, "intermediate_size": "192"]
  let configuration = try Parameters.parse(companion: TinyConfiguration.parse(other))
  #expect(configuration.contextLength == 512)
  guard case .llama3(let found) = configuration.rotary.scaling else {
    Issue.record("no scaling")
    return
  }
  #expect(found.originalContextLength == 128)
  for (name, value) in [
    ("intermediate_size", "96"), ("num_hidden_layers", "3"), ("vocab_size", "47"),
    ("rope_theta", "10000"), ("num_key_value_heads", "4"), ("rms_norm_eps", "1e-06"),
  ] {
    let companion = try TinyConfiguration.parse(other.merging([name: value]) { $1 })
    let error = #expect(throws: FormatError.self) { try Parameters.parse(companion: companion) }
    #expect(error?.field == name)
    #expect("\(try #require(error))".contains("different models"))
  }
}

@Test(arguments: [
  ("dim", "0"), ("dim", "66.0"), ("dim", "65"), ("dim", ""), ("dim", "99999999999"),
  ("n_layers", "0"), ("n_layers", "513"), ("n_layers", "\"2\""), ("n_layers", ""),
  ("n_heads", "3"), ("n_heads", "64"), ("n_kv_heads", "3"), ("n_kv_heads", "8"),
  ("n_kv_heads", "0"), ("multiple_of", "0"), ("multiple_of", "256"),
  ("ffn_dim_multiplier", "1.5"), ("ffn_dim_multiplier", "-1"),
  ("ffn_dim_multiplier", "1e30"), ("ffn_dim_multiplier", "1e-9"), ("norm_eps", "0"),
  ("norm_eps", "1e999"), ("norm_eps", ""), ("rope_theta", "-5"), ("vocab_size", "47"),
  ("vocab_size", "-2"), ("vocab_size", "\"48\""), ("use_scaled_rope", "1"),
  ("moe_args", "{}"), ("vision_chunk_size", "560"), ("head_dim", "32"),
  ("sliding_window", "4096"), ("use_qk_norm", "true"), ("hidden_dim", "192"),
  ("rope_scaling_factor", "8"), ("rope_high_freq_factor", "4"), ("unheard_of", "\"x\""),
  ("moe", "{\"num_experts\": 8}"), ("vision_args", "{}"), ("attention_chunk_size", "8192"),
  ("vision_chunk_size", "-2"), ("vision_num_cross_attention_layers", "8"),
])
func refusesParametersThatContradictOrMean(_ member: String, _ value: String) throws {
  let error = #expect(throws: FormatError.self) { try Parameters.parse([member: value]) }
  let message = "\(try #require(error))"
  #expect(message.contains("params.json"))
  #expect(!message.contains("\n"))
}

@Test func membersAreThoseOfThePage() throws {
  let rows = try MarkdownTable(
    page: "meta-native.md", columns: ["member of `params.json`", "allowed"]
  ).rows
  let names = Set(
    rows.flatMap { row in
      (row["member of `params.json`"] ?? "").split(separator: "`").map(String.init)
        .filter { !$0.contains(",") && !$0.contains(" ") }
    })
  let known =
    MetaParameters.used + MetaParameters.usedOfLlama4 + MetaParameters.passedOver
    + MetaParameters.ofVision
  for name in known { #expect(names.contains(name), "\(name)") }
  let experts = try MarkdownTable(
    page: "meta-native.md", columns: ["member of `moe_args`", "allowed"])
  #expect(
    experts.rows.compactMap { $0["member of `moe_args`"] }
      == ExpertConfiguration.metaMembers.map { "`\($0)`" })
}

@Test func statedScalingTakesThePlaceOfTheGenerations() throws {
  let changes = [
    "use_scaled_rope": "true", "rope_scaling_factor": "16", "rope_high_freq_factor": "2.5",
  ]
  guard case .llama3(let scaling) = try Parameters.parse(changes).rotary.scaling else {
    Issue.record("no scaling")
    return
  }
  #expect(scaling.factor == 16 && scaling.highFrequencyFactor == 2.5)
  for wrong in [["rope_scaling_factor": "0.5"], ["rope_high_freq_factor": "0.5"]] {
    #expect(throws: FormatError.self) { try Parameters.parse(changes.merging(wrong) { $1 }) }
  }
}

@Test func settingsThatNoWeightDependsOnArePassedOver() throws {
  let plain = try Parameters.parse()
  let quiet = try Parameters.parse([
    "moe": "null", "moe_args": "null", "use_qk_norm": "false", "head_dim": "16",
    "vision_chunk_size": "-1", "vision_num_cross_attention_layers": "-1",
  ])
  #expect(quiet.notes == plain.notes)
  let configuration = try Parameters.parse(["max_seq_len": "4096", "max_batch_size": "32"])
  #expect(configuration.contextLength == plain.contextLength)
  #expect(configuration.notes.count == plain.notes.count + 1)
  #expect(configuration.notes.contains { $0.contains("max_batch_size, max_seq_len") })
}

/// Sizes of the two releases, as their published configurations have them.
@Test(arguments: [(true, 48, 16, 1), (false, 48, 128, 2)])
func sizesOfLlama4AreThoseOfTheReleases(
  _ isScout: Bool, _ layerCount: Int, _ expertCount: Int, _ step: Int
) throws {
  let configuration = try Parameters.parse(
    [
      "dim": "5120", "n_layers": "\(layerCount)", "n_heads": "40", "n_kv_heads": "8",
      "multiple_of": "2048", "ffn_dim_multiplier": "1.2", "ffn_exp": "4.0", "vocab_size": "202048",
      "use_scaled_rope": "\(isScout)", "use_qk_norm": "\(isScout)", "nope_layer_interval": "4",
      "attention_chunk_size": "8192", "vision_args": "{}",
      "moe_args":
        #"{"num_experts":\#(expertCount),"top_k":1,"interleave_moe_layer_step":\#(step)}"#,
    ], tensors: Parameters.tensors(vocabulary: 202_048, width: 5120, feedForward: 16_384))
  #expect(configuration.modelClass.architecture == "llama4")
  #expect(configuration.feedForwardLength == 16_384)
  let experts = try #require(configuration.experts)
  #expect(experts.feedForwardLength == 8192 && experts.count == expertCount)
  #expect(experts.usedCount == 1 && experts.layerStep == step)
  #expect(configuration.headDimension == 128 && configuration.headCountKV == 8)
  // llama.cpp computes this, so that nothing has to be said.
  #expect(try configuration.nonstockMetadata(isAllowed: false).keys.isEmpty)
  #expect(configuration.notes.contains { $0.contains("attn_temperature_tuning") })
}

/// Tensors joined from `shardCount` files, of which keys come from fewer.
private func joined(_ shapes: [(String, [Int], Int)]) -> [TensorDescriptor] {
  shapes.map { name, shape, regionCount in
    TensorDescriptor(
      name: ExactString(name), shape: Shape(shape), type: .f16,
      regions: (0..<regionCount).map { .init(file: $0, fileOffset: 0, byteCount: 2) })
  }
}

/// Four shards of two key heads: the file counts two, or one per shard.
@Test func headsThatShardsRepeatCountOnce() throws {
  let tensors = joined([
    ("layers.0.attention.wq.weight", [64, 64], 4), ("layers.0.attention.wk.weight", [32, 64], 2),
    ("layers.0.feed_forward.w1.weight", [192, 64], 4), ("tok_embeddings.weight", [48, 64], 4),
    ("output.weight", [48, 64], 4),
  ])
  for stated in ["2", "4"] {
    #expect(try Parameters.parse(["n_kv_heads": stated], tensors: tensors).headCountKV == 2)
  }
}

@Test func sizesThatAreShortByWholeShardsSaySo() throws {
  func advice(_ feedForward: Int, _ shardCount: Int, _ changes: [String: String] = [:]) -> String {
    let tensors = joined([
      ("layers.0.feed_forward.w1.weight", [feedForward, 64], shardCount),
      ("tok_embeddings.weight", [48, 64], 1),
    ])
    return (#expect(throws: FormatError.self) { try Parameters.parse(changes, tensors: tensors) })
      .map { "\($0)" } ?? ""
  }
  #expect(advice(96, 1).contains("1 shard was found, and the sizes are those of 2"))
  #expect(advice(144, 3).contains("3 shards were found, and the sizes are those of 4"))
  #expect(!advice(100, 1).contains("found, and"))
  #expect(!advice(384, 1).contains("found, and"))
}

/// However a byte is changed: a configuration or a `FormatError`, never a crash.
@Test func changedParametersNeverCrash() {
  let bytes = Array(Parameters.text(["use_scaled_rope": "true", "ffn_dim_multiplier": "1.1"]).utf8)
  var accepted = 0
  for position in bytes.indices {
    for value in UInt8(0x20)...0x7E {
      var changed = bytes
      changed[position] = value
      guard let document = try? JSONValue(parsing: changed, file: "params.json") else { continue }
      if (try? ModelConfiguration(
        metaParameters: document, file: "params.json", tensors: Parameters.tensors())) != nil
      {
        accepted += 1
      }
    }
  }
  #expect(accepted > 0)
}
