import ByteIO

/// The tensors of one role, such as every layer's `attn_q`: a test case, a row of a table.
package struct TensorGroup {
  /// The name in the archive without layer, expert and `.weight`.
  var role: String
  var tensors: [TensorError]

  var findings: [TensorError] { tensors.filter { $0.finding != nil } }
  var worst: TensorError? { tensors.worstFirst.first }
  /// Largest relative RMS error; not finite if any is not.
  var largestError: Double {
    tensors.map(\.relativeRMSError).reduce(0) { $1.isFinite ? max($0, $1) : .nan }
  }
  /// Names of the types, the most frequent first.
  var types: [String] {
    Dictionary(grouping: tensors, by: \.type.name)
      .sorted { ($0.value.count, $1.key) > ($1.value.count, $0.key) }.map(\.key)
  }
  var weightCount: Double { tensors.reduce(0) { $0 + Double($1.weightCount) } }
  var byteCount: Double { tensors.reduce(0) { $0 + Double($1.byteCount) } }
  var bitsPerWeight: Double { weightCount > 0 ? 8 * byteCount / weightCount : 0 }

  /// Groups in the order in which their first tensor comes.
  static func list(_ tensors: [TensorError]) -> [TensorGroup] {
    var groups: [TensorGroup] = []
    var indices: [String: Int] = [:]
    for tensor in tensors {
      let role = Self.role(of: tensor.name)
      if let index = indices[role] {
        groups[index].tensors.append(tensor)
      } else {
        indices[role] = groups.count
        groups.append(TensorGroup(role: role, tensors: [tensor]))
      }
    }
    return groups
  }

  /// `ffn_down` of `blk.3.ffn_down.weight` and `blk.3.ffn_down.17.weight`, `attn_q.bias` of
  /// `blk.3.attn_q.bias`.
  package static func role(of name: String) -> String {
    var parts = name.split(separator: ".", omittingEmptySubsequences: false)
    func isNumber(_ part: Substring) -> Bool {
      !part.isEmpty && part.utf8.allSatisfy { (0x30...0x39).contains($0) }
    }
    if parts.count > 2, parts[0] == "blk", isNumber(parts[1]) { parts.removeFirst(2) }
    if parts.count > 1, parts.last == "weight" { parts.removeLast() }
    if parts.count > 1, let last = parts.last, isNumber(last) { parts.removeLast() }
    return parts.joined(separator: ".")
  }
}

extension TensorError {
  /// The name, with the expert if it is one of several stacked, safe to print on one line.
  var displayName: String {
    Markup.visible(name, limit: 120) + (expert.map { " [expert \($0)]" } ?? "")
  }

  var bitsPerWeight: Double { weightCount > 0 ? 8 * Double(byteCount) / Double(weightCount) : 0 }

  /// How much worse than its type explains; where no band is known, small for every plain error.
  fileprivate var severity: Double {
    guard relativeRMSError.isFinite else { return .infinity }
    guard let allowedError, allowedError > 0 else { return relativeRMSError }
    return relativeRMSError / allowedError
  }
}

extension [TensorError] {
  /// Tensors with findings first, then by their error as a part of what their type allows.
  var worstFirst: [TensorError] {
    sorted { a, b in
      if (a.finding != nil) != (b.finding != nil) { return a.finding != nil }
      return a.severity > b.severity
    }
  }
}
