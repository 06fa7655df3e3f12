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
      the model reads it once for every tensor, with only that one quantized. Without a text a table of \
      what tensors usually matter takes its place, which may choose worse. What --keep and other options \
      give a tensor is no choice, but what it costs counts.

      --fit and --memory count what lies on the devices. The embedding of most models stays with the \
      processor: it gets the smallest type that adds at most a hundredth to what all others cost together.

      --curve shows all sizes at once: what each is expected to cost, and where the stock mixes lie; \
      --plot draws it. A size, as with --fit, is marked in it then.

      --hardware answers without choosing: what fits where. Of an archive with the types that it has, of a \
      checkpoint with a mix (--type), or with the best single type. --fit and --memory ask the same of an \
      archive that is quantized already, and end with 65 where it does not fit; --json then prints a list \
      of answers, as with --hardware, where a plan for a checkpoint is an object.

      Measuring takes a while; --measurements keeps what was found, for other sizes and to go on after \
      an interruption, from the last finished round: up to 64 tensors go through the text in one.

      EXAMPLES
        ingot plan Llama-3.1-8B --target-size 5GiB --imatrix imatrix.gguf --text calibration.txt \
      -o recipe.json
        ingot convert Llama-3.1-8B -o llama.gguf --imatrix imatrix.gguf --recipe recipe.json
        ingot plan Llama-4-Scout --fit h100-80gb --context 131072 --imatrix imatrix.gguf -o recipe.json
        ingot plan Llama-3.1-8B --curve --imatrix imatrix.gguf --text calibration.txt \
      --measurements 8b.json --plot curve.html
        ingot plan Llama-4-Maverick --hardware all --context 32768
        ingot plan llama.gguf --hardware rtx-4090-24gb
        ingot plan llama.gguf --memory 24GiB
        ingot plan Llama-3.1-8B --target-bpw 4.5 --keep '^output=Q8_0' --max-type Q6_K
      """)

  @Argument(help: "Checkpoint or archive.", completion: .file())
  var checkpoint: String

  @OptionGroup
  var fit: FitArguments

  @Option(
    help: ArgumentHelp(
      "Say what fits on this hardware, on so much memory, or on all that has a name.",
      valueName: "name|size|all"))
  var hardware: String?

  @Option(help: ArgumentHelp("A stock mix to ask about with --hardware.", valueName: "type"))
  var type: String?

  @Flag(
    help: "Say what every size costs, from the smallest on, and where the stock mixes lie.")
  var curve = false

  @Option(
    help: ArgumentHelp(
      "Draw the curve, in FILE.svg or on a page FILE.html; may be repeated.", valueName: "file"),
    completion: .file(extensions: ["svg", "html"]))
  var plot: [String] = []

  @Option(
    help: ArgumentHelp(
      "Of the curve's sizes, measure so many on the --text, each with all of its types.",
      valueName: "count"))
  var measurePoints: Int?

  @OptionGroup
  var tensors: RecipeArguments

  @Option(
    name: [.short, .long],
    help: ArgumentHelp("Write the recipe for 'convert --recipe'.", valueName: "file"),
    completion: .file())
  var output: String?

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
      if try isQuestion {
        try answerForArchive()
        return
      }
      if type != nil { throw UsageError("--type needs --hardware: types are what a plan chooses") }
      try checkCurveOptions()
      guard var options = try fit.options(isCurve: curve) else {
        throw UsageError(
          "say what to plan for: --fit, --memory, --target-size, --target-bpw, --curve or --hardware"
        )
      }
      options.recipeFile = output
      options.plotFiles = plot
      catchSignals()
      let fitter = try Fitter(
        checkpoint: checkpoint, output: MemoryQuestion.plannedName, recipe: try recipe, options,
        memoryLimit: memoryLimit.byteCount, threadCount: threads)
      for note in fitter.notes { Terminal.note(note) }
      if curve {
        try showCurve(fitter)
        return
      }
      let fitted = try withProgress { try fitter.run(cancellation: interruption, progress: $0) }
      if let output { try fitted.write(output) }
      try Terminal.print(json ? fitted.reportJSON : fitted.report)
    }
  }

  private func checkCurveOptions() throws {
    if !curve, !plot.isEmpty || measurePoints != nil {
      throw UsageError("\(plot.isEmpty ? "--measure-points" : "--plot") needs --curve")
    }
    if curve, output != nil {
      throw UsageError("--curve shows all sizes and writes no recipe: leave out -o")
    }
    if let path = plot.first(where: { !$0.hasSuffix(".svg") && !$0.hasSuffix(".html") }) {
      throw UsageError("--plot \(printable(path)): takes a name that ends in .svg or .html")
    }
    if let measurePoints, measurePoints < 1 {
      throw UsageError("--measure-points takes 1 or more, not \(measurePoints)")
    }
  }

  private func showCurve(_ fitter: Fitter) throws {
    let curve = try withProgress {
      try fitter.curve(measuring: measurePoints ?? 0, cancellation: interruption, progress: $0)
    }
    for path in plot {
      let text = path.hasSuffix(".html") ? curve.html : curve.svg
      try OutputFile.write(Array(text.utf8), to: path)
    }
    try Terminal.print(json ? curve.json : curve.table)
  }

  /// Whether hardware is named for an archive whose types are there: it fits, or it does not.
  private var isQuestion: Bool {
    get throws {
      guard fit.hardwareName != nil || fit.memory.memory != nil, !tensors.allowRequantize else {
        return false
      }
      return try MemoryQuestion.isFinished(checkpoint)
    }
  }

  private var curveOptions: [String] {
    [
      ("--curve", curve), ("--plot", !plot.isEmpty), ("--measure-points", measurePoints != nil),
    ].filter(\.1).map(\.0)
  }

  private func answerForArchive() throws {
    let given =
      curveOptions + fit.choiceOptions + tensors.typeOptions + (output == nil ? [] : ["-o"])
    if let first = given.first {
      throw UsageError(
        "\(printable(checkpoint)) is quantized, so that only whether it fits can be asked: leave out "
          + "\(first), or choose types anew with --allow-requantize")
    }
    if type != nil { throw UsageError("an archive has its types: leave out --type") }
    if fit.targetSize != nil || fit.targetBpw != nil {
      throw UsageError("--fit or --memory, --target-size and --target-bpw exclude each other")
    }
    let target = try fit.memory.target(
      hardware: fit.hardwareName, defaultContext: MemoryQuestion.defaultContext)
    guard let target else { return }
    // As of a checkpoint, for which no types would fit.
    if let misfit = try answer(target, everywhere: false).misfit {
      Terminal.error(misfit)
      throw ExitCode(ExitStatus.badInput.rawValue)
    }
  }

  /// What fits where.
  private func answer(_ hardware: String) throws {
    let isEverywhere = hardware.lowercased() == "all"
    if let first = (curveOptions + fit.choiceOptions + tensors.typeOptions).first {
      throw UsageError("--hardware asks what fits, and chooses nothing: leave out \(first)")
    }
    if fit.hardwareName != nil || fit.targetSize != nil || fit.targetBpw != nil || output != nil {
      throw UsageError("--hardware asks what fits, and chooses nothing: leave out sizes and -o")
    }
    if fit.memory.devices != nil {
      throw UsageError("--devices needs --memory; --hardware takes xN")
    }
    if fit.memory.memory != nil { throw UsageError("--hardware and --memory exclude each other") }
    // Names may read as sizes: 4090 is one of both.
    let size = MemoryTarget.hasName(hardware) ? nil : Self.memory(hardware)
    let target = try fit.memory.target(
      hardware: isEverywhere ? "h100-80gb" : size == nil ? hardware : nil, size: size?.size,
      deviceCount: size?.deviceCount ?? 1, option: "--hardware",
      context: fit.memory.context ?? MemoryQuestion.defaultContext)
    try answer(target, everywhere: isEverywhere)
  }

  /// `24GiB`, or `24GiBx2`; `nil` for anything else.
  private static func memory(_ text: String) -> (size: ByteSize, deviceCount: Int)? {
    if let size = ByteSize(argument: text) { return (size, 1) }
    guard let cross = text.lastIndex(where: { $0 == "x" || $0 == "X" }),
      let size = ByteSize(argument: String(text[..<cross])),
      let count = Int(text[text.index(after: cross)...])
    else { return nil }
    return (size, count)
  }

  @discardableResult
  private func answer(_ target: MemoryTarget, everywhere isEverywhere: Bool) throws
    -> MemoryQuestion
  {
    let question = try MemoryQuestion(
      checkpoint, type: type, everywhere: isEverywhere, target,
      contextIsDefault: fit.memory.context == nil, recipe: try recipe)
    for note in question.notes { Terminal.note(note) }
    try Terminal.print(json ? question.json : question.text)
    return question
  }

  private func withProgress<Result>(
    _ body: (@escaping @Sendable (RunProgress) -> Void) throws -> Result
  ) throws -> Result {
    let line = StepLine(progress)
    defer { line.finish() }
    return try body { line.update($0) }
  }

  private var recipe: Recipe {
    get throws {
      var recipe = Recipe()
      try tensors.apply(to: &recipe)
      return recipe
    }
  }
}
