import Planning
import Quantizers
import ReferenceModel
@_exported import Verification

/// Says how far a converted model is from its original, and whether that is near enough.
///
///     var options = VerificationOptions(reference: "Llama-3.1-8B", candidate: "llama.gguf")
///     options.text = "wiki.test.raw"
///     let report = try Verifier(options, gates: ["max-mean-kld": "0.05"]).run()
///     print(report.passed)
public struct Verifier: Sendable {
  /// Resident memory that a verification stays below unless told otherwise.
  public static let defaultMemoryLimit: UInt64 = 2_000_000_000

  /// One-line remarks, and what the run will read; known before anything is computed.
  public let notes: [String]
  /// What the verdict will not rest on although it might be thought to; also among the result's
  /// warnings.
  public let warnings: [String]
  private let verification: ModelVerification
  private let budget: ForwardBudget?
  private let gates: Gates
  private let policyFile: String?

  /// Opens the models and the text and reads the policy.
  ///
  /// - Parameters:
  ///   - options: what to compare.
  ///   - limits: gates by name, as `--max-mean-kld` and its like take them; stronger than the
  ///     policy's.
  ///   - policy: a file, the name of a stock mix, or `auto`.
  ///   - memoryLimit: most resident bytes.
  ///   - threadCount: workers.
  /// - Throws: `FormatError` about an input, also when the models cannot be compared; `UsageError`.
  public init(
    _ options: VerificationOptions, gates limits: [String: String] = [:], policy: String? = nil,
    memoryLimit: UInt64 = Verifier.defaultMemoryLimit,
    threadCount: Int = Converter.defaultThreadCount
  ) throws {
    policyFile = policy
    let planned = try Converter.statingUsage {
      var gates = Gates()
      for (name, value) in limits {
        guard let gate = Gate(rawValue: name) else {
          throw OptionError(option: "--" + name, found: value, problem: "is no gate")
        }
        gates[gate] = try gate.limit(value)
      }
      let verification = try ModelVerification(
        options, kernels: try KernelTable.choice.get(), memoryLimit: memoryLimit,
        threadCount: threadCount)
      var warnings: [String] = []
      var policyNote: String?
      if let policy {
        let resolved = try VerificationPolicy.resolve(
          policy, fileType: verification.candidateFileType,
          chosen: try verification.candidateChosenTypes(), hasCandidate: options.candidate != nil)
        policyNote = resolved.isShipped ? resolved.description : nil
        let chosen = resolved.gates(measuring: verification.measured, besides: gates)
        try chosen.gates.check(
          measured: verification.measured, missing: verification.missing, policy: policy)
        gates = chosen.gates.overridden(by: gates)
        warnings = chosen.warnings
      }
      try gates.check(measured: verification.measured, missing: verification.missing)
      if options.text != nil || verification.measured.contains(.text) {
        // Missing, it is missed before anything is computed.
        _ = try MatrixLibrary.shared.get()
      }
      return (verification, gates, warnings, try verification.budget(), policyNote)
    }
    (verification, gates, warnings, budget) = (planned.0, planned.1, planned.2, planned.3)
    notes =
      (planned.4.map { ["policy auto: " + printable($0)] } ?? [])
      + (planned.3.map { [planned.0.cost($0)] } ?? [])
  }

  /// Refuses to write over what is read.
  ///
  /// - Parameter paths: reports, and where a reference will be saved.
  /// - Throws: `UsageError` when one of them is an input, or two are the same.
  public func checkOutputs(_ paths: [String]) throws(UsageError) {
    for (index, path) in paths.enumerated() {
      let isPolicy = policyFile.map { OutputFile.isSamePlace($0, path) } ?? false
      if isPolicy || verification.inputs.contains(where: { $0.contains(path) }) {
        throw UsageError("\(printable(path)) is an input: name another output")
      }
      for other in paths[..<index] where OutputFile.isSamePlace(other, path) {
        throw UsageError("two outputs cannot both be \(printable(path))")
      }
    }
  }

  /// Compares, measures and judges.
  ///
  /// - Throws: `FormatError` about an input's contents, `OutputError` about a saved reference, or
  ///   `ConversionCancelled`.
  public func run(
    cancellation: CancellationFlag = CancellationFlag(),
    progress: (@Sendable (RunProgress) -> Void)? = nil
  ) throws -> VerificationVerdict {
    do {
      var result = try verification.run(
        budget: budget, cancellation: cancellation, progress: progress)
      result.warnings += warnings
      result.gates += try Converter.statingUsage { try gates.evaluate(result) }
      return VerificationVerdict(result: result)
    } catch is ForwardCancelled {
      throw ConversionCancelled()
    }
  }
}

/// A finished verification in every form in which people and machines want it.
public struct VerificationVerdict: Sendable {
  public let result: VerificationResult
  private var report: VerificationReport { VerificationReport(result, ingotVersion: ingotVersion) }

  public var passed: Bool { result.passed }
  /// A table for a terminal.
  public func text(colour: Bool, width: Int = 100) -> String {
    report.text(colour: colour, width: width)
  }
  /// Stable JSON, as formats/verification/README.md lists it.
  public var json: String { report.json }
  public var junit: String { report.junit }
  public var markdown: String { report.markdown }
  /// One self-contained page.
  public var html: String { report.html }
}
