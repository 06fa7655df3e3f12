import ArgumentParser
import Ingot

struct UnpackCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unpack",
    abstract: "Restores what 'ingot pack' packed: the same bytes, the same names.",
    discussion: """
      Every checksum is compared. A packed folder becomes a folder, which must not exist or be empty; \
      a packed file becomes a file. Output appears under its name when it is complete. Files in the \
      seekable format of zstd are taken, too, also those that other tools wrote.

      EXAMPLES
        ingot unpack Llama-3.1-8B.ingot -o Llama-3.1-8B
        ingot unpack llama-bf16.gguf.ingot -o llama-bf16.gguf
        ingot unpack Llama-3.1-8B.ingot --test
      """)

  @Argument(help: "The packed file.", completion: .file())
  var input: String

  @Option(
    name: [.short, .long],
    help: ArgumentHelp("The file or folder to write.", valueName: "path"), completion: .file())
  var output: String?

  @Flag(help: "Write nothing: unpack everything and compare the checksums.")
  var test = false

  @Option(help: ArgumentHelp("Threads.", valueName: "count"))
  var threads = Converter.defaultThreadCount

  @Option(help: ArgumentHelp("Most resident memory to use. " + ByteSize.grammar, valueName: "size"))
  var memoryLimit = ByteSize(byteCount: Converter.defaultMemoryLimit)

  @Option(help: ArgumentHelp("auto, plain, json or none.", valueName: "style"))
  var progress = ProgressStyle.auto

  @Flag(help: "Print the result as JSON.")
  var json = false

  func run() throws {
    try reportingErrors {
      try checkThreadCount(threads)
      if test, output != nil { throw UsageError("--test writes nothing: leave out -o") }
      if !test, output == nil { throw UsageError("give -o PATH, or --test to write nothing") }
      catchSignals()
      let unpacker = try Unpacker(
        input, threadCount: threads, memoryLimit: memoryLimit.byteCount)
      let summary = try unpack(unpacker)
      try Terminal.print(json ? summary.json : summary.text)
    }
  }

  private func unpack(_ unpacker: Unpacker) throws -> UnpackingSummary {
    let line = ProgressLine(progress)
    defer { line.finish() }
    return try unpacker.run(to: output, cancellation: interruption) { line.update($0) }
  }
}
