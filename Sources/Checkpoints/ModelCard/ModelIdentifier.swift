/// The parts that a model's name is made of, guessed from `organization/Base-7B-Finetune-v1.0`.
///
/// Rules: formats/general-metadata.md, section "Names".
struct ModelIdentifier: Equatable {
  var fullName: String?
  var organization: String?
  var basename: String?
  var finetune: String?
  var version: String?
  var sizeLabel: String?

  /// A longer text is no name and says nothing.
  static let byteCountLimit = 1024

  private enum Role { case basename, sizeLabel, finetune, version, type }

  private struct Part {
    var text: String
    var roles: Set<Role> = []
  }

  /// - Parameters:
  ///   - identifier: a hub name with or without organization, or a directory name.
  ///   - parameterCount: of the whole model; a size far from it is taken for a context length.
  init(_ identifier: String, parameterCount: Int) {
    guard identifier.utf8.count <= Self.byteCountLimit else { return }
    // A sentence is a title, not an identifier.
    if identifier.utf8.contains(UInt8(ascii: " ")) {
      fullName = identifier
      return
    }
    let halves = identifier.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    let name = halves.count == 2 ? halves[1] : halves[0]
    fullName = String(name)
    if halves.count == 2, !halves[0].hasPrefix(".") { organization = String(halves[0]) }

    var parts = name.split(separator: "-").map { Part(text: String($0)) }
    for index in parts.indices {
      Self.annotate(&parts[index], isFirst: index == 0, parameterCount: parameterCount)
    }
    Self.dropWordSizes(&parts)
    Self.findBasename(&parts)

    func joined(_ isWanted: (Part) -> Bool) -> String? {
      let texts = parts.filter(isWanted).map(\.text)
      return texts.isEmpty ? nil : texts.joined(separator: "-")
    }
    basename = joined { $0.roles.contains(.basename) }
    finetune = joined { $0.roles.contains(.finetune) }
    version = joined { $0.roles.contains(.version) && !$0.roles.contains(.basename) }
    var known: Set<String> = []
    let sizes = parts.filter { $0.roles.contains(.sizeLabel) && known.insert($0.text).inserted }
      .map(\.text)
    sizeLabel = sizes.isEmpty ? nil : sizes.joined(separator: "-")
    // A bare name says nothing about itself.
    if sizeLabel == nil && finetune == nil && version == nil { basename = nil }
  }

  private static func annotate(_ part: inout Part, isFirst: Bool, parameterCount: Int) {
    let text = part.text
    if isVersion(text) {
      part.roles = [.version]
    } else if isType(text) {
      part.roles = [.type]
      part.text = text.uppercased()
    } else if isFirst {
      return
    } else if isSize(text) {
      annotateSize(&part, parameterCount: parameterCount)
    } else if ["chat", "instruct", "vision", "lora"].contains(text.lowercased()) {
      part.roles = [.finetune]
    }
  }

  /// `v1`, `iter2.5`, `3.1`.
  private static func isVersion(_ text: String) -> Bool {
    TextScanner.matches(text) { scanner in
      _ = scanner.take("v", "iter")
      return scanner.takeVersionNumber()
    }
  }

  /// `Q4_K_M`, `iq2_s`, `fp16`, `bf16`, `f32`.
  private static func isType(_ text: String) -> Bool {
    TextScanner.matches(text) { scanner in
      if scanner.take("iq", "q") {
        guard scanner.takeDigits(limit: 1) == 1 else { return false }
        let word: StaticString = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
        while scanner.take("_") {
          guard scanner.take(in: word, limit: 1) == 1 else { return false }
        }
        return true
      }
      return scanner.take("bfp", "bf", "fp", "f") && scanner.take("16", "32")
    }
  }

  /// `7B`, `1.1b`, `8x7B`, `A3B`, `7b1`, `small`.
  private static func isSize(_ text: String) -> Bool {
    if ["small", "mini", "medium", "large", "xl", "xxl"].contains(text.lowercased()) {
      return true
    }
    return TextScanner.matches(text) { scanner in
      if !scanner.take("a") {
        var factor = scanner
        if factor.takeDigits() > 0, factor.take("x") { scanner = factor }
      }
      guard scanner.takeDigits() > 0 else { return false }
      _ = scanner.takeDigits(after: ".") || scanner.takeDigits(after: "_")
      guard scanner.take("k", "m", "b", "t") else { return false }
      scanner.takeDigits(limit: 1)
      return true
    }
  }

  private static func annotateSize(_ part: inout Part, parameterCount: Int) {
    var text = Array(part.text.replacing("_", with: "."))
    // `7b1` is 7.1b.
    if let last = text.last, last.isWholeNumber, text.count >= 2 {
      text = text.dropLast(2) + [".", last, text[text.count - 2]]
    }
    if text.count > 1, text[text.count - 2].isWholeNumber, "kmbt".contains(text[text.count - 1]) {
      text[text.count - 1] = Character(text[text.count - 1].uppercased())
    }
    part.roles = [.sizeLabel]
    // `8x7B` and `A3B` state no number that could be compared.
    if parameterCount > 0, let last = text.last,
      text.dropLast().allSatisfy({ $0 == "." || $0.isWholeNumber }),
      let number = Double(String(text.dropLast()))
    {
      let thousands: [Character: Double] = ["K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12]
      let stated = number * (thousands[last] ?? 1e-3)
      let (seven, overflow) = parameterCount.multipliedReportingOverflow(by: 7)
      if !overflow, abs(stated - Double(parameterCount)) > Double(seven / 8) {
        // Too far from the model's own size: probably a context length.
        part.roles = [.finetune]
        text[text.count - 1] = Character(last.lowercased())
      }
    }
    part.text = String(text)
  }

  /// Words such as `small` do not count beside a size in numbers.
  private static func dropWordSizes(_ parts: inout [Part]) {
    let hasNumber = parts.contains { part in
      part.roles.contains(.sizeLabel) && part.text.contains(where: \.isWholeNumber)
    }
    guard hasNumber else { return }
    for index in parts.indices
    where parts[index].roles.contains(.sizeLabel) && parts[index].text.allSatisfy(\.isLetter) {
      parts[index].roles.remove(.sizeLabel)
    }
  }

  /// The base name is what the name starts with, up to the first recognised part that is no version.
  private static func findBasename(_ parts: inout [Part]) {
    var isAtStart = true
    for index in parts.indices {
      let part = parts[index]
      let isWord = part.roles.isEmpty && part.text.first?.isLetter == true
      if isAtStart && (isWord || part.roles.contains(.version)) {
        parts[index].roles.insert(.basename)
      } else {
        isAtStart = false
        if part.roles.isEmpty { parts[index].roles.insert(.finetune) }
      }
    }
    // A version at the end of it is a version only.
    for index in parts.indices.reversed() {
      guard parts[index].roles.contains(.basename), parts[index].roles.count > 1 else { break }
      parts[index].roles.remove(.basename)
    }
  }

  /// The name as a title: hyphens become spaces and lower-case words get capitals, but not versions.
  static func title(_ name: String) -> String {
    let words = name.replacing("-", with: " ").split { $0.unicodeScalars.allSatisfy(isSpace) }
    return words.map { word in
      let isVersion = TextScanner.matches(word) { $0.take("v") && $0.takeVersionNumber() }
      let staysAsIs = isVersion || word.first?.isWholeNumber == true
      return isLowercase(word) && !staysAsIs ? capitalized(word) : String(word)
    }.joined(separator: " ")
  }

  private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    scalar.properties.isWhitespace || ("\u{1C}"..."\u{1F}").contains(scalar)
  }

  /// At least one letter with case, and none in upper case.
  private static func isLowercase(_ word: Substring) -> Bool {
    let properties = word.unicodeScalars.map(\.properties)
    return properties.contains(where: \.isLowercase)
      && !properties.contains { $0.isUppercase || $0.generalCategory == .titlecaseLetter }
  }

  /// A capital after everything that is no letter with case.
  private static func capitalized(_ word: Substring) -> String {
    var result = ""
    var isInside = false
    for scalar in word.unicodeScalars {
      result += isInside ? scalar.properties.lowercaseMapping : scalar.properties.titlecaseMapping
      isInside = scalar.properties.isCased
    }
    return result
  }
}

extension TextScanner {
  /// Numbers with points between them.
  fileprivate mutating func takeVersionNumber() -> Bool {
    guard takeDigits() > 0 else { return false }
    while takeDigits(after: ".") {}
    return true
  }
}
