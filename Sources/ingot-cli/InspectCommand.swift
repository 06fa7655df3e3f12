import ArgumentParser
import Ingot

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Shows what a file's or checkpoint's headers say, or how importance spreads.",
    discussion: """
      Reads safetensors and PyTorch files, GGUF archives (also the first of a split) and Hugging Face \
      directories; no tensor data is read. Of a packed file (ingot pack) it also shows what packing \
      gained, type by type. Of an importance file (--imatrix of convert) it shows \
      statistics: how important columns are, how evenly, and which experts the text never reached. Of a \
      recipe ('plan -o') or of measurements ('plan --measurements') it shows types, and what they cost.

      EXAMPLES
        ingot inspect llama.gguf --metadata
        ingot inspect Llama-3.1-8B --tensors
        ingot inspect llama.gguf --tensors --json | jq '.tensors[].type'
        ingot inspect imatrix.gguf --tensors
        ingot inspect recipe.json
        ingot inspect llama.gguf --recipe > recipe.json
      """)

  @Argument(help: "File or directory.", completion: .file())
  var path: String

  @Flag(help: "List every tensor.")
  var tensors = false

  @Flag(help: "List the metadata.")
  var metadata = false

  @Flag(help: "Print the types of an archive's tensors as 'convert --recipe' reads them.")
  var recipe = false

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    try reportingErrors {
      if recipe {
        if tensors || metadata || json {
          throw UsageError("--recipe prints a recipe, which is JSON, and nothing besides")
        }
        try Terminal.print(try RecipeInspection(of: path).file)
        return
      }
      if let recipe = try RecipeInspection(file: path) {
        try Terminal.print(
          json ? recipe.json(showsTensors: tensors) : recipe.table(showsTensors: tensors))
        return
      }
      if let measurements = try MeasurementsInspection(path) {
        try Terminal.print(
          json ? measurements.json : measurements.table(showsTensors: tensors))
        return
      }
      let packing = try PackingReport(path)
      let inspection: Inspection
      do {
        if let importance = try ImportanceInspection(path) {
          try Terminal.print(json ? importance.json : importance.table(showsTensors: tensors))
          return
        }
        inspection = try Inspection(path)
      } catch {
        // Anything may be packed, not only models.
        guard let packing, Self.saysNoModel(error) else { throw error }
        try Terminal.print(json ? packing.json : packing.text)
        Terminal.note("its content is no model: \(error)")
        return
      }
      try Terminal.print(
        json
          ? inspection.json(showsTensors: tensors, showsMetadata: metadata, packing: packing)
          : inspection.table(showsTensors: tensors, showsMetadata: metadata)
            + (packing.map { "\n\n" + $0.text } ?? ""))
    }
  }

  /// Whether an error is about what a file is, not about its being damaged.
  private static func saysNoModel(_ error: any Error) -> Bool {
    guard let error = error as? FormatError else { return false }
    return switch error.reason {
    case .unsupported, .missing, .fileNotFound: true
    default: false
    }
  }
}
