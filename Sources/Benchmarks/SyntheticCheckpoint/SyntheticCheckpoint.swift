import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Writes a Hugging Face checkpoint of real shape and size with generated weights, for measuring
/// speed and memory: about 2 GB in two shards, a tokenizer of 202,048 tokens and 440,000 merges.
///
///     usage: make-checkpoint FOLDER [layers (10)] [form (safetensors)]
///
/// Forms: `safetensors`; `pytorch` and `legacy`, the two of `torch.save`; `meta1` and `meta2`, Meta's
/// layout in one and two shards. The same folder has the same bytes on every machine, and the first
/// three make the same archive.
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
      print("usage: make-checkpoint FOLDER [layers] [\(CheckpointForm.names)]")
      exit(64)
    }
    let folder = arguments[1]
    let layers = arguments.count > 2 ? Int(arguments[2]) ?? 10 : 10
    guard let form = CheckpointForm(rawValue: arguments.count > 3 ? arguments[3] : "safetensors")
    else {
      print("form is one of \(CheckpointForm.names)")
      exit(64)
    }
    mkdir(folder, 0o755)
    try write(folder + "/config.json", config(layers: layers))
    try write(folder + "/tokenizer_config.json", #"{"tokenizer_class": "PreTrainedTokenizerFast"}"#)
    try write(folder + "/tokenizer.json", tokenizer())
    try form.writeWeights(folder, layers: layers)
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

  // MARK: Files

  static func write(_ path: String, _ text: String) throws {
    let file = try create(path)
    defer { try? file.close() }
    _ = try file.writeAll(Array(text.utf8))
  }

  static func create(_ path: String) throws -> FileDescriptor {
    try FileDescriptor.open(
      FilePath(path), .writeOnly, options: [.create, .truncate],
      permissions: [.ownerReadWrite, .groupRead, .otherRead])
  }
}
