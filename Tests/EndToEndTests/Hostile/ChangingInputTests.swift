import ByteIO
import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A checkpoint of 60 MB of weights that takes a while to convert.
private final class LargeCheckpoint {
  let folder = TemporaryFolder()
  var path: String { folder.file("large") }
  var weights: String { folder.file("large/model.safetensors") }
  var output: String { folder.file("out/out.gguf") }
  let byteCount: Int

  init() throws {
    mkdir(folder.file("out"), 0o755)
    let fixture = Fixtures.path("models/llama3")
    let rowBytes = [UInt8](unsafeUninitializedCapacity: 256 * 2) { bytes, count in
      for index in 0..<256 {
        // BF16 around ±0.1, another value in every column.
        bytes[index * 2] = UInt8(index)
        bytes[index * 2 + 1] = index % 2 == 0 ? 0x3D : 0xBD
      }
      count = 512
    }
    func rows(_ count: Int, _ columns: Int = 256) -> [UInt8] {
      (0..<count * columns / 256).flatMap { _ in rowBytes }
    }
    var tensors = [
      ("model.embed_tokens.weight", "BF16", [2048, 256], rows(2048)),
      ("lm_head.weight", "BF16", [2048, 256], rows(2048)),
      ("model.norm.weight", "BF16", [256], rows(1)),
    ]
    let wide = rows(9216)
    for layer in 0..<4 {
      let prefix = "model.layers.\(layer)."
      tensors += [
        (prefix + "input_layernorm.weight", "BF16", [256], rows(1)),
        (prefix + "post_attention_layernorm.weight", "BF16", [256], rows(1)),
        (prefix + "self_attn.q_proj.weight", "BF16", [256, 256], rows(256)),
        (prefix + "self_attn.k_proj.weight", "BF16", [128, 256], rows(128)),
        (prefix + "self_attn.v_proj.weight", "BF16", [128, 256], rows(128)),
        (prefix + "self_attn.o_proj.weight", "BF16", [256, 256], rows(256)),
        (prefix + "mlp.gate_proj.weight", "BF16", [9216, 256], wide),
        (prefix + "mlp.up_proj.weight", "BF16", [9216, 256], wide),
        (prefix + "mlp.down_proj.weight", "BF16", [256, 9216], wide),
      ]
    }
    let image = SafetensorsImage(tensors.map { (name: $0.0, type: $0.1, shape: $0.2, data: $0.3) })
    folder.write("large/model.safetensors", image.bytes)
    byteCount = image.bytes.count
    let configuration = String(
      decoding: try Fixtures.bytes("models/llama3/config.json"), as: UTF8.self)
    folder.write(
      "large/config.json",
      configuration.replacing("\"intermediate_size\": 768", with: "\"intermediate_size\": 9216")
        .replacing("\"num_hidden_layers\": 6", with: "\"num_hidden_layers\": 4"))
    for name in ["tokenizer.json", "tokenizer_config.json"] {
      folder.link("large/" + name, to: fixture + "/" + name)
    }
  }

  /// Bytes that the output's file system has given to the unfinished output, or -1 without one.
  var writtenByteCount: Int {
    guard let name = folder.list("out").first(where: { $0.hasSuffix(".partial") }) else {
      return -1
    }
    var status = stat()
    guard lstat(folder.file("out/" + name), &status) == 0 else { return -1 }
    return Int(status.st_blocks) * 512
  }

  /// The command's words; one thread, so that a conversion lasts long enough to be disturbed.
  var command: [String] {
    [
      Command.ingot, "convert", path, "-o", output, "--type", "Q4_K_M", "--threads", "1",
      "--progress", "none",
    ]
  }
}

/// Copies a file byte for byte under another inode.
private func copy(_ path: String, to target: String) throws {
  let bytes = try PositionalFile.readAll(path, limit: 256 << 20)
  guard let file = fopen(target, "wb") else { return }
  _ = bytes.withUnsafeBytes { fwrite($0.baseAddress, 1, $0.count, file) }
  fclose(file)
}

/// What happens to the weights while they are read.
private enum Disturbance: CaseIterable {
  case truncated, grown, overwritten, renamed, replaced, removed

  func happen(to path: String, byteCount: Int, spare: String) {
    switch self {
    case .truncated: truncate(path, off_t(byteCount / 2))
    case .grown: truncate(path, off_t(byteCount + 1))
    case .overwritten:
      let descriptor = open(path, O_WRONLY)
      _ = [UInt8](repeating: 0x3C, count: 4096).withUnsafeBytes {
        pwrite(descriptor, $0.baseAddress, $0.count, off_t(byteCount - 5000))
      }
      close(descriptor)
    case .renamed: rename(path, path + ".moved")
    case .replaced: rename(spare, path)
    case .removed: unlink(path)
    }
  }
}

/// Whatever happens to the input, the command ends with an error, or had ended before.
@Test(arguments: Disturbance.allCases)
fileprivate func inputThatChangesIsNoticed(_ disturbance: Disturbance) throws {
  let checkpoint = try LargeCheckpoint()
  let original = checkpoint.folder.file("original")
  let spare = checkpoint.folder.file("spare")
  rename(checkpoint.weights, original)
  var noticed = 0
  // A moment after the last look at the input proves nothing: it is tried until it was noticed.
  for attempt in 0..<20 where noticed < 3 {
    try copy(original, to: checkpoint.weights)
    if disturbance == .replaced { try copy(original, to: spare) }
    // The input has been opened when the output is there, and is read while that grows.
    let result = Command.run(
      checkpoint.command, at: { checkpoint.writtenByteCount >= attempt % 3 * 3_000_000 }
    ) { _ in
      disturbance.happen(to: checkpoint.weights, byteCount: checkpoint.byteCount, spare: spare)
    }
    let outputs = checkpoint.folder.list("out")
    switch result.status {
    case 0: #expect(outputs == ["out.gguf"])
    case 65, 66:
      noticed += 1
      expectRefusal(
        result, status: result.status, says: ["large"], leaving: outputs, "\(disturbance)")
    default: Issue.record("\(disturbance): \(result)")
    }
    unlink(checkpoint.output)
  }
  #expect(noticed == 3, "\(disturbance)")
}

/// A killed conversion leaves its output absent or complete.
@Test func killedConversionLeavesNoHalfFile() throws {
  let checkpoint = try LargeCheckpoint()
  let start = ContinuousClock.now
  #expect(Command.run(checkpoint.command).status == 0)
  let duration = UInt32((ContinuousClock.now - start) / .microseconds(1))
  let whole = try PositionalFile.readAll(checkpoint.output, limit: 256 << 20)
  unlink(checkpoint.output)
  var generator = SplitMix64(seed: 7)
  for _ in 0..<12 {
    let delay = UInt32(generator.next() % UInt64(duration + duration / 10))
    _ = Command.run(checkpoint.command, signalAfter: (SIGKILL, delay))
    if checkpoint.folder.list("out").contains("out.gguf") {
      #expect(try PositionalFile.readAll(checkpoint.output, limit: 256 << 20) == whole)
    }
    for name in checkpoint.folder.list("out") {
      #expect(name == "out.gguf" || name.hasPrefix(".out.gguf.ingot."))
      unlink(checkpoint.folder.file("out/" + name))
    }
  }
}
