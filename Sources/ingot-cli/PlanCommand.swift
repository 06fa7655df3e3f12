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

      --hardware answers without choosing: what fits where. Of an archive with the types that it has, of a \
      checkpoint with a mix (--type), or with the best single type.

      Measuring takes a while; --measurements keeps what was found, for other sizes and to go on after \
      an interruption.

      EXAMPLES
        ingot plan Llama-3.1-8B --target-size 5GiB --imatrix imatrix.gguf --text calibration.txt \
      -o recipe.json
        ingot convert Llama-3.1-8B -o llama.gguf --imatrix imatrix.gguf --recipe recipe.json
        ingot plan Llama-4-Scout --fit h100-80gb --context 131072 --imatrix imatrix.gguf -o recipe.json
        ingot plan Llama-4-Maverick --hardware all --context 32768
        ingot plan llama.gguf --hardware rtx-4090-24gb
        ingot plan Llama-3.1-8B --target-bpw 4.5 --keep output=Q8_0 --max-type Q6_K
      """)

  @Argument(help: "Checkpoint or archive.", completion: .file())
  var checkpoint: String

  @OptionGroup
  var fit: FitArguments

  @Option(
    help: ArgumentHelp(
      "Say what fits on this hardware, or on all that has a name.", valueName: "name|all"))
  var hardware: String?

  @Option(help: ArgumentHelp("A stock mix to ask about with --hardware.", valueName: "type"))
  var type: String?

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
      if let hardware {
        try answer(hardware)
        return
      }
      if type != nil { throw UsageError("--type needs --hardware: types are what a plan chooses") }
      guard var options = try fit.options else {
        throw UsageError(
          "say what to plan for: --fit, --memory, --target-size, --target-bpw or --hardware")
      }
      options.recipeFile = output
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

  /// What fits where.
  private func answer(_ hardware: String) throws {
    let isEverywhere = hardware.lowercased() == "all"
    if fit.hardwareName != nil || fit.targetSize != nil || fit.targetBpw != nil || output != nil {
      throw UsageError("--hardware asks what fits, and chooses nothing: leave out sizes and -o")
    }
    if fit.memory.devices != nil {
      throw UsageError("--devices needs --memory; --hardware takes xN")
    }
    if fit.memory.memory != nil { throw UsageError("--hardware and --memory exclude each other") }
    let target = try fit.memory.target(
      hardware: isEverywhere ? "h100-80gb" : hardware, context: fit.memory.context ?? 8192)
    let question = try MemoryQuestion(checkpoint, type: type, everywhere: isEverywhere, target)
    try Terminal.print(json ? question.json : question.text)
  }

  private func run(_ fitter: Fitter) throws -> FittedRecipe {
    let line = StepLine(progress)
    defer { line.finish() }
    return try fitter.run(cancellation: interruption) { line.update($0) }
  }

  /// What the archive would be called; nothing is written there.
  private var archive: String { MemoryQuestion.plannedName }

  private var recipe: Recipe {
    var recipe = Recipe()
    recipe.tensorTypes = keep
    recipe.importanceFile = imatrix
    recipe.expertStorage = experts
    recipe.allowsRequantizing = allowRequantize
    return recipe
  }
}
