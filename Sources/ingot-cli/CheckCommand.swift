import ArgumentParser
import Ingot

struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Checks one archive: structure, metadata, tokenizer and numbers.",
    discussion: """
      Needs no reference. Every key and tensor that the architecture requires has to be there with \
      the right shape, and every block has to decode to finite numbers. Ends with 1 and a line for \
      each finding if something is wrong, with 65 if the file cannot be read as GGUF at all.

      With --manifest every tensor, the header and every file also has to be what 'ingot manifest' or \
      'convert --manifest' once wrote down; what differs is named.

      EXAMPLES
        ingot check llama.gguf
        ingot check llama.gguf --manifest llama.manifest.json
        ingot check llama.gguf --json
      """)

  @Argument(help: "The archive, or the first part of a split one.", completion: .file())
  var path: String

  @Option(
    help: ArgumentHelp("Compare with this manifest.", valueName: "file"), completion: .file())
  var manifest: String?

  @Flag(help: "Print JSON.")
  var json = false

  @Option(help: ArgumentHelp("Threads.", valueName: "count"))
  var threads = Converter.defaultThreadCount

  func run() throws {
    try reportingErrors {
      try checkThreadCount(threads)
      let report = try ArchiveReport(
        checking: path, against: manifest, threadCount: threads)
      try Terminal.print(json ? report.json : report.text)
      if !report.passed { throw ExitCode(ExitStatus.checkFailed.rawValue) }
    }
  }
}
