import GGUF
import Tensors

/// The sizes that an archive's keys give its model, one home for the words of `formats/checks`.
struct ModelDimensions {
  let layerCount: Int
  /// 0 for a dense model.
  var expertCount: Int
  /// Every how many layers one has experts: the last of each group.
  var expertLayerStep: Int
  private let embedding: Int
  private let vocabulary: Int?
  /// Per layer.
  private let heads: [Int]
  private let keyHeads: [Int]
  private let feedForward: [Int]
  private let expertFeedForward: Int?
  private let keyLength: Int
  private let valueLength: Int
  private let rotaryDimensions: Int

  /// Computes the sizes; `nil` where a key that they need is missing or impossible, which is a
  /// finding by then.
  init?(_ metadata: Metadata, architecture: String, _ report: inout CheckReport) {
    // Values beyond these bounds are findings of the key table, and products would overflow.
    func number(_ key: String) -> Int? {
      guard case .uint32(let number) = metadata["\(architecture).\(key)"],
        (1...(1 << 24)).contains(number)
      else { return nil }
      return Int(number)
    }
    guard let layerCount = number("block_count"), layerCount <= 512,
      let embedding = number("embedding_length")
    else { return nil }
    func perLayer(_ key: String) -> [Int]? {
      guard let value = metadata["\(architecture).\(key)"],
        value.array?.count ?? 0 <= KeyTable.maximumLayerElementCount
      else { return nil }
      let numbers = wholeNumbers(value)
      guard numbers.allSatisfy({ (1...(1 << 24)).contains($0) }),
        value.array != nil || !numbers.isEmpty
      else { return nil }
      if case .uint32 = value { return Array(repeating: numbers[0], count: layerCount) }
      guard numbers.count == layerCount else {
        report.error(
          "\(architecture).\(key)", "has \(numbers.count) numbers", allowed: "\(layerCount) layers")
        return nil
      }
      return numbers
    }
    guard let heads = perLayer("attention.head_count"),
      let feedForward = perLayer("feed_forward_length")
    else { return nil }
    let hasKeyHeads = metadata["\(architecture).attention.head_count_kv"] != nil
    guard let keyHeads = hasKeyHeads ? perLayer("attention.head_count_kv") : heads else {
      return nil
    }
    self.layerCount = layerCount
    self.embedding = embedding
    self.heads = heads
    self.keyHeads = keyHeads
    self.feedForward = feedForward
    expertCount = number("expert_count") ?? 0
    expertLayerStep = number("interleave_moe_layer_step") ?? 1
    expertFeedForward = number("expert_feed_forward_length")
    vocabulary = metadata["tokenizer.ggml.tokens"]?.strings?.count ?? number("vocab_size")
    keyLength = number("attention.key_length") ?? embedding / heads[0]
    valueLength = number("attention.value_length") ?? embedding / heads[0]
    rotaryDimensions = number("rope.dimension_count") ?? keyLength
    let hasKeyLength = metadata["\(architecture).attention.key_length"] != nil
    checkConsistency(architecture, hasKeyLength: hasKeyLength, &report)
  }

  private func checkConsistency(
    _ architecture: String, hasKeyLength: Bool, _ report: inout CheckReport
  ) {
    if !hasKeyLength, embedding % heads[0] != 0 {
      report.error(
        "\(architecture).attention.head_count", "is \(heads[0])",
        allowed: "a divisor of the embedding length \(embedding)")
    }
    for (layer, (all, keys)) in zip(heads, keyHeads).enumerated() where all % keys != 0 {
      report.error(
        "\(architecture).attention.head_count_kv", "is \(keys) in layer \(layer)",
        allowed: "a divisor of the head count \(all)")
      break
    }
    if valueLength != keyLength {
      report.error(
        "\(architecture).attention.value_length", "is \(valueLength)",
        allowed: "the key length \(keyLength)")
    }
    if rotaryDimensions != keyLength {
      report.error(
        "\(architecture).rope.dimension_count", "is \(rotaryDimensions)",
        allowed: "the key length \(keyLength)")
    }
    if rotaryDimensions % 2 != 0 {
      report.error(
        "\(architecture).rope.dimension_count", "is \(rotaryDimensions)", allowed: "an even number")
    }
  }

  func hasExperts(inLayer layer: Int) -> Bool {
    expertCount > 0 && (layer + 1) % expertLayerStep == 0
  }

  /// The value of a word in a layer; `nil` when the archive does not give it.
  func callAsFunction(_ word: String, layer: Int) -> Int? {
    switch word {
    case "vocabulary": vocabulary
    case "embedding": embedding
    case "queries": heads[layer] * keyLength
    case "keys": keyHeads[layer] * keyLength
    case "values": keyHeads[layer] * valueLength
    case "feedForward": feedForward[layer]
    case "experts": expertCount
    case "expertFeedForward": expertFeedForward
    case "one": 1
    case "rotaryPairs": rotaryDimensions / 2
    default: preconditionFailure("formats/checks has no word \(word)")
    }
  }
}
