import ArgumentParser
import Ingot

struct ManifestCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "manifest",
    abstract: "Writes down what an archive holds, hash by hash.",
    discussion: """
      Names, places and SHA-256 of the archive's files, headers and tensors, and what it was made \
      from, as JSON. The same archive gives the same manifest everywhere; 'ingot check --manifest' \
      compares.

      EXAMPLES
        ingot manifest llama.gguf -o llama.manifest.json
        ingot check llama.gguf --manifest llama.manifest.json
        ingot manifest llama.gguf | jq -r '.files[] | "\\(.sha256)  \\(.name)"' | sha256sum -c
      """)

  @Argument(help: "The archive, or the first part of a split one.", completion: .file())
  var path: String

  @Option(
    name: [.short, .long],
    help: ArgumentHelp("The manifest to write instead of printing it.", valueName: "file"),
    completion: .file())
  var output: String?

  @Option(help: ArgumentHelp("Threads.", valueName: "count"))
  var threads = Converter.defaultThreadCount

  func run() throws {
    try reportingErrors {
      try checkThreadCount(threads)
      catchSignals()
      let file = try output.map { try ManifestOutput(of: path, at: $0) }
      let manifest = try Manifest(of: path, threadCount: threads, cancellation: interruption)
      if let file { try file.write(manifest) } else { try Terminal.print(manifest.json) }
    }
  }
}
