import ByteIO
import StrictJSON

/// How Llama 4 attends: most layers rotate and look back to the start of their chunk, the others
/// do not rotate, see everything and scale their queries by position.
///
/// Source: formats/architectures/README.md, section "Llama 4".
package struct ChunkedAttention: Hashable, Sendable {
  /// Positions of a chunk, which rotated layers do not look beyond; `nil`: no limit.
  package var chunkLength: Int?
  /// Whether each layer rotates queries and keys.
  package var rotates: [Bool]
  /// Whether rotated queries and keys are normalized.
  package var normalizesRotated: Bool
  /// Scaling of the queries of layers that do not rotate; `nil`: none.
  package var temperature: Temperature?

  /// Queries at position p are multiplied by `ln(⌊(p + 1) / floor⌋ + 1) · scale + 1`.
  package struct Temperature: Hashable, Sendable {
    package var floor: Double
    package var scale: Double

    package init(floor: Double, scale: Double) {
      self.floor = floor
      self.scale = scale
    }
  }

  package init(
    chunkLength: Int?, rotates: [Bool], normalizesRotated: Bool, temperature: Temperature?
  ) {
    self.chunkLength = chunkLength
    self.rotates = rotates
    self.normalizesRotated = normalizesRotated
    self.temperature = temperature
  }

  /// What llama.cpp computes for every archive of this architecture, whatever its metadata says.
  package static func stock(layerCount: Int, expertCount: Int) -> ChunkedAttention {
    ChunkedAttention(
      chunkLength: 8192, rotates: everyFourthWithout(layerCount),
      normalizesRotated: expertCount != 128, temperature: Temperature(floor: 8192, scale: 0.1))
  }

  private static func everyFourthWithout(_ layerCount: Int, interval: Int = 4) -> [Bool] {
    (1...layerCount).map { $0 % interval != 0 }
  }

  /// - Throws: `FormatError` for members that contradict each other.
  init(_ root: ConfigurationReader, layerCount: Int) throws(FormatError) {
    let lengths = 1...Int(UInt32.max)
    chunkLength =
      root.has("attention_chunk_size") ? try root.count("attention_chunk_size", in: lengths) : 8192
    let interval = try root.count("no_rope_layer_interval", in: 1...Int(UInt32.max)) ?? 4
    rotates = Self.everyFourthWithout(layerCount, interval: interval)
    // An empty list means the interval, too.
    if let stated = root["no_rope_layers"], stated.array?.isEmpty != true {
      let flags = stated.array?.map { $0.int }
      guard let flags, flags.count == layerCount, flags.allSatisfy({ $0 == 0 || $0 == 1 }) else {
        throw root.error(
          "no_rope_layers",
          .outOfRange(found: "another value", allowed: "a list of \(layerCount) zeros and ones"))
      }
      rotates = flags.map { $0 == 1 }
    }
    normalizesRotated = try root.flag("use_qk_norm") ?? true
    temperature = nil
    if try Self.isOn(root, "attn_temperature_tuning") {
      temperature = Temperature(
        floor: try root.positive("floor_scale") ?? 8192,
        scale: try root.positive("attn_scale") ?? 0.1)
    }
    guard let types = root["layer_types"] else { return }
    let names = rotates.map { $0 ? "chunked_attention" : "full_attention" }
    guard types.array?.map({ $0.string }) == names else {
      throw root.error(
        "layer_types",
        .inconsistent("is not chunked_attention where no_rope_layers is 1, full_attention else"))
    }
  }

  /// A flag that some releases write as a number.
  private static func isOn(_ root: ConfigurationReader, _ name: String) throws(FormatError) -> Bool
  {
    if let number = root[name]?.number { return number.double != 0 }
    return try root.flag(name) ?? true
  }

  /// Members in which a configuration differs from what llama.cpp computes, with both values.
  func differences(from stock: ChunkedAttention) -> [(member: String, found: String, stock: String)]
  {
    var differences: [(String, String, String)] = []
    func compare<T: Equatable>(_ member: String, _ found: T, _ stock: T, _ text: (T) -> String) {
      if found != stock { differences.append((member, text(found), text(stock))) }
    }
    compare("attention_chunk_size", chunkLength, stock.chunkLength) {
      $0.map(String.init) ?? "null"
    }
    compare("no_rope_layers", rotates, stock.rotates) { flags in
      let layers = flags.indices.filter { !flags[$0] }.map(String.init)
      return "no rotation in "
        + (layers.isEmpty ? "no layer" : "layers " + layers.joined(separator: ", "))
    }
    compare("use_qk_norm", normalizesRotated, stock.normalizesRotated) { "\($0)" }
    compare("attn_temperature_tuning", temperature == nil, stock.temperature == nil) { "\(!$0)" }
    if let temperature, let usual = stock.temperature {
      compare("floor_scale", temperature.floor, usual.floor) { "\($0)" }
      compare("attn_scale", temperature.scale, usual.scale) { "\($0)" }
    }
    return differences
  }
}
