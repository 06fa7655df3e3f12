import Formats
import GGUF
import Tensors

/// `formats/checks/archive-keys.tsv`.
enum KeyTable {
  /// One expected key.
  struct Row: Sendable {
    var architecture: String
    var key: String
    var type: String
    var isRequired: Bool
    /// As the table spells it; empty for anything.
    var allowed: String
  }

  static let rows: [Row] = FormatTable(
    Formats.Checks.keys, name: "checks/archive-keys.tsv",
    columns: ["architecture", "key", "type", "presence", "allowed"]
  ).rows.map {
    Row(
      architecture: $0["architecture"], key: $0["key"], type: $0["type"],
      isRequired: $0["presence"] == "required", allowed: $0["allowed"])
  }

  static func rows(of architecture: String?) -> [Row] {
    rows.filter { $0.architecture == "*" || $0.architecture == architecture }
  }
}

extension KeyTable.Row {
  func check(_ metadata: Metadata, _ report: inout CheckReport) {
    guard let value = metadata[key] else {
      if isRequired { report.error(key, "is missing", allowed: type) }
      return
    }
    guard hasRightType(value) else {
      report.error(key, "has the type \(typeName(value))", allowed: type)
      return
    }
    switch value {
    case .float32(let number): check(number, &report)
    case .string(let text): check(text, &report)
    default:
      for number in wholeNumbers(value) { check(number, &report) }
    }
  }

  private func hasRightType(_ value: MetadataValue) -> Bool {
    if type == "uint32/layer" {
      switch value {
      case .uint32, .array(.uint32), .array(.int32): return true
      default: return false
      }
    }
    return "\(value.ggufType)" == type
  }

  private func check(_ number: Float, _ report: inout CheckReport) {
    guard allowed == "positive", !(number.isFinite && number > 0) else { return }
    report.error(key, "is \(number)", allowed: "a finite number above 0")
  }

  private func check(_ text: String, _ report: inout CheckReport) {
    let texts = allowed.split(separator: "|").map(String.init)
    guard !texts.isEmpty, !texts.contains(text) else { return }
    report.error(key, "is \(text)", allowed: texts.joined(separator: ", "))
  }

  private func check(_ number: Int, _ report: inout CheckReport) {
    let bounds = allowed.split(separator: ".").compactMap { Int($0) }
    guard bounds.count == 2, !(bounds[0] <= number && number <= bounds[1]) else { return }
    report.error(key, "is \(number)", allowed: "\(bounds[0]) to \(bounds[1])")
  }
}

/// The numbers of a `uint32` or `uint32/layer`; empty for every other type.
func wholeNumbers(_ value: MetadataValue) -> [Int] {
  switch value {
  case .uint32(let number): [Int(number)]
  case .array(.uint32(let numbers)): numbers.map(Int.init)
  case .array(.int32(let numbers)): numbers.map(Int.init)
  default: []
  }
}

/// The type of a value for a message.
func typeName(_ value: MetadataValue) -> String {
  value.array.map { "array of \($0.ggufElementType)" } ?? "\(value.ggufType)"
}
