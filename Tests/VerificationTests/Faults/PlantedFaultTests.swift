import ByteIO
import GGUF
import Ingot
import Tensors
import TestSupport
import Testing

/// The candidate of every test: a quantized archive of the bundled Llama 3, changed.
private func verify(
  type: String = "Q4_K_M", gates: [String: String] = ["max-mean-kld": "0.02"],
  _ change: (inout EditedArchive) throws -> Void
) throws -> VerificationResult {
  let folder = TemporaryFolder()
  var archive = try EditedArchive(Archives.make("llama3", type: type, in: folder))
  try change(&archive)
  var options = VerificationOptions(
    reference: Archives.checkpoint("llama3"),
    candidate: try archive.write(folder.file("candidate.gguf")))
  options.text = Archives.text
  options.contextLength = 128
  options.chunkLimit = 24
  return try Verifier(options, gates: gates, threadCount: 2).run().result
}

private func findings(_ result: VerificationResult) -> [String: String] {
  var findings: [String: String] = [:]
  for tensor in result.tensors { findings[tensor.name] = tensor.finding }
  return findings
}

private func origin(_ result: VerificationResult) -> Int? {
  result.layers.first(where: \.isWhereDriftBegins)?.layer
}

@Test func healthyArchivePasses() throws {
  let result = try verify { _ in }
  #expect(result.passed, "\(findings(result)) \(result.gates)")
  #expect(findings(result).isEmpty && origin(result) == nil && result.warnings.isEmpty)
  #expect(result.tensors.count == 57 && result.layers.count == 7)
}

/// One tensor's rotary rows in the checkpoint's order, as if the permutation had been forgotten.
@Test(arguments: ["Q4_K_M", "F16"])
func missingPermutationIsNamed(_ type: String) throws {
  let result = try verify(type: type) { archive in
    let tensor = archive["blk.2.attn_q.weight"]
    let rowBytes = tensor.bytes.count / 256
    var bytes = tensor.bytes
    for row in 0..<256 {
      // Heads of 32 rows: pair p, part s lies at 2 p + s and belongs to 16 s + p.
      let (head, inHead) = row.quotientAndRemainder(dividingBy: 32)
      let target = head * 32 + inHead % 2 * 16 + inHead / 2
      bytes.replaceSubrange(
        target * rowBytes..<(target + 1) * rowBytes,
        with: tensor.bytes[row * rowBytes..<(row + 1) * rowBytes])
    }
    archive["blk.2.attn_q.weight"].bytes = bytes
  }
  #expect(!result.passed)
  #expect(findings(result).keys.sorted() == ["blk.2.attn_q.weight"])
  #expect(
    findings(result)["blk.2.attn_q.weight"]?.contains("permutation is missing") == true,
    "\(findings(result))")
  #expect(origin(result) == 2)
}

/// The smallest such fault: the rows of a single head.
@Test func missingPermutationOfOneHeadIsNamed() throws {
  let result = try verify { archive in
    let tensor = archive["blk.4.attn_k.weight"]
    let rowBytes = tensor.bytes.count / 128
    for row in 32..<64 {
      let inHead = row - 32
      let target = 32 + inHead % 2 * 16 + inHead / 2
      archive["blk.4.attn_k.weight"].bytes.replaceSubrange(
        target * rowBytes..<(target + 1) * rowBytes,
        with: tensor.bytes[row * rowBytes..<(row + 1) * rowBytes])
    }
  }
  let finding = try #require(findings(result)["blk.4.attn_k.weight"])
  #expect(findings(result).count == 1 && !result.passed)
  #expect(
    finding.contains("permutation is missing") && finding.contains("of 128 rows"), "\(finding)")
}

/// One bit of one scale among 17,000: the sixth of the ten that a half precision number has.
@Test(arguments: [(3, 1), (3, 3), (0, 1)])
func flippedScaleBitIsLocated(_ place: (block: Int, bit: Int)) throws {
  let result = try verify { archive in
    // Q4_K: the scale of scales is the first field, its upper byte the second one.
    archive["blk.3.ffn_up.weight"].bytes[place.block * 144 + 1] ^= 1 << UInt8(place.bit)
  }
  #expect(!result.passed)
  let finding = try #require(findings(result)["blk.3.ffn_up.weight"])
  #expect(findings(result).count == 1)
  #expect(
    finding.hasPrefix("block \(place.block) (row \(place.block), column 0, byte "), "\(finding)")
  #expect(origin(result) == 3)
}

@Test func swappedLayersAreNamed() throws {
  let result = try verify { archive in
    for name in archive.tensors.map(\.name.string) where name.hasPrefix("blk.1.") {
      // Layers of one mix may differ in type: the data goes with its type.
      let other = name.replacing("blk.1.", with: "blk.4.")
      let (a, b) = (archive[name], archive[other])
      archive[name].bytes = b.bytes
      archive[name].type = b.type
      archive[other].bytes = a.bytes
      archive[other].type = a.type
    }
  }
  #expect(!result.passed)
  let findings = findings(result)
  #expect(
    findings["blk.1.attn_v.weight"]?.contains("holds the weights of layer 4") == true,
    "\(findings)")
  #expect(findings["blk.4.ffn_down.weight"]?.contains("holds the weights of layer 1") == true)
  #expect(findings.keys.allSatisfy { $0.hasPrefix("blk.1.") || $0.hasPrefix("blk.4.") })
  #expect(findings.count == 18)
  #expect(origin(result) == 1)
}

@Test func doubledTensorIsNamed() throws {
  let result = try verify(type: "F32") { archive in
    let tensor = archive["blk.5.ffn_down.weight"]
    for offset in stride(from: 0, to: tensor.bytes.count, by: 4) {
      let value = tensor.bytes.withUnsafeBytes {
        $0.loadUnaligned(fromByteOffset: offset, as: Float.self)
      }
      withUnsafeBytes(of: value * 1.25) {
        archive["blk.5.ffn_down.weight"].bytes.replaceSubrange(offset..<offset + 4, with: $0)
      }
    }
  }
  #expect(!result.passed)
  #expect(
    findings(result)["blk.5.ffn_down.weight"]?.contains("about 1.25 times its source") == true)
  #expect(origin(result) == 5)
}

/// Facts that a key gives wrongly: the gate says which, and the drift says where it shows.
@Test(arguments: [
  ("llama.rope.freq_base", MetadataValue.float32(10_000), "same rotary frequencies"),
  ("llama.attention.layer_norm_rms_epsilon", .float32(1e-3), "same norm epsilon"),
  ("tokenizer.ggml.bos_token_id", .uint32(2039), "same beginning of text"),
  ("tokenizer.ggml.add_bos_token", .bool(false), "same use of a beginning of text"),
])
func wrongFactsAreNamed(_ key: String, _ value: MetadataValue, _ name: String) throws {
  let result = try verify { archive in
    #expect(archive.metadata[key] != nil || key.contains("add_bos"), "\(key)")
    archive.metadata[key] = value
  }
  #expect(!result.passed)
  let failed = result.gates.filter { !$0.passed }
  #expect(failed.contains { $0.name == name && $0.advice != nil }, "\(failed)")
  #expect(findings(result).isEmpty)
  // All layers are wrong; what the first one adds may hide behind the quantized embedding.
  if key.contains("freq_base") { #expect((origin(result) ?? 9) <= 1) }
}

private func expectRefusal(_ says: String, _ change: (inout EditedArchive) throws -> Void) {
  do {
    _ = try verify(gates: [:], change)
    Issue.record("was verified")
  } catch let error as FormatError {
    #expect("\(error)".contains(says), "\(error)")
  } catch {
    Issue.record("\(error)")
  }
}

@Test func truncatedVocabularyIsRefused() throws {
  expectRefusal("vocabulary") { archive in
    for name in ["token_embd.weight", "output.weight"] {
      let bytes = archive[name].bytes
      archive[name].shape = Shape([2000, 256])
      archive[name].bytes = Array(bytes.prefix(bytes.count / 2048 * 2000))
    }
    for key in ["tokens", "token_type"] {
      let key = "tokenizer.ggml." + key
      switch try #require(archive.metadata[key]?.array) {
      case .string(let strings):
        archive.metadata[key] = .array(.string(StringTable((0..<2000).map { strings.text($0) })))
      case .int32(let numbers): archive.metadata[key] = .array(.int32(Array(numbers.prefix(2000))))
      default: Issue.record("\(key)")
      }
    }
    archive.metadata["llama.vocab_size"] = .uint32(2000)
    // The special tokens were the last ones.
    archive.metadata["tokenizer.ggml.bos_token_id"] = .uint32(0)
    archive.metadata["tokenizer.ggml.eos_token_id"] = .uint32(0)
  }
}

@Test func otherTokensAreRefused() throws {
  expectRefusal("token 700 is") { archive in
    guard case .string(let strings) = archive.metadata["tokenizer.ggml.tokens"]?.array else {
      Issue.record("no tokens")
      return
    }
    var names = (0..<strings.count).map { strings.text($0) }
    names.swapAt(700, 701)
    archive.metadata["tokenizer.ggml.tokens"] = .array(.string(StringTable(names)))
  }
}

@Test func missingTensorsAndBrokenNumbersAreRefused() throws {
  expectRefusal("blk.3.ffn_gate.weight") { archive in
    archive.tensors.removeAll { $0.name.string == "blk.3.ffn_gate.weight" }
  }
  expectRefusal("layer 2") { archive in
    let infinity = [UInt8](withUnsafeBytes(of: Float.infinity) { Array($0) })
    archive["blk.2.ffn_norm.weight"].bytes.replaceSubrange(0..<4, with: infinity)
  }
  expectRefusal("logits") { archive in
    // The last row of the output: a logit that only the output stage sees.
    let infinity: [UInt8] = [0x00, 0x7C]
    let start = archive["output.weight"].bytes.count - 210
    archive["output.weight"].bytes.replaceSubrange(start + 208..<start + 210, with: infinity)
  }
}
