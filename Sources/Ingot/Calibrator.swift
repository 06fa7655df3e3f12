@_exported import Calibration
@_exported import ForwardRuns
import Quantizers
import ReferenceModel
import StrictJSON

/// Measures how much each column of a model's matrices matters on a text, and writes that down.
///
///     var options = CalibrationOptions(checkpoint: "Llama-3.1-8B", output: "imatrix.gguf")
///     options.text = "calibration.txt"
///     let result = try Calibrator(options).run()
public struct Calibrator: Sendable {
  /// Resident memory that a calibration stays below unless told otherwise.
  public static let defaultMemoryLimit = Verifier.defaultMemoryLimit

  /// One-line remarks, and what the run will read; known before anything is computed.
  public let notes: [String]
  private let calibration: ModelCalibration
  private let budget: ForwardBudget?

  /// Opens the model, the text and the files to merge.
  ///
  /// - Parameters:
  ///   - options: what to do.
  ///   - memoryLimit: most resident bytes.
  ///   - threadCount: workers.
  /// - Throws: `FormatError` about an input, `UsageError`, `OutputError` when the output cannot be
  ///   created.
  public init(
    _ options: CalibrationOptions, memoryLimit: UInt64 = Calibrator.defaultMemoryLimit,
    threadCount: Int = Converter.defaultThreadCount
  ) throws {
    (calibration, budget) = try Converter.statingUsage {
      let calibration = try ModelCalibration(
        options, version: ingotVersion, kernels: try KernelTable.choice.get(),
        memoryLimit: memoryLimit, threadCount: threadCount)
      if options.checkpoint != nil {
        // Missing, it is missed before anything is computed.
        _ = try MatrixLibrary.shared.get()
      }
      return (calibration, try calibration.budget())
    }
    notes = calibration.warnings + [budget.map(calibration.cost)].compactMap { $0 }
    for path in calibration.outputs
    where calibration.inputs.contains(where: { $0.contains(path) }) {
      throw UsageError("\(printable(path)) is an input: name another output")
    }
  }

  /// Runs the model over the text, adds the files to merge, and writes the importance file.
  ///
  /// - Throws: `FormatError` about an input's contents, `OutputError`, or `CalibrationInterrupted`.
  public func run(
    cancellation: CancellationFlag = CancellationFlag(),
    progress: (@Sendable (RunProgress) -> Void)? = nil
  ) throws -> CalibrationResult {
    do {
      return try calibration.run(budget: budget, cancellation: cancellation, progress: progress)
    } catch is ForwardCancelled {
      let kept = calibration.kept
      throw CalibrationInterrupted(
        keptChunkCount: kept.chunkCount, totalChunkCount: kept.totalChunkCount)
    }
  }
}

/// A calibration that was stopped by a signal.
public struct CalibrationInterrupted: Error, Sendable, CustomStringConvertible {
  /// Chunks whose sums are kept beside the output, and all chunks.
  public var keptChunkCount: Int
  public var totalChunkCount: Int

  public var description: String {
    keptChunkCount == 0
      ? "interrupted before the first group of chunks was done; the same command starts again"
      : "interrupted; \(keptChunkCount) of \(totalChunkCount) chunks are kept beside the output: "
        + "the same command with --resume goes on"
  }
}

extension CalibrationResult {
  /// Text for people.
  public var text: String {
    var lines = [
      "wrote \(printable(output)): \(matrixCount) matrices, \(chunkCount) chunks of \(chunkSize) "
        + "tokens, \(byteText(byteCount))"
    ]
    if tokenCount > 0 {
      lines.append(
        "\(tokenCount) tokens in \(fixed(elapsed / .seconds(1), 1)) s, "
          + "\(fixed(tokensPerSecond, 0)) tokens/s, peak memory \(byteText(peakResidentByteCount))")
    }
    lines += expertUses.compactMap { $0.unreachedLine(isEstimated: estimatedExpertCount > 0) }
    return lines.joined(separator: "\n")
  }

  /// Stable JSON.
  public var json: String {
    var writer = JSONWriter()
    writer.object { json in
      json.key("output")
      json.value(output)
      json.key("bytes")
      json.value(byteCount)
      json.key("matrices")
      json.value(matrixCount)
      json.key("chunkCount")
      json.value(chunkCount)
      json.key("chunkSize")
      json.value(chunkSize)
      json.key("tokens")
      json.value(tokenCount)
      json.key("resumedChunks")
      json.value(resumedChunkCount)
      json.key("seconds")
      json.value(elapsed / .seconds(1))
      json.key("tokensPerSecond")
      json.value(tokensPerSecond)
      json.key("peakResidentBytes")
      json.value(peakResidentByteCount)
      json.key("estimatedExperts")
      json.value(estimatedExpertCount)
      json.key("experts")
      json.array { json in for use in expertUses { use.write(to: &json) } }
    }
    return writer.text
  }

  private var tokensPerSecond: Double {
    let seconds = elapsed / .seconds(1)
    return seconds > 0 ? Double(tokenCount) / seconds : 0
  }
}

extension ExpertUse {
  /// A line about the experts without data; `nil` when all have some.
  func unreachedLine(isEstimated: Bool) -> String? {
    guard !unreached.isEmpty else { return nil }
    return "no token reached \(unreached.count) of \(counts.count) experts of "
      + "\(printable(matrices.joined(separator: ", "))): "
      + unreached.map(String.init).joined(separator: ", ")
      + (isEstimated
        ? "; their columns have the average importance of the others"
        : "; their columns count as equally important (--estimate-missing takes the others' average)")
  }

  /// A member of stable JSON.
  func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("matrices")
      json.array { json in for name in matrices { json.value(name) } }
      json.key("counts")
      json.array { json in for count in counts { json.value(count) } }
      json.key("unreached")
      json.array { json in for expert in unreached { json.value(expert) } }
      json.key("entropy")
      json.value(entropy)
      json.key("evenness")
      json.value(evenness)
    }
  }
}
