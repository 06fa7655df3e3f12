/// A node of a YAML document as far as a model card needs it.
indirect enum YAMLValue: Sendable {
  case null
  /// Text: quoted, or plain and not to be read as anything else.
  case string(String)
  /// A plain scalar that YAML 1.1 reads as a number, truth value or date, as it was written.
  case other(String)
  case list([YAMLValue])
  case map([(key: String, value: YAMLValue)])

  var string: String? { if case .string(let text) = self { text } else { nil } }
  var list: [YAMLValue]? { if case .list(let values) = self { values } else { nil } }

  /// Text of any scalar but null.
  var scalarText: String? {
    switch self {
    case .string(let text), .other(let text): text
    default: nil
    }
  }

  /// Member of a mapping, or `nil`.
  ///
  /// Of equal keys the last one counts, as most readers have it.
  subscript(key: String) -> YAMLValue? {
    guard case .map(let members) = self else { return nil }
    return members.last { $0.key.utf8.elementsEqual(key.utf8) }?.value
  }
}

extension YAMLValue {
  /// The value of a plain (unquoted) scalar under the rules of YAML 1.1.
  static func plain(_ text: String) -> YAMLValue {
    if ["", "~", "null", "Null", "NULL"].contains(text) { return .null }
    // Numbers and dates are short; a long text is never tried.
    if text.utf8.count <= 64, isTruthValue(text) || isNumber(text) || isDate(text) {
      return .other(text)
    }
    return .string(text)
  }

  private static func isTruthValue(_ text: String) -> Bool {
    let words = ["yes", "no", "true", "false", "on", "off"]
    guard let word = words.first(where: { $0 == text.lowercased() }) else { return false }
    let capitalized = word.prefix(1).uppercased() + word.dropFirst()
    return text == word || text == capitalized || text == word.uppercased()
  }

  private static func isNumber(_ text: String) -> Bool {
    let forms = [
      #/[-+]?0b[0-1_]+/#, #/[-+]?0[0-7_]+/#, #/[-+]?(?:0|[1-9][0-9_]*)/#,
      #/[-+]?0x[0-9a-fA-F_]+/#, #/[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+/#,
      #/[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?/#, #/\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?/#,
      #/[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*/#, #/[-+]?\.(?:inf|Inf|INF)/#,
      #/\.(?:nan|NaN|NAN)/#,
    ]
    return forms.contains { text.wholeMatch(of: $0) != nil }
  }

  private static func isDate(_ text: String) -> Bool {
    let day = #/[0-9]{4}-[0-9]{2}-[0-9]{2}/#
    let moment =
      #/[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?/#
    return text.wholeMatch(of: day) != nil || text.wholeMatch(of: moment) != nil
  }
}
