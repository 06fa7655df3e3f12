import ByteIO

/// What one road calls the tensors of a model.
struct TensorNames {
  /// A role without a name does not exist on this road.
  var roles: [WeightRole: String] = [:]
  /// May be there and mean nothing to the forward pass.
  var ignored: Set<ExactString> = []
  /// Beginnings of names of which the same holds: towers for pictures.
  var ignoredPrefixes: [String] = []
  /// May stand before every name but those.
  var optionalPrefix = ""
  var experts: [ExpertPattern] = []

  /// The name without the prefix; `nil` where it means nothing.
  func meaningful(_ name: ExactString) -> ExactString? {
    var text = name.string[...]
    if ignored.contains(name) || ignoredPrefixes.contains(where: text.hasPrefix) { return nil }
    guard !optionalPrefix.isEmpty, text.hasPrefix(optionalPrefix) else { return name }
    text = text.dropFirst(optionalPrefix.count)
    let rest = ExactString(String(text))
    return ignored.contains(rest) ? nil : rest
  }

  func expertTensor(_ name: ExactString) -> ExpertTensor? {
    let parts = name.string.split(separator: ".", omittingEmptySubsequences: false)
    for pattern in experts {
      if let found = pattern.match(parts) { return found }
    }
    return nil
  }
}

/// A tensor that holds a matrix of one expert or of all.
struct ExpertTensor {
  var layer: Int
  /// `nil`: of all.
  var expert: Int?
  var form: ExpertPattern.Form
}

/// How names of tensors with experts look: `{L}` is the layer, `{E}` the expert.
struct ExpertPattern {
  enum Form: Hashable {
    /// `[rows, columns]` of one expert, or `[experts, rows, columns]`.
    case plain(LayerWeight)
    /// `[experts, columns, rows]`.
    case transposed(LayerWeight)
    /// `[experts, columns, rows of the one and rows of the other]`.
    case transposedPair(LayerWeight, LayerWeight)

    var weights: [LayerWeight] {
      switch self {
      case .plain(let weight), .transposed(let weight): [weight]
      case .transposedPair(let first, let second): [first, second]
      }
    }
  }

  private let parts: [Substring]
  private let form: Form

  init(_ pattern: String, _ form: Form) {
    parts = pattern.split(separator: ".")
    self.form = form
  }

  func match(_ name: [Substring]) -> ExpertTensor? {
    guard name.count == parts.count else { return nil }
    var found = ExpertTensor(layer: 0, expert: nil, form: form)
    for (part, pattern) in zip(name, parts) {
      switch pattern {
      case "{L}":
        guard let number = Self.number(part) else { return nil }
        found.layer = number
      case "{E}":
        guard let number = Self.number(part) else { return nil }
        found.expert = number
      default:
        guard part.utf8.elementsEqual(pattern.utf8) else { return nil }
      }
    }
    return found
  }

  /// Digits without a leading zero, as names have them.
  private static func number(_ text: Substring) -> Int? {
    let digits = text.utf8
    guard (1...6).contains(digits.count), digits.count == 1 || digits.first != UInt8(ascii: "0"),
      digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
    else { return nil }
    return Int(text)
  }
}
