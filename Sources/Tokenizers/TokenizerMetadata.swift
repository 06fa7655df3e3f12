import ByteIO
import StrictJSON
import Tensors

/// What the caller knows about a checkpoint, and what the user wants otherwise.
package struct TokenizerOptions: Sendable {
  /// Architecture of the archive, for example `llama` or `llama4`.
  package var architecture: String
  /// Rows of the token embedding; `nil` takes `vocab_size` of `config.json`, if there is one.
  package var vocabularySize: Int?
  /// Name to write as pre-tokenizer instead of the one that is derived.
  package var preTokenizer: String?
  /// Template to write instead of the checkpoint's.
  package var chatTemplate: String?

  package init(
    architecture: String = "llama", vocabularySize: Int? = nil, preTokenizer: String? = nil,
    chatTemplate: String? = nil
  ) {
    self.architecture = architecture
    self.vocabularySize = vocabularySize
    self.preTokenizer = preTokenizer
    self.chatTemplate = chatTemplate
  }
}

/// A tokenizer as an archive holds it.
package struct TokenizerMetadata: Sendable {
  /// The `tokenizer.*` entries, in the order in which the reference writes them.
  package var entries = Metadata()
  package var tokenCount = 0
  /// One line each: what was left out or looks wrong, without being an error.
  package var notes: [String] = []
}

/// Reads the tokenizer of a model directory of Hugging Face or of Meta.
///
/// Four kinds are read, and looked for in this order: a SentencePiece `tokenizer.model`, a
/// `tokenizer.json` with byte fallback (a SentencePiece model in another form), a byte-level
/// `tokenizer.json`, and a `tokenizer.model` that is a text of ranks. Architecture `llama4` has the last kind only.
///
/// - Parameters:
///   - directory: holds `tokenizer.model` or `tokenizer.json`, and the configuration files.
///   - options: what is known about the checkpoint.
/// - Returns: the archive's entries, and what was noticed on the way.
/// - Throws: `FormatError` naming file and field.
///
/// Source: formats/tokenizers/README.md
package func readTokenizer(directory: String, options: TokenizerOptions) throws(FormatError)
  -> TokenizerMetadata
{
  var assembly = try TokenizerAssembly(directory: directory, options: options)
  return try assembly.run()
}
