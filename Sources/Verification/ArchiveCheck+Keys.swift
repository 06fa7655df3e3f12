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
    var allowed: Allowed
  }

  /// A cell of the column `allowed`.
  enum Allowed: Hashable, Sendable {
    case anything, positive
    case numbers(ClosedRange<Int>)
    case texts([String])

    init(_ cell: String) {
      let bounds = cell.split(separator: ".").compactMap { Int($0) }
      self =
        switch cell {
        case "": .anything
        case "positive": .positive
        case _ where bounds.count == 2: .numbers(bounds[0]...bounds[1])
        default: .texts(cell.split(separator: "|").map(String.init))
        }
    }
  }

  /// Elements of a value per layer; llama.cpp loads at most 512 layers.
  static let maximumLayerElementCount = 4096

  static let rows: [Row] = FormatTable(
    Formats.Checks.keys, name: "checks/archive-keys.tsv",
    columns: ["architecture", "key", "type", "presence", "allowed"]
  ).rows.map {
    Row(
      architecture: $0["architecture"], key: $0["key"], type: $0["type"],
      isRequired: $0["presence"] == "required", allowed: Allowed($0["allowed"]))
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
    if let count = value.array?.count, count > KeyTable.maximumLayerElementCount {
      report.error(
        key, "has \(count) numbers", allowed: "at most \(KeyTable.maximumLayerElementCount)")
      return
    }
    switch (allowed, value) {
    case (.positive, .float32(let number)) where !(number.isFinite && number > 0):
      report.error(key, "is \(number)", allowed: "a finite number above 0")
    case (.texts(let texts), .string(let text)) where !texts.contains(text):
      report.error(key, "is \(text)", allowed: texts.joined(separator: ", "))
    case (.numbers(let bounds), _):
      // One finding for each key: an array may be wrong from end to end.
      guard let number = wholeNumbers(value).first(where: { !bounds.contains($0) }) else { return }
      report.error(
        key, "is \(number)", allowed: "\(bounds.lowerBound) to \(bounds.upperBound)")
    default: break
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
