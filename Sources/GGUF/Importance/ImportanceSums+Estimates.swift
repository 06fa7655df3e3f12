import ByteIO

extension ImportanceSums {
  /// Gives experts without data what the other experts of their stack have on average.
  ///
  /// Experts of a layer take their gate's and up matrix's input from the same hidden states, so
  /// column by column the mean over all tokens is a fair guess at what an expert would see. What
  /// goes into a down matrix is each expert's own: its columns get the mean over all columns of the
  /// others. Either way an estimate counts as one token, which any data outweigh when files are
  /// merged.
  ///
  /// - Returns: estimated experts, by the names of their matrices, in the order of the names.
  ///
  /// Source: formats/imatrix.md
  package mutating func estimateMissing() -> [(matrix: ExactString, experts: [Int])] {
    var result: [(matrix: ExactString, experts: [Int])] = []
    for (name, entry) in entries.sorted(by: { $0.key < $1.key }) where entry.expertCount > 1 {
      let missing = entry.counts.indices.filter { entry.counts[$0] == 0 }
      let tokens = entry.counts.reduce(0.0) { $0 + Double($1) }
      guard !missing.isEmpty, tokens > 0 else { continue }
      let columns = entry.columnCount
      var means = [Double](repeating: 0, count: columns)
      for (index, sum) in entry.sums.enumerated() { means[index % columns] += Double(sum) / tokens }
      if name.string.contains("ffn_down") {
        let mean = means.reduce(0, +) / Double(columns)
        means = Array(repeating: mean, count: columns)
      }
      var filled = entry
      for expert in missing {
        filled.counts[expert] = 1
        for column in 0..<columns {
          filled.sums[expert * columns + column] = Float(means[column])
        }
      }
      entries[name] = filled
      result.append((name, missing))
    }
    return result
  }
}
