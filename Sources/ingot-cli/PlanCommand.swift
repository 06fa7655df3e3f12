import ArgumentParser
import Ingot

struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "Chooses the types of an archive's tensors for a size, and writes them down.",
    discussion: """
      Every matrix, with --experts split every expert's, gets the type that does the least expected \
      harm within the size. How much a type hurts a tensor is measured on its weights, with --imatrix \
      weighted by what they are multiplied with. How much the model minds is measured with --text: \
      the model reads it once for every tensor, with only that one quantized. Without a text all \
      tensors count by the error of their weights alone, which chooses worse.

      Measuring takes a while; --measurements keeps what was found, for other sizes and to go on after \
      an interruption.

      EXAMPLES
        ingot plan Llama-3.1-8B --target-size 5GiB --imatrix imatrix.gguf --text calibration.txt \
      -o recipe.json
        ingot convert Llama-3.1-8B -o llama.gguf --imatrix imatrix.gguf --recipe recipe.json
        ingot plan Llama-3.1-8B --target-bpw 4.5 --keep output=Q8_0 --max-type Q6_K
      """)

  @Argument(help: "Checkpoint or archive.", completion: .file())
  var checkpoint: String

  @OptionGroup
  var fit: FitArguments

  @Option(
    name: [.customLong("keep"), .customLong("tensor-type")],
    help: ArgumentHelp(
      "Type of the tensors in whose name a regular expression is found, not to be chosen; may be "
        + "repeated.", valueName: "pattern=type"))
  var keep: [String] = []

  @Option(
    help: ArgumentHelp("Importance matrix, GGUF or .dat.", valueName: "file"), completion: .file())
  var imatrix: String?

  @Option(
    help: ArgumentHelp(
      "One type for all experts of a layer (stacked), or one for each (split).", valueName: "form"))
  var experts: ExpertStorage?

  @Option(
    name: [.short, .long],
    help: ArgumentHelp("Write the recipe for 'convert --recipe'.", valueName: "file"),
    completion: .file())
  var output: String?

  @Flag(help: "Accept an input that is already quantized.")
  var allowRequantize = false

  @Option(help: ArgumentHelp("Threads.", valueName: "count"))
  var threads = Converter.defaultThreadCount

  @Option(help: ArgumentHelp("Most resident memory to use. " + ByteSize.grammar, valueName: "size"))
  var memoryLimit = ByteSize(byteCount: Verifier.defaultMemoryLimit)

  @Flag(help: "Print the plan as JSON.")
  var json = false

  @Option(help: ArgumentHelp("auto, plain, json or none.", valueName: "style"))
  var progress = ProgressStyle.auto

  func run() throws {
    try reportingErrors {
      try checkThreadCount(threads)
      guard let options = try fit.options else {
        throw UsageError("say what to plan for: --target-size or --target-bpw")
      }
      catchSignals()
      let fitter = try Fitter(
        checkpoint: checkpoint, output: archive, recipe: recipe, options,
        memoryLimit: memoryLimit.byteCount, threadCount: threads)
      for note in fitter.notes { Terminal.note(note) }
      let fitted = try run(fitter)
      if let output { try fitted.write(output) }
      try Terminal.print(json ? fitted.reportJSON : fitted.report)
    }
  }

  private func run(_ fitter: Fitter) throws -> FittedRecipe {
    let line = StepLine(progress)
    defer { line.finish() }
    return try fitter.run(cancellation: interruption) { line.update($0) }
  }

  /// What the archive would be called; nothing is written there.
  private var archive: String { "planned.gguf" }

  private var recipe: Recipe {
    var recipe = Recipe()
    recipe.tensorTypes = keep
    recipe.importanceFile = imatrix
    recipe.expertStorage = experts
    recipe.allowsRequantizing = allowRequantize
    return recipe
  }
}
