import ByteIO
import FuzzedReaders
import StrictJSON
import TestSupport
import Testing

/// Files whose fields are changed one at a time, each many times; `INGOT_MUTATIONS` of the other
/// mutation tests does not change these, which take seconds.
private let caseCount = 3000

/// Reads changed files: a trap ends the process, and a refusal has one line.
///
/// Changes have to end on both sides, or they do not reach far enough.
private func expectSound(
  _ reader: FuzzedReader, cases: Int = caseCount, seed: UInt64 = 1,
  _ mutate: (inout SplitMix64) -> [UInt8]
) {
  var generator = SplitMix64(seed: seed)
  let bench = FuzzBench()
  var accepted = 0
  for index in 0..<cases {
    let bytes = mutate(&generator)
    do throws(FormatError) {
      try reader.read(bytes, bench)
      accepted += 1
    } catch {
      let text = "\(error)"
      #expect(!text.contains("\n") && text.utf8.count < 4_000, "\(reader) case \(index): \(text)")
    }
  }
  #expect(accepted > cases / 100, "\(reader): \(accepted) of \(cases) were accepted")
  #expect(accepted < cases, "\(reader)")
}

// MARK: Binary formats

private func count(_ value: Int, _ byteCount: Int = 8) -> StructuredFile.Field {
  .integer(UInt64(value), byteCount: byteCount)
}

private func text(_ text: String, _ countByteCount: Int = 8) -> StructuredFile.Field {
  .counted(Array(text.utf8), countByteCount: countByteCount)
}

/// An archive with values of every kind, a small tokenizer and two tensors.
private let archive: StructuredFile = {
  let tokens = ["<s>", "</s>", "a", "b", "ab", "\u{120}", "c"]
  var keys: [[StructuredFile.Field]] = [
    [text("general.architecture"), count(8, 4), text("llama")],
    [text("general.alignment"), count(4, 4), count(32, 4)],
    [text("llama.block_count"), count(4, 4), count(1, 4)],
    [text("a.u8"), count(0, 4), count(7, 1)], [text("a.i16"), count(3, 4), count(7, 2)],
    [text("a.f32"), count(6, 4), .bytes([0, 0, 0x80, 0x3F])],
    [text("a.bool"), count(7, 4), count(1, 1)], [text("a.u64"), count(10, 4), count(7, 8)],
    [text("a.nested"), count(9, 4), count(9, 4), count(1), count(5, 4), count(1), count(9, 4)],
    [text("tokenizer.ggml.model"), count(8, 4), text("gpt2")],
    [text("tokenizer.ggml.pre"), count(8, 4), text("llama-bpe")],
    [text("tokenizer.ggml.bos_token_id"), count(4, 4), count(0, 4)],
    [text("tokenizer.ggml.eos_token_id"), count(4, 4), count(1, 4)],
  ]
  keys.append(
    [text("tokenizer.ggml.tokens"), count(9, 4), count(8, 4), count(tokens.count)]
      + tokens.map { text($0) })
  keys.append(
    [text("tokenizer.ggml.token_type"), count(9, 4), count(5, 4), count(tokens.count)]
      + tokens.indices.map { count($0 < 2 ? 3 : 1, 4) })
  keys.append(
    [text("tokenizer.ggml.merges"), count(9, 4), count(8, 4), count(1), text("a b")])
  let tensors: [[StructuredFile.Field]] = [
    [text("a.weight"), count(2, 4), count(32), count(2), count(0, 4), count(0)],
    [text("b.weight"), count(2, 4), count(256), count(1), count(12, 4), count(256)],
  ]
  return StructuredFile(
    [.bytes(Array("GGUF".utf8)), count(3, 4), count(tensors.count), count(keys.count)]
      + keys.joined() + tensors.joined()
      + [.padding(32), .bytes([UInt8](repeating: 0, count: 400)), .padding(32)])
}()

@Test func changedArchivesAreRefusedOrSound() {
  expectSound(.gguf) { archive.mutated(by: &$0) }
}

@Test func changedImportanceIsRefusedOrSound() {
  func entry(_ name: String, _ values: [Float]) -> [StructuredFile.Field] {
    [text(name, 4), count(3, 4), count(values.count, 4)]
      + values.map { .integer(UInt64($0.bitPattern), byteCount: 4) }
  }
  let legacy = StructuredFile(
    [count(2, 4)] + entry("blk.0.attn_q.weight", [1, 2, 3, 4])
      + entry("blk.0.ffn_down.weight", [5, 6]) + [count(3, 4), text("text.txt", 4)])
  expectSound(.imatrix) { legacy.mutated(by: &$0) }

  var keys: [[StructuredFile.Field]] = [
    [text("general.type"), count(8, 4), text("imatrix")],
    [text("imatrix.chunk_count"), count(4, 4), count(2, 4)],
    [text("imatrix.chunk_size"), count(4, 4), count(512, 4)],
  ]
  keys.append([text("imatrix.datasets"), count(9, 4), count(8, 4), count(1), text("t.txt")])
  func tensor(_ name: String, _ columns: Int, _ offset: Int) -> [StructuredFile.Field] {
    [text(name), count(2, 4), count(columns), count(1), count(0, 4), count(offset)]
  }
  let form = StructuredFile(
    [.bytes(Array("GGUF".utf8)), count(3, 4), count(2), count(keys.count)] + keys.joined()
      + tensor("blk.0.attn_q.weight.in_sum2", 8, 0) + tensor("blk.0.attn_q.weight.counts", 1, 32)
      + [.padding(32)] + (0..<8).map { _ in .bytes([0, 0, 0x80, 0x3F]) }
      + [.bytes([0, 0, 0x80, 0x40]), .padding(32)])
  expectSound(.imatrix, seed: 2) { form.mutated(by: &$0) }
}

/// `{"w": tensor of 2×3 F32, "v": tensor of 4 F16}` in instructions; `FuzzedReader` adds records.
private let pickle: StructuredFile = {
  func op(_ letter: String) -> StructuredFile.Field { .bytes(Array(letter.utf8)) }
  func name(_ text: String) -> [StructuredFile.Field] {
    [op("X"), .counted(Array(text.utf8), countByteCount: 4)]
  }
  func global(_ module: String, _ name: String) -> [StructuredFile.Field] {
    [op("c"), .bytes(Array("\(module)\n\(name)\n".utf8))]
  }
  func int(_ value: Int) -> [StructuredFile.Field] { [op("J"), count(value, 4)] }
  func tuple(_ values: [Int]) -> [StructuredFile.Field] {
    [op("(")] + values.flatMap(int) + [op("t")]
  }
  func tensor(
    _ key: String, _ label: String, _ storage: String, _ shape: [Int], _ strides: [Int]
  ) -> [StructuredFile.Field] {
    name(label) + global("torch._utils", "_rebuild_tensor_v2") + [op("("), op("(")]
      + name("storage") + global("torch", storage) + name(key) + name("cpu")
      + int(shape.reduce(1, *)) + [op("t"), op("Q")] + int(0) + tuple(shape) + tuple(strides)
      + [.bytes([0x89])] + global("collections", "OrderedDict")
      + [op(")"), op("R"), op("t"), op("R")]
  }
  let sizes: [UInt8] = [2, 24, 0, 8, 0]
  return StructuredFile(
    [.bytes(sizes), .bytes([0x80, 2])] + global("collections", "OrderedDict")
      + [op(")"), op("R"), op("q"), count(0, 1), op("(")]
      + tensor("0", "w", "FloatStorage", [2, 3], [3, 1])
      + tensor("1", "v", "HalfStorage", [4], [1]) + [op("u"), op(".")])
}()

@Test func changedPicklesAreRefusedOrSound() {
  expectSound(.pickle) { pickle.mutated(by: &$0) }
}

/// The ZIP archive around a sound pickle: its headers' numbers, names and places.
@Test func changedZIPArchivesAreRefusedOrSound() {
  let tensor = TorchArchive.Tensor(
    name: "w", storage: "FloatStorage", shape: [2, 3], bytes: [UInt8](repeating: 0, count: 24))
  let sound = TorchArchive.bytes([tensor])
  let signatures: [[UInt8]] = [[0x50, 0x4B, 3, 4], [0x50, 0x4B, 1, 2], [0x50, 0x4B, 5, 6]]
  let headers = sound.indices.filter { at in signatures.contains { sound[at...].starts(with: $0) } }
  expectSound(.pytorch) { generator in
    var bytes = sound
    for _ in 0...generator.below(2) {
      let place = headers[generator.below(headers.count)] + 4 + generator.below(42)
      let width = [1, 2, 4, 8][generator.below(4)]
      guard place + width <= bytes.count else { continue }
      let old = (0..<width).reduce(UInt64(0)) { $0 | UInt64(bytes[place + $1]) << ($1 * 8) }
      let new = generator.extreme(near: old)
      for index in 0..<width {
        bytes[place + index] = UInt8(truncatingIfNeeded: new >> (index * 8))
      }
    }
    return bytes
  }
}

// MARK: JSON formats

private func document(_ text: String) throws -> JSONValue {
  try JSONValue(parsing: Array(text.utf8), file: "example")
}

private func fixture(_ path: String) throws -> JSONValue {
  try JSONValue(parsing: Fixtures.bytes(path), file: path)
}

/// Length and data follow the header, so that offsets and shapes decide.
@Test func changedSafetensorsHeadersAreRefusedOrSound() throws {
  let header = try document(
    """
    {"__metadata__": {"format": "pt"},
     "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
     "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
     "c": {"dtype": "F16", "shape": [0, 7], "data_offsets": [32, 32]},
     "d": {"dtype": "I64", "shape": [], "data_offsets": [32, 40]}}
    """)
  expectSound(.safetensors) { generator in
    let text = header.mutated(by: &generator)
    let count = (0..<8).map { UInt8(truncatingIfNeeded: text.count >> ($0 * 8)) }
    return count + text + [UInt8](repeating: 0, count: 40)
  }
}

@Test(
  arguments: [
    (FuzzedReader.configuration, "models/llama3/config.json", caseCount),
    (.tokenizer, "golden/forward/tokenizer.json", caseCount),
    (.tokenizerSettings, "models/llama3/tokenizer_config.json", caseCount),
    (.index, "models/llama3/model.safetensors.index.json", 0),
  ])
func changedDocumentsAreRefusedOrSound(
  _ reader: FuzzedReader, _ path: String, _ cases: Int
) throws {
  guard cases > 0 else {
    // The index of the two shards that the reader puts beside it.
    let index = try document(
      """
      {"metadata": {"total_size": 16}, "weight_map": {"a": "model-00001-of-00002.safetensors",
       "b": "model-00002-of-00002.safetensors"}}
      """)
    expectSound(reader) { index.mutated(by: &$0) }
    return
  }
  let sound = try fixture(path)
  expectSound(reader, cases: cases) { sound.mutated(by: &$0) }
}

@Test func changedParametersAreRefusedOrSound() throws {
  let parameters = try document(
    """
    {"dim": 256, "n_layers": 1, "n_heads": 8, "n_kv_heads": 4, "vocab_size": 2048,
     "multiple_of": 256, "ffn_dim_multiplier": 1.0, "norm_eps": 1e-05, "rope_theta": 500000.0,
     "use_scaled_rope": true}
    """)
  expectSound(.parameters) { parameters.mutated(by: &$0) }
}
