import ByteIO
import StrictJSON

/// A checkpoint with random weights that its names decide, so that a fixture holds only what peers make
/// of it.
///
/// Origin: Tests/Interop/make_expert_models.py, which has the same generator.
package struct RandomCheckpoint {
  package let folder = TemporaryFolder()
  package let model: String
  /// `Fixtures/models/random/MODEL.json`.
  package let expected: JSONValue

  /// A tensor of a safetensors file in BF16.
  package struct Tensor {
    package var name: String
    package var shape: [Int]
    package var bytes: [UInt8]

    package init(name: String, shape: [Int], bytes: [UInt8]) {
      self.name = name
      self.shape = shape
      self.bytes = bytes
    }
  }

  /// Models with experts.
  package static let models = ["llama4-16-experts", "llama4-every-second", "mixtral"]
  package static let all = models + ["llama32-vision"]

  package var path: String { folder.path }
  package var tokens: [Int32] {
    expected["tokens"]?.array?.compactMap { $0.int.map(Int32.init) } ?? []
  }

  /// - Parameters:
  ///   - model: one of `all`.
  ///   - changes: members of `config.json`, or of its `text_config`, to be replaced.
  ///   - visionChanges: the same of its `vision_config`.
  ///   - edit: changes the tensors before they are written.
  /// - Throws: where the fixture cannot be read.
  package init(
    _ model: String, changes: [String: JSONValue] = [:], visionChanges: [String: JSONValue] = [:],
    edit: (inout [Tensor]) -> Void = { _ in }
  ) throws {
    self.model = model
    expected = try JSONValue(
      file: Fixtures.path("models/random/\(model).json"), limit: 1 << 20)
    var config = expected["config"]?.object ?? JSONObject()
    if var text = config["text_config"]?.object {
      for (key, value) in changes { text.set(key, value) }
      config.set("text_config", .object(text))
    } else {
      for (key, value) in changes { config.set(key, value) }
    }
    if var vision = config["vision_config"]?.object {
      for (key, value) in visionChanges { vision.set(key, value) }
      config.set("vision_config", .object(vision))
    }
    folder.write("config.json", Self.text(.object(config)))
    for (name, value) in expected["files"]?.object?.members ?? [] {
      folder.write(name, Self.text(value))
    }
    folder.link(
      "tokenizer_config.json", to: Fixtures.path("models/llama3/tokenizer_config.json"))
    if config["model_type"]?.string == "mllama" {
      folder.write("tokenizer.json", try Self.tokenizerWithPicture())
    } else {
      folder.link("tokenizer.json", to: Fixtures.path("models/llama3/tokenizer.json"))
    }
    var tensors = (expected["tensors"]?.array ?? []).compactMap { row -> Tensor? in
      guard let row = row.array, let name = row[0].string, let centre = row[2].double,
        let spread = row[3].double
      else { return nil }
      let shape = row[1].array?.compactMap(\.int) ?? []
      return Tensor(
        name: name, shape: shape,
        bytes: Self.weights(
          name, count: shape.reduce(1, *), centre: Float(centre), spread: Float(spread)))
    }
    edit(&tensors)
    folder.write("model.safetensors", Self.safetensors(tensors))
  }

  /// The tokenizer with one more added token, behind the vocabulary.
  private static func tokenizerWithPicture() throws -> String {
    let text = String(decoding: try Fixtures.bytes("models/llama3/tokenizer.json"), as: UTF8.self)
    let token =
      #", {"id": 2048, "content": "<|image|>", "single_word": false, "lstrip": false, "#
      + #""rstrip": false, "normalized": false, "special": true}"#
    guard let place = text.ranges(of: "\n  ],\n  \"normalizer\"").first else {
      preconditionFailure("another tokenizer.json")
    }
    return text[..<place.lowerBound] + token + text[place.lowerBound...]
  }

  /// SplitMix64 seeded with the FNV-1a hash of the name; 24 bits of each number; BF16 by truncation.
  private static func weights(_ name: String, count: Int, centre: Float, spread: Float) -> [UInt8] {
    var seed: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in name.utf8 { seed = (seed ^ UInt64(byte)) &* 0x100_0000_01B3 }
    var generator = SplitMix64(seed: seed)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(2 * count)
    for _ in 0..<count {
      let unit = Float(Int(generator.next() >> 40) - 1 << 23) * 0x1p-23
      let bits = (centre + unit * spread).bitPattern >> 16
      bytes.append(UInt8(truncatingIfNeeded: bits))
      bytes.append(UInt8(truncatingIfNeeded: bits >> 8))
    }
    return bytes
  }

  private static func safetensors(_ tensors: [Tensor]) -> [UInt8] {
    var entries: [String] = []
    var offset = 0
    for tensor in tensors {
      entries.append(
        "\"\(tensor.name)\":{\"dtype\":\"BF16\",\"shape\":\(tensor.shape),"
          + "\"data_offsets\":[\(offset),\(offset + tensor.bytes.count)]}")
      offset += tensor.bytes.count
    }
    let header = Array("{\(entries.joined(separator: ","))}".utf8)
    let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> ($0 * 8)) }
    return length + header + tensors.flatMap(\.bytes)
  }

  private static func text(_ value: JSONValue) -> String {
    switch value {
    case .null: "null"
    case .bool(let flag): "\(flag)"
    case .number(let number): number.text
    case .string(let text): "\"\(text)\""
    case .array(let values): "[" + values.map(text).joined(separator: ",") + "]"
    case .object(let object):
      "{" + object.members.map { "\"\($0.key)\":\(text($0.value))" }.joined(separator: ",") + "}"
    }
  }
}
