import GGUF
import Tensors

extension ArchiveCheck {
  /// Checks that the tokenizer's arrays fit together and that its ids exist.
  func checkTokenizer(_ metadata: Metadata, _ report: inout CheckReport) {
    let prefix = "tokenizer.ggml."
    let model = metadata[prefix + "model"]?.string
    if model == "none" || model == "no_vocab" { return }
    guard let value = metadata[prefix + "tokens"] else {
      report.error(prefix + "tokens", "is missing", allowed: "array of string")
      return
    }
    guard let tokens = value.strings, !tokens.isEmpty else {
      let found = value.strings == nil ? "has the type \(typeName(value))" : "is empty"
      report.error(prefix + "tokens", found, allowed: "array of string with a token or more")
      return
    }
    let count = tokens.count
    if let architecture = report.architecture,
      let size = metadata["\(architecture).vocab_size"]?.int, size != count
    {
      report.error("\(architecture).vocab_size", "is \(size)", allowed: "\(count), as tokens are")
    }
    checkScores(metadata, count, &report)
    checkTokenTypes(metadata, count, &report)
    checkMerges(metadata, isRequired: model == "gpt2", &report)
    for (key, value) in metadata.entries where key.string.hasPrefix(prefix) {
      if key.string.hasSuffix("_token_id") {
        guard case .uint32(let id) = value, id < count else {
          report.error(
            key.string, value.int.map { "is \($0)" } ?? "has the type \(typeName(value))",
            allowed: "uint32, 0 to \(count - 1)")
          continue
        }
      } else if key.string.hasPrefix(prefix + "add_"), value.bool == nil {
        report.error(key.string, "has the type \(typeName(value))", allowed: "bool")
      }
    }
  }

  private func checkScores(_ metadata: Metadata, _ count: Int, _ report: inout CheckReport) {
    let key = "tokenizer.ggml.scores"
    guard let value = metadata[key] else { return }
    guard case .array(.float32(let scores)) = value else {
      report.error(key, "has the type \(typeName(value))", allowed: "array of float32")
      return
    }
    checkLength(key, scores.count, count, &report)
    if let index = scores.firstIndex(where: \.isNaN) {
      report.error("\(key)[\(index)]", "is NaN", allowed: "a number")
    }
  }

  private func checkTokenTypes(_ metadata: Metadata, _ count: Int, _ report: inout CheckReport) {
    let key = "tokenizer.ggml.token_type"
    guard let value = metadata[key] else { return }
    guard case .array(.int32(let types)) = value else {
      report.error(key, "has the type \(typeName(value))", allowed: "array of int32")
      return
    }
    checkLength(key, types.count, count, &report)
    if let index = types.firstIndex(where: { !(0...6).contains($0) }) {
      report.error("\(key)[\(index)]", "is \(types[index])", allowed: "0 to 6")
    }
  }

  private func checkMerges(
    _ metadata: Metadata, isRequired: Bool, _ report: inout CheckReport
  ) {
    let key = "tokenizer.ggml.merges"
    guard let value = metadata[key] else {
      if isRequired { report.error(key, "is missing", allowed: "array of string") }
      return
    }
    guard let merges = value.strings else {
      report.error(key, "has the type \(typeName(value))", allowed: "array of string")
      return
    }
    let space = UInt8(ascii: " ")
    // A piece may begin with a space; a merge of two pieces has one behind its first byte.
    let isMerge = { (merge: ArraySlice<UInt8>) in
      merge.dropFirst().dropLast().contains(space)
    }
    if let index = merges.firstIndex(where: { !isMerge($0) }) {
      report.error(
        "\(key)[\(index)]", "is \(merges.text(index))", allowed: "two pieces, a space between them")
    }
  }

  private func checkLength(
    _ key: String, _ found: Int, _ count: Int, _ report: inout CheckReport
  ) {
    guard found != count else { return }
    report.error(key, "has \(found) elements", allowed: "\(count), as tokens has")
  }
}
