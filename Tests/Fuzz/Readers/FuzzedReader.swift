import ByteIO
import TestSupport

/// Everything that takes a file from outside, each with one file's bytes as its input.
///
/// The corpus of each lies in `Fixtures/fuzz/` under its name.
package enum FuzzedReader: String, CaseIterable, Sendable {
  /// `data.pkl` in a sound ZIP archive: `u8 record count, u16 byte count per record, pickle`.
  case pickle
  /// A whole file of `torch.save`, either form.
  case pytorch
  /// A whole file, and the same once more with a length and data that fit its header.
  case safetensors
  /// A safetensors file that says in its metadata how its weights are quantized.
  case quantized
  /// An archive and the tokenizer in it.
  case gguf
  case imatrix
  /// `config.json` and `generation_config.json`.
  case configuration
  /// `params.json` of Meta's layout.
  case parameters
  /// `tokenizer.json`.
  case tokenizer
  /// `tokenizer_config.json` and `special_tokens_map.json` beside a sound tokenizer.
  case tokenizerSettings = "tokenizer-settings"
  /// `tokenizer.model`: a SentencePiece model or a text of ranks.
  case vocabulary
  /// `README.md`.
  case card
  /// `model.safetensors.index.json` beside two sound shards.
  case index
  /// A packed file or folder; if it is refused, once more with checksums and places that fit.
  case packed

  /// Reads bytes as this kind of file, and what follows from them.
  ///
  /// - Throws: `FormatError` for what is refused; a trap, a hang or much memory is a fault.
  package func read(_ bytes: [UInt8], _ bench: FuzzBench) throws(FormatError) {
    switch self {
    case .pickle: try bench.readPickle(bytes)
    case .pytorch: try bench.readPyTorch(bytes)
    case .safetensors: try bench.readSafetensors(bytes)
    case .quantized: try bench.readQuantized(bytes)
    case .gguf: try bench.readArchive(bytes)
    case .imatrix: try bench.readImportance(bytes)
    case .configuration: try bench.readConfiguration(bytes)
    case .parameters: try bench.readParameters(bytes)
    case .tokenizer: try bench.readTokenizerFile(bytes)
    case .tokenizerSettings: try bench.readTokenizerSettings(bytes)
    case .vocabulary: try bench.readVocabulary(bytes)
    case .card: try bench.readCard(bytes)
    case .index: try bench.readIndex(bytes)
    case .packed: try bench.readPacked(bytes)
    }
  }
}

/// A folder in which one file is replaced again and again.
package struct FuzzBench: Sendable {
  let folder: TemporaryFolder

  package init(in parent: String = "/tmp") { folder = TemporaryFolder(in: parent) }
}
