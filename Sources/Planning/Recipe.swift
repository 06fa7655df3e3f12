import ByteIO
import Tensors

/// What the user asks of a conversion; a `ConversionPlan` is what will happen.
public struct Recipe: Sendable {
  /// A stock mix (`Q4_K_M`), with `isPure` any tensor type, or `copy`.
  public var type = "Q4_K_M"
  /// Gives every quantizable tensor the one type, without the mix's exceptions.
  public var isPure = false
  /// `PATTERN=TYPE` each; the first pattern found in a tensor's name wins.
  public var tensorTypes: [String] = []
  /// Those of them that were given as `--keep`, for messages.
  public var keptTypes: Set<String> = []
  /// Paths of files with `PATTERN=TYPE` entries; they come after `tensorTypes`.
  public var tensorTypeFiles: [String] = []
  public var outputTensorType: String?
  public var embeddingType: String?
  /// Keeps `output.weight` as it is.
  public var leavesOutputTensor = false

  /// Types of tensors by their exact names; where one is named here, no rule is asked.
  public var types: [ExactString: TensorType] = [:]
  /// What the archive says that it was made by, where `types` were chosen; `nil`: the mix's name.
  public var title: String?
  /// Mean KL divergence in nats that `types` are expected to cost; `nil` where no text was read.
  public var expectedDivergence: Double?
  /// Whether `types` were chosen by importance; `nil` where nothing is known.
  public var typesHaveImportance: Bool?
  /// How matrices of experts are stored; `nil`: stacked, and with `--type copy` as they are.
  public var expertStorage: ExpertStorage?

  /// Path of an importance matrix.
  public var importanceFile: String?
  /// Name parts of the only tensors whose importance is used; empty means all.
  public var includedWeights: [String] = []
  /// Name parts of tensors whose importance is not used.
  public var excludedWeights: [String] = []

  /// `KEY=TYPE:VALUE` each, as llama-quantize takes them.
  public var metadataOverrides: [String] = []
  /// Path of a chat template that replaces the checkpoint's.
  public var chatTemplateFile: String?
  public var modelName: String?
  /// Name of the pre-tokenizer where the split expression is not known.
  public var preTokenizer: String?

  /// Largest size of one output file, in bytes; `nil` writes one file.
  public var splitByteCount: UInt64?
  /// Writes as many files as the input has, with the same tensors each.
  public var keepsSplit = false

  public var allowsRequantizing = false
  public var allowsNonFinite = false
  /// Takes a Llama 4 that llama.cpp would compute differently.
  public var allowsNonstock = false
  /// Adds `ingot.*` keys that say what the archive was made from.
  public var hasProvenance = true

  public init() {}

  /// Takes the types of a file that `ingot plan` wrote, or of an archive.
  ///
  /// - Throws: `FormatError`.
  public mutating func take(file path: String) throws {
    let file = try RecipeFile(path)
    types = file.types
    title = file.title
    expertStorage = file.experts
    expectedDivergence = file.expectedDivergence
    typesHaveImportance = file.hasImportance
    typesFile = path
  }

  /// Whether types are still to be chosen: importance is looked up for every matrix, whatever its type.
  package var isDraft = false

  /// Where `types` come from; `nil` where they were not read.
  package private(set) var typesFile: String?

  /// Whether every tensor keeps its type.
  var isCopy: Bool { type.lowercased() == "copy" }
}

/// How an archive holds the matrices of experts.
public enum ExpertStorage: String, Hashable, Sendable, CaseIterable {
  /// One tensor, and one type, for all experts of a layer, as llama.cpp reads it.
  case stacked
  /// A tensor, and a type, for each: only Ingot reads it.
  ///
  /// Source: formats/split-experts.md
  case split
}

/// A request that cannot be carried out as it was made; the command's exit status is 64.
public struct UsageError: Error, Hashable, Sendable, CustomStringConvertible {
  public var message: String
  public init(_ message: String) { self.message = message }
  public var description: String { message }
}
