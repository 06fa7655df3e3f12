import ByteIO
import StrictJSON
import Tensors

/// Recommended sampler settings from `generation_config.json`.
enum GenerationConfig {
  static let byteCountLimit: UInt64 = 1 << 20

  private enum Kind { case text, integer, float }

  // swift-format-ignore
  private static let rows: [(members: [String], key: String, kind: Kind)] = [
    (["sequence"], "sequence", .text),
    (["top_k"], "top_k", .integer),
    (["top_p"], "top_p", .float),
    (["min_p"], "min_p", .float),
    (["xtc_probability"], "xtc_probability", .float),
    (["xtc_threshold"], "xtc_threshold", .float),
    (["temperature"], "temp", .float),
    (["penalty_last_n"], "penalty_last_n", .integer),
    (["penalty_repeat", "repetition_penalty"], "penalty_repeat", .float),
    (["mirostat"], "mirostat", .integer),
    (["mirostat_tau"], "mirostat_tau", .float),
    (["mirostat_eta"], "mirostat_eta", .float),
  ]

  /// The `general.sampling.*` keys; none when the file is not there or is no JSON object.
  ///
  /// - Throws: `FormatError` for a setting that is no number of its kind, or when reading fails.
  static func sampling(_ path: String, notes: inout [String]) throws(FormatError) -> Metadata {
    var metadata = Metadata()
    guard DirectoryListing.exists(path) else { return metadata }
    let document: JSONValue
    do {
      document = try JSONValue(file: path, limit: byteCountLimit)
    } catch {
      // Published checkpoints hold broken ones, and nothing in it changes the weights. A disk that
      // fails is another matter: the same command would give another archive the next time.
      if case .readFailed = error.reason { throw error }
      notes.append("ignored: \(error)")
      return metadata
    }
    guard let object = document.object else {
      notes.append("ignored: \(printable(path)): not an object")
      return metadata
    }
    for row in rows {
      // The first member that is there counts, even when it is null.
      guard let member = row.members.first(where: { object[$0] != nil }),
        let value = document[member]
      else { continue }
      metadata["general.sampling.\(row.key)"] = try Self.value(value, row.kind, member, path)
    }
    return metadata
  }

  private static func value(
    _ value: JSONValue, _ kind: Kind, _ member: String, _ path: String
  ) throws(FormatError) -> MetadataValue {
    switch kind {
    case .text: if let text = value.string { return .string(text) }
    case .integer:
      if let number = value.int, let narrow = Int32(exactly: number) { return .int32(narrow) }
    case .float:
      if let number = value.double, Float(number).isFinite { return .float32(Float(number)) }
    }
    let allowed =
      switch kind {
      case .text: "a string"
      case .integer: "an integer of 32 bits"
      case .float: "a number that fits 32 bits"
      }
    throw FormatError(
      file: path, field: member, reason: .outOfRange(found: "something else", allowed: allowed))
  }
}
