import ArgumentParser
import Ingot

struct FinishCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "finish",
    abstract: "Checks and completes an archive that 'convert --part' wrote.",
    discussion: """
      OUTPUT is what 'convert' was told to write. Every byte is read back and compared with what its \
      part noted when it wrote it; when all are there, the archive gets its name. What is missing is \
      named with the command that writes it, and the exit status is 1.

      EXAMPLES
        ingot finish llama.gguf
        ingot finish llama.gguf --manifest llama.manifest.json
        ingot finish llama.gguf --discard
      """)

  @Argument(help: "The archive, as 'convert' was told to write it.", completion: .file())
  var output: String

  @Flag(help: "Remove what an unfinished conversion left, instead of completing it.")
  var discard = false

  @Option(
    help: ArgumentHelp(
      "Also write a manifest: hashes of the archive's files and tensors, read back from disk.",
      valueName: "file"), completion: .file())
  var manifest: String?

  @Option(help: ArgumentHelp("Threads.", valueName: "count"))
  var threads = Converter.defaultThreadCount

  @Option(help: ArgumentHelp("auto, plain, json or none.", valueName: "style"))
  var progress = ProgressStyle.auto

  @Flag(help: "Print the result, or what is missing, as JSON.")
  var json = false

  func run() throws {
    try reportingErrors {
      try checkThreadCount(threads)
      catchSignals()
      var finisher = Finisher(output: output)
      if discard, manifest != nil { throw UsageError("--discard leaves nothing for --manifest") }
      if discard {
        let name = printable(output)
        let wasThere = try finisher.discard()
        Terminal.note(
          wasThere
            ? "removed what was unfinished of \(name)" : "nothing unfinished of \(name) is there")
        if json { try Terminal.print("{\"discarded\": \(wasThere)}") }
        return
      }
      finisher.threadCount = threads
      finisher.manifest = manifest
      do {
        let summary = try check(finisher)
        try Terminal.print(json ? summary.json : summary.text)
      } catch let error as UnfinishedParts {
        if json { try Terminal.print(error.json) }
        throw error
      }
    }
  }

  private func check(_ finisher: Finisher) throws -> FinishSummary {
    let line = ProgressLine(progress)
    defer { line.finish() }
    return try finisher.run(cancellation: interruption) { line.update($0) }
  }
}
