import ArgumentParser
import Ingot

/// Options of commands that choose types for a size.
struct FitArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Choose types so that the whole file has at most this size. " + ByteSize.grammar,
      valueName: "size"))
  var targetSize: ByteSize?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Choose types so that tensors take at most so many bits per weight.", valueName: "bits"))
  var targetBpw: Double?

  @Option(
    name: .customLong("fit"),
    help: ArgumentHelp(
      "Choose types so that the model runs on this hardware with --context tokens; with xN behind "
        + "it on several. 'ingot plan CHECKPOINT --hardware all' lists the names.",
      valueName: "hardware"))
  var hardwareName: String?

  @OptionGroup
  var memory: MemoryArguments

  @Option(
    help: ArgumentHelp(
      "Text on which every tensor's effect on the model's output is measured; without one a table "
        + "of what tensors usually matter is taken.", valueName: "file"),
    completion: .file())
  var text: String?

  @Option(help: ArgumentHelp("Tokens of a chunk of the text (default: 512).", valueName: "tokens"))
  var textContext: Int?

  @Option(
    help: ArgumentHelp("Chunks of the text to read (default: 4096 tokens).", valueName: "count"))
  var chunks: Int?

  @Option(
    help: ArgumentHelp("Choose among these types, separated by commas.", valueName: "types"))
  var types: String?

  @Option(help: ArgumentHelp("No type with fewer bits than this one.", valueName: "type"))
  var minType: String?

  @Option(help: ArgumentHelp("No type with more bits than this one.", valueName: "type"))
  var maxType: String?

  @Option(
    help: ArgumentHelp(
      "No type that is slow there; separated by commas: "
        + FitOptions.fastPlaces.joined(separator: ", ") + ". gpu means any accelerator.",
      valueName: "places"), completion: .list(FitOptions.fastPlaces))
  var fastOn: String?

  @Option(
    help: ArgumentHelp(
      "Types that are tried on the text, one tensor at a time, separated by commas (default: "
        + "Q3_K, Q8_0).",
      valueName: "types"))
  var probe: String?

  @Option(
    help: ArgumentHelp(
      "Keep what was measured in this file, round by round, and use what it has.",
      valueName: "file"),
    completion: .file())
  var measurements: String?

  /// - Parameter isCurve: whether all sizes are asked for, so that none needs to be named.
  /// - Returns: `nil` where no size was asked for.
  /// - Throws: `UsageError`.
  func options(isCurve: Bool = false) throws -> FitOptions? {
    let target: FitTarget?
    let memory = try memory.target(hardware: hardwareName)
    switch (targetSize, targetBpw, memory) {
    case (nil, nil, nil) where isCurve: target = nil
    case (nil, nil, nil):
      if let first = choiceOptions.first {
        throw UsageError("\(first) needs a size: --fit, --memory, --target-size or --target-bpw")
      }
      return nil
    case (nil, nil, let memory?): target = .memory(memory)
    case (let size?, nil, nil): target = .byteCount(try size.withUnit("--target-size"))
    case (nil, let bits?, nil):
      guard bits > 0, bits <= 32 else {
        throw UsageError("--target-bpw takes a number up to 32, not \(bits)")
      }
      target = .bitsPerWeight(bits)
    default:
      throw UsageError(
        "--fit or --memory, --target-size and --target-bpw exclude each other")
    }
    if text == nil {
      let given = [
        ("--text-context", textContext != nil), ("--chunks", chunks != nil),
        ("--probe", probe != nil),
      ]
      if let first = given.first(where: \.1) { throw UsageError("\(first.0) needs a --text") }
    }
    var options = FitOptions(target: target)
    options.text = text
    options.contextLength = textContext
    options.chunkLimit = chunks
    options.types = try Self.list(types, option: "--types")
    options.minimumType = minType
    options.maximumType = maxType
    options.fastOn = try Self.list(fastOn, option: "--fast-on")
    options.probeTypes = try Self.list(probe, option: "--probe")
    options.measurementsFile = measurements
    return options
  }

  /// Options that were given and say how types are chosen.
  var choiceOptions: [String] {
    [
      ("--text", text != nil), ("--text-context", textContext != nil), ("--chunks", chunks != nil),
      ("--types", types != nil), ("--min-type", minType != nil), ("--max-type", maxType != nil),
      ("--fast-on", fastOn != nil), ("--probe", probe != nil),
      ("--measurements", measurements != nil),
    ].filter(\.1).map(\.0)
  }

  private static func list(_ text: String?, option: String) throws -> [String] {
    guard let text else { return [] }
    let items = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    guard !items.contains("") else {
      throw UsageError("\(option) takes names, separated by commas, not '\(printable(text))'")
    }
    return items
  }
}
