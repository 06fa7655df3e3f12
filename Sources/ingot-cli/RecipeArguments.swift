import ArgumentParser
import Ingot

/// Options about single tensors, their types and their importance, of commands that plan an archive.
struct RecipeArguments: ParsableArguments {
  @Option(
    name: [.customLong("tensor-type"), .customLong("keep")],
    help: ArgumentHelp(
      "Type of the tensors in whose name a regular expression is found; may be repeated, the first "
        + "match wins.", valueName: "pattern=type"))
  var tensorType: [String] = []

  @Option(
    help: ArgumentHelp(
      "File with pattern=type entries, separated by white space.", valueName: "file"),
    completion: .file())
  var tensorTypeFile: [String] = []

  @Option(help: ArgumentHelp("Type of output.weight.", valueName: "type"))
  var outputTensorType: String?

  @Option(help: ArgumentHelp("Type of token_embd.weight.", valueName: "type"))
  var embeddingType: String?

  @Flag(help: "Leave output.weight as it is.")
  var leaveOutputTensor = false

  @Option(
    help: ArgumentHelp(
      "One tensor for all experts of a layer (stacked), or one for each (split), which only ingot "
        + "reads.", valueName: "form"))
  var experts: ExpertStorage?

  @Option(
    help: ArgumentHelp("Importance matrix, GGUF or .dat.", valueName: "file"), completion: .file())
  var imatrix: String?

  @Option(
    help: ArgumentHelp(
      "Use importance only for tensors with this in their name.", valueName: "text"))
  var includeWeights: [String] = []

  @Option(
    help: ArgumentHelp(
      "Do not use importance for tensors with this in their name.", valueName: "text"))
  var excludeWeights: [String] = []

  @Flag(help: "Accept an input that is already quantized.")
  var allowRequantize = false

  @Flag(
    help: ArgumentHelp(
      "Accept a Llama 4 whose attention llama.cpp would compute differently.",
      discussion: "The archive then says so in ingot.attention.* keys, which only ingot reads."))
  var allowNonstock = false

  /// Options that were given and say which types tensors get.
  var typeOptions: [String] {
    [
      (tensorType.allSatisfy(Self.isKept) ? "--keep" : "--tensor-type", !tensorType.isEmpty),
      ("--tensor-type-file", !tensorTypeFile.isEmpty),
      ("--output-tensor-type", outputTensorType != nil), ("--embedding-type", embeddingType != nil),
      ("--leave-output-tensor", leaveOutputTensor), ("--experts", experts != nil),
      ("--imatrix", imatrix != nil), ("--include-weights", !includeWeights.isEmpty),
      ("--exclude-weights", !excludeWeights.isEmpty),
    ].filter(\.1).map(\.0)
  }

  /// Whether a type was given as `--keep`: which of an option's names was typed, the parser does not
  /// tell.
  private static func isKept(_ text: String) -> Bool {
    let words = CommandLine.arguments
    return words.contains("--keep=" + text)
      || zip(words, words.dropFirst()).contains { $0 == "--keep" && $1 == text }
  }

  /// - Throws: `UsageError` for options that exclude each other.
  func apply(to recipe: inout Recipe) throws {
    if !includeWeights.isEmpty, !excludeWeights.isEmpty {
      throw UsageError("--include-weights and --exclude-weights exclude each other")
    }
    recipe.tensorTypes = tensorType
    recipe.keptTypes = Set(tensorType.filter(Self.isKept))
    recipe.tensorTypeFiles = tensorTypeFile
    recipe.outputTensorType = outputTensorType
    recipe.embeddingType = embeddingType
    recipe.leavesOutputTensor = leaveOutputTensor
    if let experts { recipe.expertStorage = experts }
    recipe.importanceFile = imatrix
    recipe.includedWeights = includeWeights
    recipe.excludedWeights = excludeWeights
    recipe.allowsRequantizing = allowRequantize
    recipe.allowsNonstock = allowNonstock
  }
}

extension ExpertStorage: ExpressibleByArgument {}
