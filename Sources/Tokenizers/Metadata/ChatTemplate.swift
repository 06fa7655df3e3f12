import ByteIO
import StrictJSON
import Tensors

/// The chat template of a checkpoint: one text, or several with names.
enum ChatTemplate {
  case text(String)
  case named([(name: String, text: String)])

  /// Most templates that are read; published models have five or fewer.
  static let countLimit = 1000

  /// Looks where the reference looks: `chat_template` of `tokenizer_config.json` (null there means
  /// none), then `chat_template.jinja` with the folder `additional_chat_templates`, then
  /// `chat_template.json`.
  static func read(_ directory: TokenizerDirectory, notes: inout [String])
    throws(FormatError) -> ChatTemplate?
  {
    // Without tokenizer_config.json the reference writes no template at all.
    guard let config = directory.tokenizerConfig, !config.members.isEmpty else { return nil }
    if let value = config["chat_template"] {
      return try parse(value, "tokenizer_config.json", directory, &notes)
    }
    if let text = try directory.readText("chat_template.jinja") {
      let more = try readAdditional(directory)
      return more.isEmpty ? .text(text) : .named([(name: "default", text: text)] + more)
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
      try checkCount(choices.count, file, directory)
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

  /// Templates `NAME.jinja` of a folder beside `chat_template.jinja`, in the order of their bytes.
  ///
  /// All together may be as large as one template.
  private static func readAdditional(_ directory: TokenizerDirectory)
    throws(FormatError) -> [(name: String, text: String)]
  {
    let folder = "additional_chat_templates"
    let suffix = ".jinja"
    guard DirectoryListing.isFolder(directory.file(folder)) else { return [] }
    let names = try DirectoryListing.names(in: directory.file(folder))
      .filter { $0.hasSuffix(suffix) }
    try checkCount(names.count, folder, directory)
    var templates: [(name: String, text: String)] = []
    var bytesLeft = TokenizerDirectory.configByteLimit
    for name in names {
      guard let text = try directory.readText("\(folder)/\(name)", limit: bytesLeft) else {
        continue
      }
      bytesLeft -= min(bytesLeft, UInt64(text.utf8.count))
      // A name that is nothing but the suffix is kept whole.
      let stem = name == suffix ? name : String(name.dropLast(suffix.count))
      templates.append((plainName(stem), text))
    }
    return templates
  }

  private static func checkCount(_ count: Int, _ file: String, _ directory: TokenizerDirectory)
    throws(FormatError)
  {
    guard count <= countLimit else {
      throw directory.error(
        file, "chat_template",
        .outOfRange(found: "\(count) templates", allowed: "at most \(countLimit)"),
        advice: "give the template to use with --chat-template FILE")
    }
  }

  /// Writes the template's entries: named ones first, then the list of their names, then `default`.
  func write(to entries: inout Metadata) {
    switch self {
    case .text(let text): entries.setText("tokenizer.chat_template", text)
    case .named(let templates):
      var names: [String] = []
      var knownNames: Set<String> = []
      var defaultText: String?
      for (name, text) in templates {
        if name == "default" {
          defaultText = text
          continue
        }
        if knownNames.insert(name).inserted { names.append(name) }
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
