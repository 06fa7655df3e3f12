import ArgumentParser
import Ingot

struct TokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize",
    abstract: "Shows the tokens of a text.",
    discussion: """
      Takes a model's directory or a GGUF archive. The directory's tokenizer gives what the \
      tokenizers and sentencepiece libraries give, the archive's what llama.cpp gives. Texts of \
      special tokens become those tokens. Prints one line per token: its id, and its text in quotes.

      EXAMPLES
        ingot tokenize llama.gguf --text 'Hello, world!'
        ingot tokenize Llama-3.1-8B --file prompt.txt --no-bos
        ingot tokenize llama.gguf --text 'Hello' --json | jq -c .tokens
        ingot tokenize llama.gguf --file lines.txt --lines | jq '.tokens | length'
        git show | ingot tokenize llama.gguf --file - --json | jq '.tokens | length'
      """)

  @Argument(help: "Checkpoint directory or GGUF file.", completion: .file())
  var path: String

  @Option(help: ArgumentHelp("The text.", valueName: "text"))
  var text: String?

  @Option(
    help: ArgumentHelp("Read the text from a file; '-' is standard input.", valueName: "file"),
    completion: .file())
  var file: String?

  @Flag(help: "Leave out the token that begins a text.")
  var noBos = false

  @Flag(help: "Treat texts of special tokens as text.")
  var noSpecial = false

  @Flag(help: "Take each line of the file for a text; print one line of JSON for each.")
  var lines = false

  @Flag(help: "As --lines, but each text ends with a NUL byte, so that texts may hold line feeds.")
  var null = false

  @Flag(help: "Print JSON.")
  var json = false

  /// Longest text that is taken; its tokens take a few times its bytes of memory.
  private static var textByteLimit: UInt64 { 64 << 20 }

  private func checkOptions() throws {
    if (text == nil) == (file == nil) { throw UsageError("give either --text or --file") }
    if lines || null, file == nil { throw UsageError("--lines and --null go with --file") }
    if lines, null { throw UsageError("give either --lines or --null") }
  }

  private func readText() throws -> [UInt8] {
    guard let file else { return Array((text ?? "").utf8) }
    if file == "-" { return try Terminal.readInput(limit: Self.textByteLimit) }
    return try PositionalFile.readAll(file, limit: Self.textByteLimit)
  }

  func run() throws {
    try reportingErrors {
      try checkOptions()
      let tokenizer = try Tokenizer(path)
      let bytes = try readText()
      guard lines || null else {
        let result = encode(bytes, tokenizer)
        try Terminal.print(json ? result.json() : result.table)
        return
      }
      let terminator = null ? 0 : UInt8(ascii: "\n")
      // What follows the last terminator is a text only if there is something.
      var rest = bytes[...]
      while !rest.isEmpty {
        let end = rest.firstIndex(of: terminator) ?? rest.endIndex
        try Terminal.print(encode(Array(rest[..<end]), tokenizer).json(isCompact: true))
        rest = rest[min(end + 1, rest.endIndex)...]
      }
    }
  }

  private func encode(_ text: [UInt8], _ tokenizer: Tokenizer) -> Tokenization {
    tokenizer.encode(text, addsSpecial: !noBos, parsesSpecial: !noSpecial)
  }
}
