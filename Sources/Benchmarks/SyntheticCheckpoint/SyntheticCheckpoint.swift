import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Writes a Hugging Face checkpoint of real shape and size with generated weights, for measuring
/// speed and memory: about 2 GB in two shards, a tokenizer of 202,048 tokens and 440,000 merges.
///
///     usage: make-checkpoint FOLDER [layers (10)]
///
/// The same folder has the same bytes on every machine.
@main
enum SyntheticCheckpoint {
  static let hidden = 2048
  static let feedForward = 8192
  static let heads = 32
  static let headsKV = 8
  static let vocabulary = 202_048
  static let merges = 440_000

  static func main() throws {
    let arguments = CommandLine.arguments
    guard arguments.count >= 2 else {
      print("usage: make-checkpoint FOLDER [layers]")
      exit(64)
    }
    let folder = arguments[1]
    let layers = arguments.count > 2 ? Int(arguments[2]) ?? 10 : 10
    mkdir(folder, 0o755)
    try write(folder + "/config.json", config(layers: layers))
    try write(folder + "/tokenizer_config.json", #"{"tokenizer_class": "PreTrainedTokenizerFast"}"#)
    try write(folder + "/tokenizer.json", tokenizer())
    try writeShards(folder, layers: layers)
  }

  private static func config(layers: Int) -> String {
    """
    {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
     "hidden_size": \(hidden), "intermediate_size": \(feedForward), "num_hidden_layers": \(layers),
     "num_attention_heads": \(heads), "num_key_value_heads": \(headsKV), "head_dim": \(hidden / heads),
     "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
     "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
       "original_max_position_embeddings": 8192, "rope_type": "llama3"},
     "tie_word_embeddings": true, "torch_dtype": "bfloat16", "vocab_size": \(vocabulary),
     "bos_token_id": \(vocabulary - 2), "eos_token_id": \(vocabulary - 1)}
    """
  }

  // MARK: Tokenizer

  /// All bytes, then strings of letters by length; every split of a string is a merge.
  private static func tokenizer() -> String {
    let letters = (0..<26).map { String(UnicodeScalar(UInt8(97 + $0))) }
    var tokens = byteAlphabet()
    var strings = letters
    while tokens.count + 2 < vocabulary {
      var longer: [String] = []
      for string in strings {
        for letter in letters where tokens.count + longer.count + 2 < vocabulary {
          longer.append(string + letter)
        }
      }
      tokens += longer
      strings = longer
    }
    var text = """
      {"version": "1.0", "added_tokens": [
        {"id": \(vocabulary - 2), "content": "<|begin_of_text|>", "special": true, "normalized": false, "single_word": false, "lstrip": false, "rstrip": false},
        {"id": \(vocabulary - 1), "content": "<|end_of_text|>", "special": true, "normalized": false, "single_word": false, "lstrip": false, "rstrip": false}],
       "normalizer": null,
       "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "\(splitExpression)"}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
       "post_processor": {"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
         {"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|begin_of_text|>": {"id": "<|begin_of_text|>", "ids": [\(vocabulary - 2)], "tokens": ["<|begin_of_text|>"]}}},
       "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
       "model": {"type": "BPE", "dropout": null, "unk_token": null, "ignore_merges": true, "vocab": {

      """
    for (id, token) in tokens.enumerated() {
      let quoted = token == "\"" ? "\\\"" : token == "\\" ? "\\\\" : token
      text += "      \"\(quoted)\": \(id)\(id + 1 < tokens.count ? ",\n" : "},\n")"
    }
    text += "\"merges\": [\n"
    var written = 0
    outer: for token in tokens where token.utf8.count > 1 && token.utf8.allSatisfy({ $0 < 0x80 }) {
      for cut in 1..<token.utf8.count {
        if written == merges { break outer }
        // One value a line, indented, as the library writes it: about 25 MB.
        let separator = written > 0 ? ",\n" : ""
        text += "\(separator)      [\n        \"\(token.prefix(cut))\",\n"
        text += "        \"\(token.dropFirst(cut))\"\n      ]"
        written += 1
      }
    }
    precondition(written == merges && tokens.count == vocabulary - 2)
    return text + "]}}\n"
  }

  /// Llama 3's published split expression, escaped for JSON.
  private static let splitExpression =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"#

  /// GPT-2's printable stand-ins for the 256 bytes.
  private static func byteAlphabet() -> [String] {
    var next: UInt32 = 256
    return (0..<256).map { byte -> String in
      let isPrintable = (33...126).contains(byte) || (161...172).contains(byte) || byte >= 174
      let code = isPrintable ? UInt32(byte) : next
      if !isPrintable { next += 1 }
      return UnicodeScalar(code).map { String(Character($0)) } ?? ""
    }
  }

  // MARK: Weights

  private static func tensors(layers: Int) -> [[(name: String, shape: [Int])]] {
    let kv = hidden / heads * headsKV
    var first: [(String, [Int])] = [("model.embed_tokens.weight", [vocabulary, hidden])]
    var second: [(String, [Int])] = [("model.norm.weight", [hidden])]
    for layer in 0..<layers {
      let prefix = "model.layers.\(layer)."
      let block: [(String, [Int])] = [
        (prefix + "input_layernorm.weight", [hidden]),
        (prefix + "mlp.down_proj.weight", [hidden, feedForward]),
        (prefix + "mlp.gate_proj.weight", [feedForward, hidden]),
        (prefix + "mlp.up_proj.weight", [feedForward, hidden]),
        (prefix + "post_attention_layernorm.weight", [hidden]),
        (prefix + "self_attn.k_proj.weight", [kv, hidden]),
        (prefix + "self_attn.o_proj.weight", [hidden, hidden]),
        (prefix + "self_attn.q_proj.weight", [hidden, hidden]),
        (prefix + "self_attn.v_proj.weight", [kv, hidden]),
      ]
      if layer < layers / 3 { first += block } else { second += block }
    }
    return [first, second]
  }

  private static func writeShards(_ folder: String, layers: Int) throws {
    let shards = tensors(layers: layers)
    let table = normalTable()
    var state: UInt64 = 0x9E37_79B9_7F4A_7C15
    var map: [(String, String)] = []
    var total = 0
    for (index, shard) in shards.enumerated() {
      let name = "model-0000\(index + 1)-of-0000\(shards.count).safetensors"
      var header = #"{"__metadata__":{"format":"pt"}"#
      var offset = 0
      for (tensor, shape) in shard {
        let byteCount = shape.reduce(2, *)
        header +=
          ",\"\(tensor)\":{\"dtype\":\"BF16\",\"shape\":\(shape),\"data_offsets\":[\(offset),\(offset + byteCount)]}"
        offset += byteCount
        map.append((tensor, name))
      }
      header += "}"
      header += String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
      total += offset
      let file = try FileDescriptor.open(
        FilePath(folder + "/" + name), .writeOnly, options: [.create, .truncate],
        permissions: [.ownerReadWrite, .groupRead, .otherRead])
      defer { try? file.close() }
      let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) }
      _ = try file.writeAll(length + Array(header.utf8))
      for (_, shape) in shard {
        try writeWeights(shape.reduce(1, *), isNorm: shape.count == 1, table, &state, to: file)
      }
    }
    let entries = map.map { "\"\($0.0)\": \"\($0.1)\"" }.joined(separator: ",\n")
    try write(
      folder + "/model.safetensors.index.json",
      "{\"metadata\": {\"total_size\": \(total)}, \"weight_map\": {\n\(entries)}}\n")
  }

  private static func writeWeights(
    _ count: Int, isNorm: Bool, _ table: [UInt16], _ state: inout UInt64, to file: FileDescriptor
  ) throws {
    var buffer = [UInt16](repeating: 0, count: 1 << 20)
    var left = count
    while left > 0 {
      let batch = min(left, buffer.count)
      for index in stride(from: 0, to: batch, by: 4) {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        for lane in 0..<min(4, batch - index) {
          let value = table[Int(truncatingIfNeeded: state >> UInt64(16 * lane)) & 0xFFFF]
          buffer[index + lane] = isNorm ? 0x3F80 : value
        }
      }
      _ = try buffer.withUnsafeBytes { bytes in
        try file.writeAll(UnsafeRawBufferPointer(rebasing: bytes[..<(batch * 2)]))
      }
      left -= batch
    }
  }

  /// 65,536 BF16 values with about a normal distribution of deviation 0.02.
  private static func normalTable() -> [UInt16] {
    var state: UInt64 = 0x2545_F491_4F6C_DD1D
    return (0..<65536).map { _ in
      var sum: Float = 0
      for _ in 0..<12 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        sum += Float(state >> 40) / Float(1 << 24)
      }
      return UInt16(((sum - 6) * 0.02).bitPattern >> 16)
    }
  }

  private static func write(_ path: String, _ text: String) throws {
    let file = try FileDescriptor.open(
      FilePath(path), .writeOnly, options: [.create, .truncate],
      permissions: [.ownerReadWrite, .groupRead, .otherRead])
    defer { try? file.close() }
    _ = try file.writeAll(Array(text.utf8))
  }
}
