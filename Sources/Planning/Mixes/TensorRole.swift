import ByteIO
import Formats

/// What a tensor is for, as far as the choice of its type depends on it.
///
/// Source: formats/mixes/tensor-roles.tsv.
package enum TensorRole: String, Hashable, Sendable, CaseIterable {
  /// Never quantized: norms, expert routers, small tables.
  case kept
  case output, embedding
  case lowRankQuery = "low_rank_query"
  case attentionQKV = "attn_qkv"
  case attentionKVB = "attn_kv_b"
  case attentionV = "attn_v"
  case attentionK = "attn_k"
  case attentionQ = "attn_q"
  case attentionOutput = "attn_output"
  case ffnUp = "ffn_up"
  case ffnGate = "ffn_gate"
  case ffnDown = "ffn_down"
  case other

  /// Whether the tensor holds attention values, alone or together with keys and queries.
  package var holdsValues: Bool {
    self == .attentionV || self == .attentionQKV || self == .attentionKVB
  }

  /// The role that the first fitting row of the table gives to `name`.
  package init(of name: ExactString, architecture: String) {
    let text = Array(name.utf8)
    let row = RoleRow.all.first { row in
      (row.architecture == nil || row.architecture == architecture)
        && (row.isWholeName ? row.text == text : contains(text, row.text))
    }
    self = row?.role ?? .other
  }
}

/// Whether `part` occurs in `text`; names are short, so trying every place is the fastest way.
private func contains(_ text: [UInt8], _ part: [UInt8]) -> Bool {
  guard text.count >= part.count else { return false }
  return (0...text.count - part.count).contains { start in
    part.indices.allSatisfy { text[start + $0] == part[$0] }
  }
}

/// One line of formats/mixes/tensor-roles.tsv.
private struct RoleRow: Sendable {
  var role: TensorRole
  var isWholeName: Bool
  var text: [UInt8]
  /// `nil` for every architecture.
  var architecture: String?

  static let all: [RoleRow] = FormatTable(
    Formats.Mixes.roles, name: "mixes/tensor-roles.tsv",
    columns: ["role", "match", "text", "architecture"]
  ).rows.map { row in
    guard let role = TensorRole(rawValue: row["role"]), ["is", "contains"].contains(row["match"])
    else { preconditionFailure("formats/mixes/tensor-roles.tsv: line \(row.line)") }
    let architecture = row["architecture"]
    return RoleRow(
      role: role, isWholeName: row["match"] == "is", text: Array(row["text"].utf8),
      architecture: architecture == "*" ? nil : architecture)
  }
}

/// The layer that a tensor's name in an archive gives: 7 of `blk.7.attn_q.weight`.
///
/// - Returns: `nil` when the name gives none, or one that no 32-bit number holds.
package func layerNumber(of name: ExactString) -> Int? {
  let prefix = "blk."
  guard name.string.hasPrefix(prefix) else { return nil }
  let digits = name.utf8.dropFirst(prefix.utf8.count).prefix { (0x30...0x39).contains($0) }
  return Int32(String(decoding: digits, as: UTF8.self)).map(Int.init)
}

/// The order in which llama-quantize visits and writes tensors.
///
/// Tensors without a layer come first, then those of each layer; among them the bytes of the names
/// decide, so that `output.weight` precedes `token_embd.weight`.
///
/// - Returns: indices into `names`.
package func quantizerOrder(_ names: [ExactString]) -> [Int] {
  let layers = names.map { layerNumber(of: $0) ?? -1 }
  return names.indices.sorted { a, b in
    layers[a] == layers[b] ? names[a] < names[b] : layers[a] < layers[b]
  }
}
