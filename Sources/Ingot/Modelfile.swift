import ByteIO
import Formats
import Tensors

/// The text of a Modelfile, with which Ollama imports an archive.
///
/// Source: formats/modelfile/README.md
struct Modelfile {
  struct Family {
    var marker: String
    var stop: [String]
    var template: String

    static let all: [Family] = FormatTable(
      Formats.chatFamilies, name: "modelfile/chat-families.tsv",
      columns: ["family", "marker", "stop", "template"]
    ).rows.map { row in
      Family(
        marker: row["marker"], stop: row.list("stop", separator: " "),
        template: row["template"].split(separator: "\\n", omittingEmptySubsequences: false)
          .joined(separator: "\n"))
    }
  }

  let text: String

  /// - Parameters:
  ///   - archive: path as the Modelfile should name it.
  ///   - metadata: of that archive.
  init(archive: String, metadata: Metadata) {
    var lines = ["# Written by ingot \(ingotVersion).", "FROM \(archive)"]
    let chat = metadata["tokenizer.chat_template"]?.string
    let family = chat.flatMap { chat in
      Family.all.first { !chat.ranges(of: $0.marker).isEmpty }
    }
    var stops = family?.stop ?? []
    if let family {
      lines.append("TEMPLATE \"\"\"\(family.template)\"\"\"")
    } else if chat == nil {
      lines.append("# The checkpoint has no chat template: a base model that continues text.")
    } else {
      lines.append(
        "# Its chat template is of no known family; add a TEMPLATE if answers look wrong.")
    }
    for key in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"] where chat != nil {
      guard let id = metadata[key]?.int, let tokens = metadata["tokenizer.ggml.tokens"]?.strings,
        tokens.indices.contains(id), !stops.contains(tokens.text(id))
      else { continue }
      stops.append(tokens.text(id))
    }
    lines += stops.filter { !$0.contains("\"") && !$0.contains("\n") }
      .map { "PARAMETER stop \"\($0)\"" }
    for (key, parameter) in Self.parameters {
      guard let value = metadata["general.sampling.\(key)"] else { continue }
      if let number = value.int.map(String.init) ?? value.double.map({ "\(Float($0))" }) {
        lines.append("PARAMETER \(parameter) \(number)")
      }
    }
    text = lines.joined(separator: "\n") + "\n"
  }

  /// Archive key under `general.sampling.` → Modelfile parameter.
  private static let parameters = [
    ("temp", "temperature"), ("top_k", "top_k"), ("top_p", "top_p"), ("min_p", "min_p"),
    ("penalty_repeat", "repeat_penalty"),
  ]
}

extension Converter {
  /// Writes a Modelfile for the archive of this plan under a hidden name; `commit` it after `run`.
  ///
  /// - Throws: `UsageError` when it would replace the archive or an input or the archive is split,
  ///   `OutputError` when it cannot be written.
  public func prepareModelfile(at path: String) throws -> OutputFile {
    let archives = plan.outputs.filter { $0.kind == .model }
    guard let archive = archives.first?.path, archives.count == 1 else {
      throw UsageError(
        archives.isEmpty
          ? "--modelfile needs an archive: give -o FILE"
          : "--modelfile needs a single archive; leave out --split-max-size")
    }
    if plan.outputs.contains(where: { OutputFile.isSamePlace(path, $0.path) })
      || inputs.files.contains(path)
    {
      throw UsageError("--modelfile \(printable(path)) is also the archive or an input")
    }
    let modelfile = Modelfile(
      archive: OutputFile.isSameFolder(path, archive)
        ? "./" + OutputFile.name(of: archive) : OutputFile.absolutePath(archive),
      metadata: inputs.metadata)
    let file = try OutputFile(path)
    try Array(modelfile.text.utf8).withUnsafeBytes { bytes in try file.write(bytes, at: 0) }
    return file
  }
}
