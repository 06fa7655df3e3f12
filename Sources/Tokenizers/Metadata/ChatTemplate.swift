import ByteIO
import StrictJSON
import Tensors

/// The chat template of a checkpoint: one text, or several with names.
enum ChatTemplate {
  case text(String)
  case named([(name: String, text: String)])

  /// Looks where the reference looks: `chat_template` of `tokenizer_config.json` (null there means
  /// none), then `chat_template.jinja`, then `chat_template.json`.
  static func read(_ directory: inout TokenizerDirectory, notes: inout [String])
    throws(FormatError) -> ChatTemplate?
  {
    // Without tokenizer_config.json the reference writes no template at all.
    guard let config = directory.tokenizerConfig, !config.members.isEmpty else { return nil }
    if let value = config["chat_template"] {
      return try parse(value, "tokenizer_config.json", directory, &notes)
    }
    if let text = try directory.readText("chat_template.jinja") {
      try refuseAdditionalTemplates(directory)
      return .text(text)
    }
    let file = "chat_template.json"
    guard let object = try directory.readObject(file), let value = object["chat_template"] else {
      return nil
    }
    return try parse(value, file, directory, &notes)
  }

  private static func parse(
    _ value: JSONValue, _ file: String, _ directory: TokenizerDirectory, _ notes: inout [String]
  ) throws(FormatError) -> ChatTemplate? {
    switch value {
    case .null: return nil
    case .string(let text): return .text(text)
    case .array(let choices):
      var templates: [(name: String, text: String)] = []
      for (index, choice) in choices.enumerated() {
        let field = "chat_template[\(index)]"
        guard let object = choice.object else {
          throw directory.error(
            file, field, .outOfRange(found: "another value", allowed: "an object"))
        }
        guard let text = choice["template"] else { continue }
        guard let text = text.string else {
          throw directory.error(
            file, field + ".template", .outOfRange(found: "another value", allowed: "a string"))
        }
        let name = plainName(object["name"]?.string ?? "")
        if !name.isEmpty { templates.append((name, text)) }
      }
      return .named(templates)
    default:
      notes.append("\(file): chat_template is neither text nor a list and is left out")
      return nil
    }
  }

  /// A name that can be part of a metadata key.
  private static func plainName(_ name: String) -> String {
    String(
      String.UnicodeScalarView(
        name.unicodeScalars.map { scalar in
          scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil)
            ? scalar : "_"
        }))
  }

  /// More templates may lie in a folder; leaving them out in silence would lose them.
  private static func refuseAdditionalTemplates(_ directory: TokenizerDirectory)
    throws(FormatError)
  {
    let name = "additional_chat_templates"
    do {
      _ = try PositionalFile(directory.file(name))
    } catch {
      if case .fileNotFound = error.reason { return }
      throw directory.error(
        name, "chat_template",
        .unsupported(found: "a folder of templates", allowed: "one template"),
        advice: "give the template to use with --chat-template FILE")
    }
  }

  /// Writes the template's entries: named ones first, then the list of their names, then `default`.
  func write(to entries: inout Metadata) {
    switch self {
    case .text(let text): entries.setText("tokenizer.chat_template", text)
    case .named(let templates):
      var names: [String] = []
      var defaultText: String?
      for (name, text) in templates {
        if name == "default" {
          defaultText = text
          continue
        }
        if !names.contains(name) { names.append(name) }
        entries.setText("tokenizer.chat_template.\(name)", text)
      }
      if !names.isEmpty {
        entries["tokenizer.chat_templates"] = .array(.string(StringTable(names)))
      }
      if let defaultText { entries.setText("tokenizer.chat_template", defaultText) }
    }
  }
}

extension Metadata {
  /// Sets a text; an empty one is left out, as the reference does.
  mutating func setText(_ key: String, _ text: String) {
    if !text.isEmpty { self[key] = .string(text) }
  }
}
