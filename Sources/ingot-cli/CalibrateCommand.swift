import ArgumentParser
import Ingot

struct CalibrateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "calibrate",
    abstract: "Measures which columns of a model's matrices matter, for convert --imatrix.",
    discussion: """
      CHECKPOINT, a checkpoint or an archive, reads the text in chunks; the squared inputs of every \
      matrix are summed up, column by column, as llama-imatrix does. The file has its form: each \
      reads the other's. Memory stays below --memory-limit; a text that does not fit goes through in \
      groups of chunks, and what a group gave is kept beside the output for --resume.

      Without a CHECKPOINT, files are only merged: sums and counts add up.

      EXAMPLES
        ingot calibrate Llama-3.1-8B --text calibration.txt -o imatrix.gguf
        ingot convert Llama-3.1-8B -o llama.gguf --type Q3_K_M --imatrix imatrix.gguf
        ingot calibrate Llama-3.1-8B --text code.txt --merge imatrix.gguf -o both.gguf
        ingot calibrate --merge english.gguf --merge code.gguf -o both.gguf
        ingot inspect imatrix.gguf
      """)

  @Argument(help: "Checkpoint or archive.", completion: .file())
  var checkpoint: String?

  @Option(
    help: ArgumentHelp("Text that the model reads.", valueName: "file"), completion: .file())
  var text: String?

  @Option(
    name: [.short, .long],
    help: ArgumentHelp("The importance file to write.", valueName: "file"), completion: .file())
  var output: String

  @Option(help: ArgumentHelp("Tokens of a chunk (default: 512).", valueName: "tokens"))
  var context: Int?

  @Option(help: ArgumentHelp("Use only the first chunks of the text.", valueName: "count"))
  var chunks: Int?

  @Flag(help: "Measure output.weight too.")
  var processOutput = false

  @Flag(help: "Take texts such as <|eot_id|> for the special tokens that they name.")
  var parseSpecial = false

  @Option(
    help: ArgumentHelp(
      "Add the sums of an importance file, of either form; may be repeated.", valueName: "file"),
    completion: .file())
  var merge: [String] = []

  @Flag(help: "Give experts that no token reached the average of the others.")
  var estimateMissing = false

  @Flag(help: "Go on from where the same command was interrupted.")
  var resume = false

  @Option(help: ArgumentHelp("Threads.", valueName: "count"))
  var threads = Converter.defaultThreadCount

  @Option(
    help: ArgumentHelp(
      "Most resident memory to use; more means fewer passes over the weights.", valueName: "size"))
  var memoryLimit = ByteSize(byteCount: Calibrator.defaultMemoryLimit)

  @Option(help: ArgumentHelp("auto, plain, json or none.", valueName: "style"))
  var progress = ProgressStyle.auto

  @Flag(help: "Print the result as JSON.")
  var json = false

  func validate() throws {
    if threads < 1 || threads > 1024 {
      throw ValidationError("--threads takes 1 to 1024, not \(threads)")
    }
  }

  func run() throws {
    try reportingErrors {
      catchSignals()
      let calibrator = try Calibrator(
        options, memoryLimit: memoryLimit.byteCount, threadCount: threads)
      for note in calibrator.notes { Terminal.note(note) }
      let result = try run(calibrator)
      try Terminal.print(json ? result.json : result.text)
    }
  }

  private func run(_ calibrator: Calibrator) throws -> CalibrationResult {
    let line = StepLine(progress)
    defer { line.finish() }
    return try calibrator.run(cancellation: interruption) { line.update($0) }
  }

  private var options: CalibrationOptions {
    var options = CalibrationOptions(checkpoint: checkpoint, output: output)
    options.text = text
    options.contextLength = context
    options.chunkLimit = chunks
    options.processesOutput = processOutput
    options.parsesSpecial = parseSpecial
    options.merged = merge
    options.resumes = resume
    options.estimatesMissing = estimateMissing
    return options
  }
}
