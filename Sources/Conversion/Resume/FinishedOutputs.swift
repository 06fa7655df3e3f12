import ByteIO
import Planning

/// Notices a part that is run again when the whole set was finished: what it wrote anew would wait
/// for other parts that nobody runs.
///
/// Source: formats/many-machines.md
package enum FinishedOutputs {
  /// Refuses a part when all outputs of its plan are there under their names, with the plan's sizes
  /// and headers, and nothing of them is unfinished.
  ///
  /// Equal headers do not say that the weights are the same: whoever has others removes the outputs.
  ///
  /// - Throws: `OutputError`; `FormatError` when the folder cannot be listed.
  package static func refuse(_ plan: ConversionPlan) throws {
    let base = plan.journalBase
    guard try PartialNames.journals(of: base).isEmpty, PartialNames.partials(of: base).isEmpty
    else { return }
    for output in plan.outputs {
      guard let file = try? PositionalFile(output.path), file.byteCount == output.byteCount,
        (try? file.read(at: 0, count: output.header.count)) == output.header
      else { return }
    }
    throw OutputError(
      path: base, step: .create,
      reason: "is there already, finished, with the header that its parts would give it",
      advice: "a part that is run again has nothing to do; to write all parts anew, remove it first"
    )
  }
}
