import ByteIO
import TestSupport
import Testing
import Tokenizers

private func folder(_ config: String = "{\"a\": 1}") -> TemporaryFolder {
  let folder = TemporaryFolder()
  folder.write(
    "tokenizer.json",
    """
    {"pre_tokenizer": {"type": "ByteLevel"}, "model": {"type": "BPE",
    "vocab": {"a": 0, "aa": 1}, "merges": ["a a"]}}
    """)
  folder.write("tokenizer_config.json", config)
  return folder
}

private func templates(_ folder: TemporaryFolder) throws -> [String] {
  let entries = try readTokenizer(directory: folder.path, options: TokenizerOptions()).entries
  return entries.keys.map(\.string).filter { $0.hasPrefix("tokenizer.chat_template") }.map { key in
    let names = entries[key]?.strings.map { table in
      table.indices.map(table.text).joined(separator: " ")
    }
    return "\(key.dropFirst(10)) = \(entries[key]?.string ?? names ?? "")"
  }
}

@Test func folderAddsTemplatesToTheFileBesideIt() throws {
  let folder = folder()
  folder.write("chat_template.jinja", "main\r\n")
  folder.write("additional_chat_templates/tool-use.v2.jinja", "tools")
  folder.write("additional_chat_templates/rag.jinja", "retrieval")
  folder.write("additional_chat_templates/notes.txt", "no template")
  #expect(
    try templates(folder) == [
      "chat_template.rag = retrieval", "chat_template.tool_use_v2 = tools",
      "chat_templates = rag tool_use_v2", "chat_template = main\n",
    ])
}

@Test func folderWithoutTemplatesChangesNothing() throws {
  let folder = folder()
  folder.write("chat_template.jinja", "main")
  folder.write("additional_chat_templates/notes.txt", "no template")
  #expect(try templates(folder) == ["chat_template = main"])
}

@Test func folderCountsOnlyBesideTheFile() throws {
  let folder = folder(#"{"chat_template": "theirs"}"#)
  folder.write("chat_template.jinja", "main")
  folder.write("additional_chat_templates/rag.jinja", "retrieval")
  #expect(try templates(folder) == ["chat_template = theirs"])
}

@Test func tooManyTemplatesAreRefused() throws {
  func list(_ count: Int) -> String {
    let choices = (0..<count).map { #"{"name": "n\#($0)", "template": "t"}"# }
    return #"{"chat_template": [\#(choices.joined(separator: ","))]}"#
  }
  #expect(try templates(folder(list(1000))).count == 1001)
  let error = #expect(throws: FormatError.self) { try templates(folder(list(1001))) }
  #expect(try #require(error).description.contains("found 1001 templates, allowed at most 1000"))
}
