import ByteIO
import GGUF
import Tensors
import TestSupport
import Testing
import Verification

@Test func passesASoundArchive() throws {
  let report = try ExampleModel().check()
  #expect(report.findings == [])
  #expect(report.passed)
  #expect(report.architecture == "llama")
  #expect(report.tensorCount == 21)
}

/// llama.cpp passes over what follows the last tensor; whoever checks a file wants to know of it.
@Test func warnsOfBytesBehindTheLastTensor() throws {
  let folder = TemporaryFolder()
  let sound = try ExampleModel().bytes()
  let path = folder.write("appended.gguf", sound + [1, 2, 3])
  let report = try ArchiveCheck(rules: .forTests).run(path)
  #expect(report.passed && report.findings.count == 1)
  let finding = try #require(report.findings.first)
  #expect(finding.severity == .warning && finding.subject == "appended.gguf")
  #expect(finding.problem.contains("3 bytes follow its last tensor"))
  #expect(finding.fileOffset == UInt64(sound.count))
}

@Test func passesTiedEmbeddingsBiasesAndRopeFactors() throws {
  var model = ExampleModel()
  model.remove("output.weight")
  model.add("rope_freqs.weight", [4])
  model.add("blk.1.attn_q.bias", [32])
  model.add("blk.1.attn_k.bias", [16])
  model.add("blk.0.ffn_down.bias", [32])
  #expect(try model.check().findings == [])
}

@Test func passesAMixtureOfExperts() throws {
  var model = ExampleModel()
  model.metadata["llama.expert_count"] = .uint32(3)
  model.metadata["llama.expert_used_count"] = .uint32(1)
  for layer in 0..<2 {
    for name in ["gate", "up", "down"] { model.remove("blk.\(layer).ffn_\(name).weight") }
    model.add("blk.\(layer).ffn_gate_inp.weight", [3, 32])
    model.add("blk.\(layer).ffn_gate_exps.weight", [3, 96, 32], .q4_0)
    model.add("blk.\(layer).ffn_up_exps.weight", [3, 96, 32], .q4_0)
    model.add("blk.\(layer).ffn_down_exps.weight", [3, 32, 96], .q4_0)
  }
  #expect(try model.check().findings == [])
}

@Test func passesSizesPerLayer() throws {
  var model = ExampleModel()
  model.metadata["llama.attention.head_count_kv"] = .array(.int32([2, 4]))
  model.change("blk.1.attn_k.weight") { $0.shape = Shape([32, 32]) }
  model.change("blk.1.attn_v.weight") { $0.shape = Shape([32, 32]) }
  #expect(try model.check().findings == [])
}

/// A fault, the subject of the finding it has to cause, and a word of its text.
struct Fault: CustomTestStringConvertible, Sendable {
  var testDescription: String
  var subject: String
  var word: String
  var spoil: @Sendable (inout ExampleModel) -> Void

  init(
    _ name: String, _ subject: String, _ word: String,
    _ spoil: @escaping @Sendable (inout ExampleModel) -> Void
  ) {
    testDescription = name
    self.subject = subject
    self.word = word
    self.spoil = spoil
  }

  static func key(_ key: String, _ value: MetadataValue?, _ word: String) -> Fault {
    Fault("\(key) \(value.map { "\($0)" } ?? "missing")", key, word) { $0.metadata[key] = value }
  }
}

private let keyFaults: [Fault] = [
  .key("general.architecture", nil, "missing"),
  .key("general.architecture", .uint32(1), "type"),
  .key("llama.block_count", nil, "missing"),
  .key("llama.block_count", .uint32(0), "is 0"),
  .key("llama.block_count", .uint32(513), "is 513"),
  .key("llama.block_count", .uint32(.max), "is 4294967295"),
  .key("llama.block_count", .uint64(2), "type"),
  .key("llama.context_length", nil, "missing"),
  .key("llama.embedding_length", nil, "missing"),
  .key("llama.embedding_length", .uint32(0), "is 0"),
  .key("llama.feed_forward_length", nil, "missing"),
  .key("llama.feed_forward_length", .array(.uint32([96])), "1 numbers"),
  .key("llama.feed_forward_length", .array(.int32([96, -1])), "is -1"),
  .key("llama.attention.head_count", .uint32(0), "is 0"),
  .key("llama.attention.head_count", .uint32(5), "is 5"),
  .key("llama.attention.head_count", .array(.uint32([])), "0 numbers"),
  .key("llama.attention.head_count_kv", .uint32(3), "is 3"),
  .key("llama.attention.layer_norm_rms_epsilon", nil, "missing"),
  .key("llama.attention.layer_norm_rms_epsilon", .float32(.nan), "nan"),
  .key("llama.attention.layer_norm_rms_epsilon", .float32(0), "is 0"),
  .key("llama.attention.layer_norm_rms_epsilon", .float32(-1), "is -1"),
  .key("llama.attention.value_length", .uint32(16), "is 16"),
  .key("llama.rope.freq_base", .float32(0), "is 0"),
  .key("llama.rope.freq_base", .float32(.infinity), "inf"),
  .key("llama.rope.dimension_count", .uint32(6), "is 6"),
  .key("llama.rope.scaling.type", .string("magic"), "magic"),
  .key("llama.vocab_size", .uint32(6), "is 6"),
]

private let tokenizerFaults: [Fault] = [
  .key("tokenizer.ggml.model", nil, "missing"),
  .key("tokenizer.ggml.tokens", nil, "missing"),
  .key("tokenizer.ggml.tokens", .array(.string(StringTable())), "empty"),
  .key("tokenizer.ggml.tokens", .array(.uint8([1])), "array of uint8"),
  .key("tokenizer.ggml.token_type", .array(.int32([3, 1, 1, 1])), "4 elements"),
  .key("tokenizer.ggml.token_type", .array(.uint32([3, 1, 1, 1, 3])), "array of uint32"),
  .key("tokenizer.ggml.scores", .array(.float32([0, 0, 0, 0, 0, 0])), "6 elements"),
  .key("tokenizer.ggml.merges", nil, "missing"),
  .key("tokenizer.ggml.bos_token_id", .uint32(5), "is 5"),
  .key("tokenizer.ggml.eos_token_id", .int32(1), "is 1"),
  .key("tokenizer.ggml.add_bos_token", .uint32(1), "uint32"),
  Fault("token type 7", "tokenizer.ggml.token_type[2]", "is 7") {
    $0.metadata["tokenizer.ggml.token_type"] = .array(.int32([3, 1, 7, 1, 3]))
  },
  Fault("score NaN", "tokenizer.ggml.scores[4]", "NaN") {
    $0.metadata["tokenizer.ggml.scores"] = .array(.float32([0, 0, 0, 0, .nan]))
  },
  Fault("merge of one piece", "tokenizer.ggml.merges[1]", "is ab") {
    $0.metadata["tokenizer.ggml.merges"] = .array(.string(StringTable(["a b", "ab"])))
  },
]

private let tensorFaults: [Fault] = [
  Fault("no embedding", "token_embd.weight", "missing") { $0.remove("token_embd.weight") },
  Fault("no norm", "blk.1.ffn_norm.weight", "missing") { $0.remove("blk.1.ffn_norm.weight") },
  Fault("one token more", "token_embd.weight", "[6, 32]") {
    $0.change("token_embd.weight") { $0.shape = Shape([6, 32]) }
  },
  Fault("transposed", "blk.0.ffn_down.weight", "[96, 32]") {
    $0.change("blk.0.ffn_down.weight") { $0.shape = Shape([96, 32]) }
  },
  Fault("keys as wide as queries", "blk.1.attn_k.weight", "[32, 32]") {
    $0.change("blk.1.attn_k.weight") { $0.shape = Shape([32, 32]) }
  },
  Fault("a layer too many", "blk.2.attn_norm.weight", "layer") {
    $0.add("blk.2.attn_norm.weight", [32])
  },
  Fault("a layer too few in the keys", "blk.1.attn_q.weight", "layer") {
    $0.metadata["llama.block_count"] = .uint32(1)
  },
  Fault("a layer too few in the tensors", "blk.2.attn_q.weight", "missing") {
    $0.metadata["llama.block_count"] = .uint32(3)
  },
  Fault("experts in a dense model", "blk.0.ffn_gate_inp.weight", "experts") {
    $0.add("blk.0.ffn_gate_inp.weight", [3, 32])
  },
  Fault("dense tensors with experts", "blk.0.ffn_up_exps.weight", "missing") {
    $0.metadata["llama.expert_count"] = .uint32(3)
  },
]

@Test(arguments: keyFaults + tokenizerFaults + tensorFaults)
func finds(_ fault: Fault) throws {
  var model = ExampleModel()
  fault.spoil(&model)
  let report = try model.check()
  #expect(!report.passed)
  let texts = report.findings.filter { $0.subject == fault.subject }.map(\.description)
  #expect(texts.contains { $0.contains(fault.word) }, "\(report.findings)")
}

@Test func warnsOfUnknownTensorsAndArchitectures() throws {
  var model = ExampleModel()
  model.add("extra.weight", [4])
  let extra = try model.check()
  #expect(extra.passed)
  #expect(extra.findings.map(\.subject) == ["extra.weight"])
  model.metadata["general.architecture"] = .string("gpt2")
  let other = try model.check()
  #expect(other.passed)
  #expect(other.findings.map(\.subject) == ["general.architecture"])
}

@Test func passesAnImportanceMatrixWithAWarning() throws {
  let report = try ArchiveCheck(rules: .forTests)
    .run(Fixtures.path("models/imatrix/llama2.gguf"))
  #expect(report.passed)
  #expect(report.findings.map(\.subject) == ["general.type"])
}

@Test func throwsWhereTheFileCannotBeRead() throws {
  let folder = TemporaryFolder()
  let path = folder.write("cut.gguf", try ExampleModel().bytes().dropLast(40))
  #expect(throws: FormatError.self) { try ArchiveCheck(rules: .forTests).run(path) }
}

@Test func listsAtMostSoManyFindings() throws {
  var model = ExampleModel()
  model.metadata["llama.block_count"] = .uint32(512)
  let report = try model.check()
  #expect(report.findings.count == CheckReport.findingLimit)
  #expect(report.omittedFindingCount == 510 * 9 - CheckReport.findingLimit)
}

/// However many elements are wrong, a key gives one finding.
@Test func reportsTheFirstBadElementOfAnArrayOnly() throws {
  var model = ExampleModel()
  model.metadata["llama.attention.head_count"] = .array(.int32([4, -1, -2, 0]))
  let key = "llama.attention.head_count"
  #expect(try model.check().findings.filter { $0.subject == key }.map(\.problem) == ["is -1"])
  for (count, isTooLong) in [(4096, false), (4097, true)] {
    model.metadata[key] = .array(.uint32([UInt32](repeating: 0, count: count)))
    let problems = try model.check().findings.filter { $0.subject == key }.map(\.problem)
    #expect(problems == [isTooLong ? "has 4097 numbers" : "is 0"])
  }
}
