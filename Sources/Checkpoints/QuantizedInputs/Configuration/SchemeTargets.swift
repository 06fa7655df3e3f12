import ByteIO

/// Which of several schemes the `targets` of a release give a module.
///
/// Of the targets that fit, names count before expressions and those before classes, each in the
/// order of their bytes. Source: formats/quantized-inputs.md, "compressed-tensors".
struct SchemeTargets {
  private enum Kind: Int {
    case name, expression, moduleClass
  }

  private struct Target {
    var kind: Kind
    var text: String
    var scheme: Int
  }

  private static let prefix = "re:"
  /// Steps of matching for all modules of a release together.
  private static let stepLimit = 1 << 30

  private let schemes: [CompressedTensorsScheme]
  private let targets: [Target]
  private var patterns: [String: NamePattern] = [:]
  private var stepCount = 0

  init(_ schemes: [CompressedTensorsScheme]) {
    self.schemes = schemes
    var byText: [String: Int] = [:]
    for (index, scheme) in schemes.enumerated() {
      // Where two schemes have one target, the later one counts.
      for target in scheme.targets { byText[target] = index }
    }
    targets = byText.flatMap { text, scheme in
      text.hasPrefix(Self.prefix)
        ? [
          Target(
            kind: .expression, text: String(text.dropFirst(Self.prefix.count)), scheme: scheme)
        ]
        : [Kind.name, .moduleClass].map { Target(kind: $0, text: text, scheme: scheme) }
    }.sorted { ($0.kind.rawValue, $0.text) < ($1.kind.rawValue, $1.text) }
  }

  /// The scheme of a module; `nil` where no target fits.
  ///
  /// - Throws: `FormatError` for an expression that would have to be known and is not.
  mutating func scheme(of module: String) throws(FormatError) -> Int? {
    let moduleClass = module.hasSuffix("embed_tokens") ? "Embedding" : "Linear"
    for target in targets {
      let fits: Bool
      switch target.kind {
      case .name: fits = target.text == module
      case .moduleClass: fits = target.text == moduleClass || target.text == "Module"
      case .expression: fits = try matches(target, module)
      }
      if fits { return target.scheme }
    }
    return nil
  }

  private mutating func matches(_ target: Target, _ module: String) throws(FormatError) -> Bool {
    let pattern: NamePattern
    if let known = patterns[target.text] { pattern = known } else { pattern = try compile(target) }
    patterns[target.text] = pattern
    let name = Array(module.utf8)
    stepCount += pattern.stepLimit(name.count)
    guard stepCount <= Self.stepLimit else {
      throw error(
        target,
        .outOfRange(
          found: "expressions and names that take over \(Self.stepLimit) steps",
          allowed: "fewer or shorter ones"))
    }
    return pattern.matchesStart(of: name)
  }

  private func compile(_ target: Target) throws(FormatError) -> NamePattern {
    guard let pattern = NamePattern(target.text) else {
      throw error(
        target,
        .unsupported(
          found: "the expression \"\(printable(target.text, limit: 80))\"",
          allowed: "characters, classes, groups, alternatives and repetitions"))
    }
    return pattern
  }

  private func error(_ target: Target, _ reason: FormatError.Reason) -> FormatError {
    let fields = schemes[target.scheme].fields
    return FormatError(
      file: fields.file, field: "\(printable(schemes[target.scheme].name, limit: 80)).targets",
      reason: reason)
  }
}
