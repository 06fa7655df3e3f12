import ByteIO
import Planning
import Tensors

/// Notices a part that is run again when the whole set was finished: there is nothing left to do for
/// it, and what it wrote anew would wait for other parts that nobody runs.
///
/// Source: formats/many-machines.md
enum FinishedOutputs {
  /// Whether all outputs of a plan are there under their names, and nothing unfinished of them is.
  ///
  /// They have the plan's sizes and headers, in which all options are and the inputs' names and
  /// hashes of theirs, and they were written after the inputs came to their places. What the header
  /// does not hold, an importance file where provenance was left out, makes them count as others.
  ///
  /// - Throws: `FormatError` when the folder cannot be listed.
  static func areThere(
    _ plan: ConversionPlan, source: any TensorSource, hasImportance: Bool
  ) throws(FormatError) -> Bool {
    let base = plan.journalBase
    guard try PartialNames.journals(of: base).isEmpty, PartialNames.partials(of: base).isEmpty
    else { return false }
    for output in plan.outputs {
      guard let file = try? PositionalFile(output.path), file.byteCount == output.byteCount,
        OutputFile.isNewer(output.path, than: source.files),
        (try? file.read(at: 0, count: output.header.count)) == output.header
      else { return false }
    }
    return !hasImportance
      || plan.outputs.contains { output in
        output.header.firstRange(of: Provenance.Key.importanceHash.string.utf8) != nil
      }
  }

  /// Bytes of tensors in a share of a plan.
  static func tensorByteCount(_ plan: ConversionPlan, _ share: WorkShare) -> UInt64 {
    let ranges = ShareRanges(plan, share: share).ranges
    return plan.tensors.reduce(0) { sum, tensor in
      let range = tensor.fileOffset..<tensor.fileOffset + UInt64(tensor.byteCount)
      let own = range.clamped(to: ranges[tensor.output])
      return sum + own.upperBound - own.lowerBound
    }
  }
}
