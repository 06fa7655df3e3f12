import ArgumentParser
import Ingot

struct ConvertCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "convert",
    abstract: "Converts and quantizes a checkpoint or an archive in one pass.",
    discussion: """
      CHECKPOINT is a directory of Hugging Face (also a hub cache snapshot), a directory with Meta's \
      own files, or a GGUF file. Nothing but the output is written; it appears under its name when \
      it is complete. Interrupted, the same command with --resume goes on where it was.

      EXAMPLES
        ingot convert Llama-3.1-8B -o llama.gguf --type Q4_K_M
        ingot convert Llama-3.1-8B -o llama.gguf --type Q3_K_M --imatrix imatrix.gguf
        ingot convert Llama-3.1-8B -o llama.gguf --type Q4_K_M --tensor-type ffn_down=Q6_K
        ingot convert Llama-4-Scout -o scout.gguf --mmproj scout-mmproj.gguf
        ingot convert llama-f16.gguf -o llama-q8.gguf --type Q8_0
        ingot convert llama-00001-of-00003.gguf -o merged.gguf --type copy
        ingot convert Llama-4-Maverick -o maverick.gguf --part 2/8        on one of eight machines
      """)

  @Argument(help: "Directory or file to convert.", completion: .file())
  var checkpoint: String

  @Option(
    name: [.short, .long],
    help: ArgumentHelp(
      "The archive to write; with --mmproj it may be left out.", valueName: "file"),
    completion: .file())
  var output: String?

  @Option(
    help: ArgumentHelp(
      "Also write Llama 4's vision tower and projector, as llama.cpp's --mmproj takes them.",
      valueName: "file"), completion: .file())
  var mmproj: String?

  @Option(
    help: ArgumentHelp(
      "Type of the projector archive's matrices: \(ProjectorOutput.typeNames.joined(separator: ", "));"
        + " if not given, the checkpoint's own 16-bit type.", valueName: "type"),
    completion: .list(ProjectorOutput.typeNames))
  var mmprojType: String?

  @Flag(
    help: ArgumentHelp(
      "Write the projector archive's norms under the names that llama.cpp computes rightly with.",
      discussion: "Its own converter gives those before feed-forward networks another one."))
  var mmprojCorrectNorms = false

  @Option(
    help: ArgumentHelp(
      "A stock mix (default: Q4_K_M; \(Converter.mixNames.joined(separator: ", "))), with --pure any tensor type, "
        + "or 'copy': the types that the input has.", valueName: "type"),
    completion: .list(Converter.mixNames))
  var type: String?

  @Flag(help: "Give every quantizable tensor the one type.")
  var pure = false

  @Option(
    help: ArgumentHelp(
      "Types by tensor, from 'ingot plan -o' or from another archive.", valueName: "file"),
    completion: .file())
  var recipe: String?

  @OptionGroup
  var tensors: RecipeArguments

  @OptionGroup(title: "Types for a size")
  var fit: FitArguments

  @Option(
    name: .customLong("override-kv"),
    help: ArgumentHelp(
      "Set a metadata key; TYPE is int, float, bool or str.", valueName: "key=type:value"))
  var overrideKV: [String] = []

  @Option(
    help: ArgumentHelp("Chat template to store instead of the checkpoint's.", valueName: "file"),
    completion: .file())
  var chatTemplate: String?

  @Option(help: ArgumentHelp("Name to store as general.name.", valueName: "name"))
  var modelName: String?

  @Option(
    help: ArgumentHelp(
      "Pre-tokenizer, where the tokenizer's split expression is not known.", valueName: "name"))
  var preTokenizer: String?

  @Option(
    help: ArgumentHelp(
      "Write files of at most this size, named …-00001-of-0000N.gguf. " + ByteSize.grammar,
      valueName: "size"))
  var splitMaxSize: ByteSize?

  @Flag(help: "Write as many files as the input archive has.")
  var keepSplit = false

  @Flag(help: "Accept NaN and infinite weights.")
  var allowNonfinite = false

  @Flag(help: "Leave out the ingot.* keys: the file is then the reference tools', byte for byte.")
  var noProvenance = false

  @Option(
    help: ArgumentHelp("Also write a Modelfile for Ollama.", valueName: "file"), completion: .file()
  )
  var modelfile: String?

  @Option(
    help: ArgumentHelp(
      "Also write a manifest: hashes of the archive's files and tensors, read back from disk.",
      valueName: "file"), completion: .file())
  var manifest: String?

  @Option(help: ArgumentHelp("Threads.", valueName: "count"))
  var threads = Converter.defaultThreadCount

  @Option(help: ArgumentHelp("Most resident memory to use. " + ByteSize.grammar, valueName: "size"))
  var memoryLimit = ByteSize(byteCount: Converter.defaultMemoryLimit)

  @Flag(
    help: ArgumentHelp(
      "Go on from where the same command was interrupted; without an unfinished conversion, begin.")
  )
  var resume = false

  @Option(
    help: ArgumentHelp(
      "Write the K-th of N shares, on a file system that all machines share, or go on with it. "
        + "When all are written, 'ingot finish OUT.gguf' checks and seals them.",
      valueName: "k/n"))
  var part: String?

  @Flag(help: "Print the plan and write nothing.")
  var dryRun = false

  @Flag(help: "Print the result, or with --dry-run the plan, as JSON.")
  var json = false

  @Option(help: ArgumentHelp("auto, plain, json or none.", valueName: "style"))
  var progress = ProgressStyle.auto

  private func checkOptions() throws {
    try checkThreadCount(threads)
    if keepSplit, splitMaxSize != nil {
      throw UsageError("--keep-split and --split-max-size exclude each other")
    }
    if part != nil, manifest != nil {
      throw UsageError(
        "--manifest describes a whole archive: give it to 'ingot finish', which seals the parts"
      )
    }
    if part != nil, let output, let mmproj, !OutputFile.isSameFolder(output, mmproj) {
      throw UsageError("with --part, --mmproj goes to the folder of -o")
    }
    if output == nil, mmproj == nil {
      throw UsageError("nothing to write: give -o FILE, --mmproj FILE or both")
    }
    if mmproj == nil, mmprojType != nil || mmprojCorrectNorms {
      throw UsageError("--mmproj-type and --mmproj-correct-norms need --mmproj FILE")
    }
  }

  func run() throws {
    try reportingErrors {
      try checkOptions()
      catchSignals()
      var converter = try Converter(
        checkpoint: checkpoint, output: output, projector: projector, recipe: try fitted(),
        memoryLimit: memoryLimit.byteCount)
      converter.threadCount = threads
      converter.start = try start
      converter.command = CommandLine.arguments
      for note in converter.plan.notes { Terminal.note(note) }
      if dryRun {
        if let unfinished = try converter.unfinished { Terminal.note(unfinished) }
        if let obstacle = converter.obstacle { Terminal.warning(obstacle) }
        try Terminal.print(json ? converter.plan.json : converter.plan.table)
        return
      }
      // Of several machines, the first one writes it.
      let modelfile =
        (converter.share?.number ?? 1) == 1
        ? try modelfile.map { try converter.prepareModelfile(at: $0) } : nil
      let manifest = try manifest.map { try converter.prepareManifest(at: $0) }
      if manifest != nil, let output, let mmproj {
        Terminal.note(
          "the manifest describes \(printable(output)); 'ingot manifest \(printable(mmproj))' "
            + "describes the vision tower")
      }
      let summary = try convert(converter)
      try modelfile?.commit()
      try manifest?.write(threadCount: threads, cancellation: interruption)
      try Terminal.print(json ? summary.json : summary.text)
    }
  }

  private func convert(_ converter: Converter) throws -> ConversionSummary {
    let line = ProgressLine(progress)
    // Before an error is printed too, which would else stand behind the progress.
    defer { line.finish() }
    return try converter.run(
      cancellation: interruption, progress: { line.update($0) }, note: Terminal.note)
  }

  private var start: ConversionStart {
    get throws {
      guard let part else { return resume ? .resume : .begin }
      guard let share = WorkShare(part) else {
        throw UsageError(
          "--part takes K/N, such as 2/8, with K from 1 to N and N up to \(WorkShare.countLimit), "
            + "not '\(part)'")
      }
      return .share(share)
    }
  }

  /// The recipe, with types chosen where a size was asked for.
  private func fitted() throws -> Recipe {
    let recipe = try asked
    let chosen = self.recipe != nil ? "--recipe" : "a size"
    guard let options = try fit.options() else {
      if self.recipe != nil, type != nil || pure {
        throw UsageError("\(chosen) says every type: leave out --type and --pure")
      }
      return recipe
    }
    if type != nil || pure {
      throw UsageError("\(chosen) says every type: leave out --type and --pure")
    }
    if self.recipe != nil { throw UsageError("--recipe and a size exclude each other") }
    guard let output else { throw UsageError("a size needs an archive to write: -o") }
    // Measuring may take hours.
    try OutputFile.checkFolder(of: output)
    let fitter = try Fitter(
      checkpoint: checkpoint, output: output, recipe: recipe, options,
      memoryLimit: memoryLimit.byteCount, threadCount: threads)
    let line = StepLine(progress)
    defer { line.finish() }
    let fitted = try fitter.run(cancellation: interruption) { line.update($0) }
    for note in fitter.fitNotes { Terminal.note(note) }
    Terminal.note(fitted.text)
    for line in fitted.memoryLines { Terminal.note(line) }
    return fitted.recipe
  }

  private var projector: ProjectorOutput? {
    mmproj.map {
      ProjectorOutput(path: $0, type: mmprojType, correctsNorms: mmprojCorrectNorms)
    }
  }

  private var asked: Recipe {
    get throws {
      var recipe = Recipe()
      if let path = self.recipe { try recipe.take(file: path) }
      try tensors.apply(to: &recipe)
      if let type { recipe.type = type }
      recipe.isPure = pure
      recipe.metadataOverrides = overrideKV
      recipe.chatTemplateFile = chatTemplate
      recipe.modelName = modelName
      recipe.preTokenizer = preTokenizer
      recipe.splitByteCount = splitMaxSize?.byteCount
      recipe.keepsSplit = keepSplit
      recipe.allowsNonFinite = allowNonfinite
      recipe.hasProvenance = !noProvenance
      return recipe
    }
  }
}
