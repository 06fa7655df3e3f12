import ArgumentParser
import Ingot

extension PackingOptions.Codec: ExpressibleByArgument {}
extension PackingOptions.Format: ExpressibleByArgument {}

struct PackCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pack",
    abstract:
      "Packs a checkpoint or an archive without loss, so that every part can be read alone.",
    discussion: """
      Takes a file or a folder with all that is in it. Weights in BF16, F16 and F32 are taken apart \
      into planes of bytes, of which exponents get small; quantized blocks gain a few percent or are \
      stored. Every command reads the packed file where it reads a plain one, and takes \
      PACKED/NAME for a file in a packed folder.

      With --format seekable-zstd a single file becomes one that 'zstd -d' restores; without planes \
      it gains less.

      EXAMPLES
        ingot pack Llama-3.1-8B -o Llama-3.1-8B.ingot
        ingot convert Llama-3.1-8B.ingot -o llama.gguf --type Q4_K_M
        ingot pack llama-bf16.gguf -o llama-bf16.gguf.ingot --level 19
        ingot pack llama-q8.gguf -o llama-q8.gguf.zst --format seekable-zstd
        ingot inspect Llama-3.1-8B.ingot
      """)

  @Argument(help: "File or folder to pack.", completion: .file())
  var input: String

  @Option(
    name: [.short, .long], help: ArgumentHelp("The packed file to write.", valueName: "file"),
    completion: .file())
  var output: String

  @Option(
    help: ArgumentHelp(
      "zstd, lz4, or auto: zstd where it saves more than 1/64.", valueName: "codec"))
  var codec = PackingOptions.Codec.auto

  @Option(
    help: ArgumentHelp(
      "Search for repetitions at this level, too: 1 to 22 for zstd, 1 to 12 for lz4. Weights have "
        + "hardly any; the default codes their bytes only.", valueName: "level"))
  var level: Int?

  @Option(help: ArgumentHelp("ingot or seekable-zstd.", valueName: "format"))
  var format = PackingOptions.Format.ingot

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
      catchSignals()
      var options = PackingOptions()
      options.codec = codec
      options.level = level
      options.format = format
      let packer = try Packer(
        input, output: output, options: options, threadCount: threads,
        memoryLimit: memoryLimit.byteCount)
      let summary = try pack(packer)
      try Terminal.print(json ? summary.json : summary.text)
    }
  }

  private func pack(_ packer: Packer) throws -> PackingSummary {
    let line = ProgressLine(progress)
    defer { line.finish() }
    return try packer.run(cancellation: interruption) { line.update($0) }
  }
}
