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
  /// Throws when a Modelfile at `path` would replace an output or an input; call it before `run`.
  public func checkModelfile(_ path: String) throws(UsageError) {
    for other in plan.outputs.map(\.path) + plan.inputs where OutputFile.isSamePlace(path, other) {
      throw UsageError("--modelfile \(printable(path)) is also the archive or an input")
    }
  }

  /// Writes a Modelfile for the archive of this plan.
  public func writeModelfile(to path: String) throws {
    guard let archive = plan.outputs.first?.path else { return }
    let (folder, name) = Self.folderAndName(archive)
    let isNeighbour = folder == Self.folderAndName(path).folder
    let modelfile = Modelfile(
      archive: isNeighbour ? "./" + name : archive, metadata: archiveMetadata)
    let file = try OutputFile(path)
    try Array(modelfile.text.utf8).withUnsafeBytes { bytes in try file.write(bytes, at: 0) }
    try file.commit()
  }

  private static func folderAndName(_ path: String) -> (folder: String, name: String) {
    guard let slash = path.lastIndex(of: "/") else { return ("", path) }
    return (String(path[..<slash]), String(path[path.index(after: slash)...]))
  }
}
