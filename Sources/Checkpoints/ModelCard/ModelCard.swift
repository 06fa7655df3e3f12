import ByteIO
import Tensors

/// What is known about a model's origin, gathered from its card, its configuration and its names.
///
/// Source: formats/general-metadata.md
struct ModelCard {
  /// Text of each `general.*` key that may be filled from several places: the first place wins.
  private(set) var texts: [String: String] = [:]
  /// `nil` where the card does not speak of them, unlike an empty list.
  private(set) var baseModels: [[String: String]]?
  private(set) var datasets: [[String: String]]?
  private(set) var tags: [String] = []
  private(set) var languages: [String] = []

  /// Card members that fill a key, in the order in which they are tried.
  private static let members: [(key: String, member: String)] = [
    ("name", "name"), ("author", "author"), ("version", "version"),
    ("organization", "organization"), ("description", "description"), ("finetune", "finetune"),
    ("basename", "basename"), ("size_label", "size_label"), ("source.url", "url"),
    ("source.doi", "doi"), ("source.uuid", "uuid"), ("source.repo_url", "repo_url"),
    ("name", "model_name"), ("author", "model_author"), ("version", "model_version"),
    ("organization", "model_organization"), ("description", "model_description"),
    ("finetune", "model_finetune"), ("basename", "model_basename"),
    ("size_label", "model_size_label"), ("source.url", "model_url"), ("source.doi", "model_doi"),
    ("source.uuid", "model_uuid"), ("source.repo_url", "model_repo_url"),
    ("author", "model_creator"), ("basename", "model_type"), ("license", "license"),
    ("license.name", "license_name"), ("license.link", "license_link"),
  ]

  /// Members of an entry of `base_model` or `datasets`, in the order of writing.
  static let sourceMembers = [
    "name", "author", "version", "organization", "description", "url", "doi", "uuid", "repo_url",
  ]

  /// Takes over the front matter of a `README.md`.
  mutating func add(_ card: YAMLValue, parameterCount: Int, notes: inout [String]) {
    for (key, member) in Self.members where texts[key] == nil {
      guard let value = card[member] else { continue }
      if let text = value.scalarText {
        texts[key] = text
      } else if key == "license", let list = value.list {
        texts[key] = list.compactMap(\.scalarText).joined(separator: ",")
      } else if case .null = value {
        continue
      } else {
        notes.append("ignored: README.md: \(member) is no text")
      }
    }
    baseModels = Self.sources(
      card["base_model"] ?? card["base_models"] ?? card["base_model_sources"], parameterCount)
    datasets = Self.sources(
      card["datasets"] ?? card["dataset"] ?? card["dataset_sources"], parameterCount)
    tags = Self.list(card["tags"]) + Self.list(card["pipeline_tag"])
    languages = Self.list(card["languages"]) + Self.list(card["language"])
  }

  /// Fills what is still open from a name; see `ModelIdentifier`.
  mutating func add(_ identifier: ModelIdentifier) {
    let guesses = [
      ("name", identifier.fullName.map(ModelIdentifier.title)),
      ("organization", identifier.organization.map(ModelIdentifier.title)),
      ("basename", identifier.basename), ("finetune", identifier.finetune),
      ("version", identifier.version), ("size_label", identifier.sizeLabel),
    ]
    for (key, guess) in guesses where texts[key] == nil { texts[key] = guess }
  }

  /// Sets a text whatever was found before.
  mutating func override(_ key: String, _ text: String) { texts[key] = text }

  /// A lone text counts as a list; numbers and truth values in a list are taken as written.
  private static func list(_ value: YAMLValue?) -> [String] {
    switch value {
    case .string(let text): [text]
    case .list(let values): values.compactMap(\.scalarText)
    default: []
    }
  }

  private static func sources(_ value: YAMLValue?, _ parameterCount: Int) -> [[String: String]]? {
    guard let value else { return nil }
    switch value {
    case .string(let text): return [source(text, parameterCount)]
    case .list(let values):
      return values.map { entry in
        switch entry {
        case .string(let text): return source(text, parameterCount)
        case .map:
          var members: [String: String] = [:]
          for member in sourceMembers { members[member] = entry[member]?.scalarText }
          return members
        default: return [:]
        }
      }
    default: return []
    }
  }

  /// What a hub name or an address tells about a base model or a data set.
  private static func source(_ text: String, _ parameterCount: Int) -> [String: String] {
    let schemes = ["http://", "https://", "ssh://"]
    guard schemes.contains(where: text.hasPrefix) else {
      var members = members(of: text, parameterCount)
      let identifier = ModelIdentifier(text, parameterCount: parameterCount)
      if let organization = identifier.organization, let name = identifier.fullName {
        members["repo_url"] = "https://huggingface.co/\(organization)/\(name)"
      }
      return members
    }
    var result: [String: String] = [:]
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    // scheme: / (nothing) / host / organization / name
    if parts.count == 5, ["http:", "https:"].contains(parts[0]), parts[2] == "huggingface.co",
      !parts[3].isEmpty, !parts[4].isEmpty
    {
      result = members(of: "\(parts[3])/\(parts[4])", parameterCount)
    }
    result["repo_url"] = text
    return result
  }

  private static func members(of name: String, _ parameterCount: Int) -> [String: String] {
    let identifier = ModelIdentifier(name, parameterCount: parameterCount)
    var members: [String: String] = [:]
    members["name"] = identifier.fullName.map(ModelIdentifier.title)
    members["organization"] = identifier.organization.map(ModelIdentifier.title)
    members["version"] = identifier.version
    return members
  }
}
