import ArgumentParser
import Ingot

struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Measures how far a converted model is from its original, and judges.",
    discussion: """
      REFERENCE is the original: a checkpoint, an archive, or what --save-reference stored. CANDIDATE \
      is the archive in question. Their configurations and tensors are compared, and with --text \
      both predict the same text: perplexity, KL divergence, agreement, and drift layer by layer, by \
      the protocol of llama-perplexity.

      Ends with 1 when a gate fails or a tensor is worse than its type explains, with 65 when the two \
      cannot be compared at all. A gate compares the worse end of a 95 % confidence interval.

      EXAMPLES
        ingot verify Llama-3.1-8B llama-Q4_K_M.gguf --text wiki.test.raw
        ingot verify Llama-3.1-8B llama-Q4_K_M.gguf --text wiki.test.raw --policy auto --html report.html
        ingot verify Llama-3.1-8B llama-Q4_K_M.gguf
        ingot verify Llama-3.1-8B --text wiki.test.raw --save-reference llama.reference
        ingot verify llama.reference llama-Q4_K_M.gguf --max-mean-kld 0.05
        ingot verify Llama-3.1-8B --text wiki.test.raw --reference-only
        ingot verify Llama-3.1-8B llama-Q4_K_M.gguf --markdown - >> "$GITHUB_STEP_SUMMARY"
      """)

  @Argument(help: "Checkpoint, archive or saved reference.", completion: .file())
  var reference: String

  @Argument(help: "The archive to judge.", completion: .file())
  var candidate: String?

  @Option(
    help: ArgumentHelp("Text that both models predict.", valueName: "file"), completion: .file())
  var text: String?

  @Option(help: ArgumentHelp("Tokens of a chunk (default: 512).", valueName: "tokens"))
  var context: Int?

  @Option(help: ArgumentHelp("Use only the first chunks of the text.", valueName: "count"))
  var chunks: Int?

  @Flag(help: "Measure the reference's perplexity alone.")
  var referenceOnly = false

  @Option(
    help: ArgumentHelp(
      "Store the reference's predictions, so that later runs need neither it nor the text.",
      valueName: "file"), completion: .file())
  var saveReference: String?

  @Flag(
    inversion: .prefixedNo,
    help: "Compare every tensor with its source (default: where there are both).")
  var tensors: Bool?

  @Option(
    name: .customLong("max-mean-kld"),
    help: ArgumentHelp("Gate: mean KL divergence, nats.", valueName: "limit"))
  var maxMeanKLD: String?

  @Option(
    name: .customLong("max-p99-kld"),
    help: ArgumentHelp("Gate: 99th percentile of the KL divergence, nats.", valueName: "limit"))
  var maxP99KLD: String?

  @Option(
    name: .customLong("max-ppl-ratio"),
    help: ArgumentHelp("Gate: the candidate's perplexity over the reference's.", valueName: "limit")
  )
  var maxPPLRatio: String?

  @Option(
    name: .customLong("min-top1"),
    help: ArgumentHelp(
      "Gate: how often both prefer the same token, 0.98 or 98%.", valueName: "limit"))
  var minTop1: String?

  @Option(
    help: ArgumentHelp("Gate: relative RMS error of any tensor.", valueName: "limit"))
  var maxTensorError: String?

  @Option(
    help: ArgumentHelp(
      "Gates from a JSON file, those shipped for a mix such as Q4_K_M, or 'auto' for the "
        + "candidate's mix, or for what its types were chosen to cost.", valueName: "file|mix|auto"),
    completion: .file())
  var policy: String?

  @Option(
    help: ArgumentHelp(
      "Write the result as JSON; here and below '-' prints it in place of the table.",
      valueName: "file"),
    completion: .file())
  var json: String?

  @Option(
    help: ArgumentHelp("Write a JUnit report.", valueName: "file"), completion: .file())
  var junit: String?

  @Option(
    help: ArgumentHelp("Write Markdown for a pull request.", valueName: "file"), completion: .file()
  )
  var markdown: String?

  @Option(
    help: ArgumentHelp("Write one self-contained page.", valueName: "file"), completion: .file())
  var html: String?

  @Option(help: ArgumentHelp("Threads.", valueName: "count"))
  var threads = Converter.defaultThreadCount

  @Option(
    help: ArgumentHelp(
      "Most resident memory to use; more means fewer passes over the weights. "
        + ByteSize.grammar, valueName: "size"))
  var memoryLimit = ByteSize(byteCount: Verifier.defaultMemoryLimit)

  @Option(help: ArgumentHelp("auto, plain, json or none.", valueName: "style"))
  var progress = ProgressStyle.auto

  private func checkOptions() throws {
    try checkThreadCount(threads)
    if referenceOnly, candidate != nil {
      throw UsageError("--reference-only takes no candidate")
    }
    if !referenceOnly, candidate == nil, saveReference == nil {
      throw UsageError("name a CANDIDATE, or pass --reference-only")
    }
    for (option, path) in [("--save-reference", saveReference), ("--text", text)] where path == "-"
    {
      throw UsageError("\(option) takes a file, not '-'; a file of that name is ./-")
    }
    let printed = reports.filter { $0.path == "-" }
    if printed.count > 1 {
      throw UsageError(
        "\(printed.map(\.option).joined(separator: " and ")) cannot both go to standard output")
    }
  }

  /// The reports that are wanted.
  private var reports: [Report] {
    [
      ("--json", json, \VerificationVerdict.json), ("--junit", junit, \.junit),
      ("--markdown", markdown, \.markdown), ("--html", html, \.html),
    ].compactMap { option, path, form in path.map { (option, $0, form) } }
  }

  func run() throws {
    try reportingErrors {
      try checkOptions()
      catchSignals()
      let verifier = try Verifier(
        options, gates: gates, policy: policy, memoryLimit: memoryLimit.byteCount,
        threadCount: threads)
      let wanted = reports.filter { $0.path != "-" }
      try verifier.checkOutputs(wanted.map(\.path) + (saveReference.map { [$0] } ?? []))
      // Before hours of work: a report that cannot be written is known now.
      let files = try ReportFiles(wanted)
      for warning in verifier.warnings { Terminal.warning(warning) }
      for note in verifier.notes { Terminal.note(note) }
      let verdict = try run(verifier)
      try files.write(verdict)
      // With a report on standard output there is no table: that would not be the report any more.
      let printed = reports.first { $0.path == "-" }.map { verdict[keyPath: $0.form] }
      let text =
        printed ?? verdict.text(colour: Terminal.coloursOutput, width: Terminal.outputWidth)
      try Terminal.print(text.hasSuffix("\n") ? String(text.dropLast()) : text)
      if !verdict.passed { throw ExitCode(ExitStatus.checkFailed.rawValue) }
    }
  }

  private func run(_ verifier: Verifier) throws -> VerificationVerdict {
    let line = StepLine(progress)
    defer { line.finish() }
    return try verifier.run(cancellation: interruption) { line.update($0) }
  }

  private var options: VerificationOptions {
    var options = VerificationOptions(reference: reference, candidate: candidate)
    options.text = text
    options.contextLength = context
    options.chunkLimit = chunks
    options.savedReference = saveReference
    options.comparesTensors = tensors
    return options
  }

  private var gates: [String: String] {
    [
      "max-mean-kld": maxMeanKLD, "max-p99-kld": maxP99KLD, "max-ppl-ratio": maxPPLRatio,
      "min-top1": minTop1, "max-tensor-error": maxTensorError,
    ].compactMapValues { $0 }
  }
}

private typealias Report = (
  option: String, path: String, form: KeyPath<VerificationVerdict, String>
)

/// Reports that appear under their names together with the verdict.
private struct ReportFiles {
  private var files: [(file: OutputFile, form: KeyPath<VerificationVerdict, String>)] = []

  init(_ wanted: [Report]) throws {
    for report in wanted { files.append((try OutputFile(report.path), report.form)) }
  }

  func write(_ verdict: VerificationVerdict) throws {
    for (file, form) in files {
      var text = verdict[keyPath: form]
      if !text.hasSuffix("\n") { text += "\n" }
      try file.write(Array(text.utf8), at: 0)
      try file.commit()
    }
  }
}
