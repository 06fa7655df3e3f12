import ArgumentParser
import Ingot

@main
struct IngotCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ingot",
    abstract: "Turns a Llama checkpoint into a quantized GGUF archive.",
    discussion: """
      EXAMPLES
        ingot convert Llama-3.1-8B -o llama.gguf --type Q4_K_M
        ingot convert Llama-3.1-8B -o llama.gguf --type Q4_K_M --dry-run
        ingot plan Llama-3.1-8B --target-size 5GiB --text calibration.txt -o recipe.json
        ingot calibrate Llama-3.1-8B --text calibration.txt -o imatrix.gguf
        ingot verify Llama-3.1-8B llama.gguf --text wiki.test.raw
        ingot check llama.gguf
        ingot manifest llama.gguf -o llama.manifest.json
        ingot inspect llama.gguf --tensors
        ingot tokenize llama.gguf --text 'Hello, world!'
        ingot pack Llama-3.1-8B -o Llama-3.1-8B.ingot

      EXIT STATUS
        0 done, 1 a check or gate failed, 64 usage, 65 bad input data, 66 input missing, 70 internal error,
        73 output cannot be created, 74 input/output error, 130 interrupted
      """,
    version: ingotVersion,
    subcommands: [
      ConvertCommand.self, FinishCommand.self, PlanCommand.self, CalibrateCommand.self,
      VerifyCommand.self, CheckCommand.self, ManifestCommand.self, InspectCommand.self,
      TokenizeCommand.self, PackCommand.self, UnpackCommand.self,
    ])

  static func main() {
    Terminal.secureStandardStreams()
    main(nil)
  }
}
