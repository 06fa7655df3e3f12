import ByteIO
import Tensors

/// Per-column importance of the weights of tensors: mean squared activations over a text.
///
/// Read from either form that `llama-imatrix` writes; the numbers are the ones that `llama-quantize`
/// computes from the same file, in float32.
///
/// Source: formats/imatrix.md
package struct ImportanceMatrix: Sendable {
  /// Tensor name → `[experts × columns]`, row-major, one value per column of each expert's matrix.
  package var entries: [ExactString: [Float]]
  /// How many tokens reached each expert, of stacks; a file of the older form does not say.
  package private(set) var expertCounts: [ExactString: [Float]] = [:]
  /// Names of the texts, as the file gives them.
  package var datasets: [String]
  /// Chunks of text that the sums were taken over; 0 when the file does not say.
  package var chunkCount: Int
  /// Path as the user gave it: it is stored in the archive.
  package var file: String

  /// Reads a file in either form.
  ///
  /// - Throws: as `ImportanceSums`.
  package init(_ path: String) throws(FormatError) {
    self.init(try ImportanceSums(path))
  }

  /// Divides sums by counts.
  ///
  /// importance = sum / count. An expert whose count is 0 gets ones; in the older form, where the
  /// count is one of calls, an entry keeps its values then.
  package init(_ sums: consuming ImportanceSums) {
    var rest = sums.entries
    let isOlderForm = sums.chunkSize == nil
    (datasets, chunkCount, file) = (sums.datasets, sums.chunkCount, sums.file)
    sums.entries = [:]
    entries = [:]
    entries.reserveCapacity(rest.count)
    // One by one, so that no more than one of them is in memory twice.
    for name in Array(rest.keys) {
      guard var entry = rest.removeValue(forKey: name) else { continue }
      let columns = entry.columnCount
      if entry.expertCount > 1 { expertCounts[name] = entry.counts }
      for (expert, count) in entry.counts.enumerated() where count > 0 || !isOlderForm {
        for index in expert * columns..<(expert + 1) * columns {
          entry.sums[index] = count > 0 ? entry.sums[index] / count : 1
        }
      }
      entries[name] = entry.sums
    }
  }

  /// Keeps the entries that `llama-quantize` keeps under its `--include-weights` and
  /// `--exclude-weights`.
  ///
  /// Those are the entries whose name contains one of `included` (any name if that is empty) and
  /// none of `excluded`, compared by bytes.
  package func filtered(including included: [String], excluding excluded: [String])
    -> ImportanceMatrix
  {
    var result = self
    result.entries = entries.filter { name, _ in
      if excluded.contains(where: { contains(name, $0) }) { return false }
      return included.isEmpty || included.contains { contains(name, $0) }
    }
    return result
  }
}

private func contains(_ name: ExactString, _ part: String) -> Bool {
  let name = Array(name.utf8)
  let part = Array(part.utf8)
  guard part.count <= name.count else { return false }
  return (0...name.count - part.count).contains { name[$0..<$0 + part.count].elementsEqual(part) }
}
