import ByteIO
import Formats
import StrictJSON

/// What a stored tensor of Meta's Llama 4 holds: a row of
/// `formats/architectures/meta-llama4-shards.tsv`.
struct Llama4Part: Hashable, Sendable {
  enum Form: String {
    case whole
    /// Rows of the matrix that queries, keys and values are stored as, in this order.
    case queries, keys, values
    case firstHalf = "first half"
    case secondHalf = "second half"
    /// `[experts · rows, columns]`, which is `[experts, rows, columns]`.
    case experts
    case transposed
    /// Statistics of the training.
    case leftOut = "left out"
  }

  /// Behind `layers.{L}.` in the files, and as the running model has it.
  var stored: String
  var name: String
  var form: Form

  /// What each stored name holds.
  static let byStoredName: [String: [Llama4Part]] = Dictionary(
    grouping: FormatTable(
      Formats.metaLlama4Shards, name: "architectures/meta-llama4-shards.tsv",
      columns: ["stored", "here", "part"]
    ).rows.map { row in
      guard let form = Form(rawValue: row["part"]) else {
        preconditionFailure("meta-llama4-shards.tsv, line \(row.line): no part")
      }
      return Llama4Part(stored: row["stored"], name: row["here"], form: form)
    }, by: \.stored)

  static let ofExperts = byStoredName.values.joined().filter { $0.form == .experts }

  /// Beginnings of the names of the vision tower and its projector.
  static let visionPrefixes = ["vision_embeddings.", "vision_projection."]
  /// Ends of names of what a training library stored beside the weights.
  static let stateSuffix = "._extra_state"

  /// The layer's part of a name and the rest, `layers.N.` and `attention.wo.weight`.
  static func divided(_ name: String) -> (layer: String, rest: String)? {
    let start = "layers."
    guard name.hasPrefix(start) else { return nil }
    let digits = name.dropFirst(start.count).prefix { $0 != "." }
    guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 &- UInt8(ascii: "0") < 10 }) else {
      return nil
    }
    let layer = start + digits + "."
    return (layer, String(name.dropFirst(layer.count)))
  }
}

/// What of `params.json` the shapes inside the shards of a Llama 4 depend on.
struct Llama4Sizes: Hashable, Sendable {
  var headCount: Int
  var headCountKV: Int
  var expertCount: Int

  private static let headCounts = 1...(1 << 24)
  private static let expertCounts = 1...(1 << 16)

  /// `nil` for a model without experts.
  ///
  /// - Throws: `FormatError` for counts that are missing or not allowed.
  static func read(_ file: String) throws(FormatError) -> Llama4Sizes? {
    let document = try JSONValue(file: file, limit: QuantizationConfiguration.byteCountLimit)
    guard let object = document.object else { return nil }
    let root = QuantizationFields(file: file, path: "params", object: object)
    guard let experts = try root.fields("moe_args") else { return nil }
    let headCount = try count("n_heads", root, headCounts)
    return Llama4Sizes(
      headCount: headCount,
      headCountKV: root["n_kv_heads"] == nil
        ? headCount : try count("n_kv_heads", root, headCounts),
      expertCount: try count("num_experts", experts, expertCounts))
  }

  private static func count(
    _ name: String, _ fields: QuantizationFields, _ allowed: ClosedRange<Int>
  ) throws(FormatError) -> Int {
    guard let count = try fields.int(name) else { throw fields.error(name, .missing("a count")) }
    guard allowed.contains(count) else {
      throw fields.error(name, .outOfRange(found: "\(count)", allowed: "\(allowed)"))
    }
    return count
  }
}
