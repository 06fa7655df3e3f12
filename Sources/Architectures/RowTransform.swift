/// Which source row becomes which row of the archive.
///
/// Also for biases: there a row is one entry.
package enum RowTransform: Hashable, Sendable {
  case identity
  /// Rotary pairs move from halves to neighbours, within each of `headCount` heads.
  ///
  /// A head of the checkpoint holds the first members of all its pairs, then the second ones
  /// (x0 x1 … y0 y1 …); a head of the archive holds pairs (x0 y0 x1 y1 …). Source: section
  /// "Rotary order" of formats/architectures/README.md.
  case permuteRotary(headCount: Int)

  /// The source row that output row `row` of `rowCount` comes from.
  ///
  /// - Precondition: `rowCount` is a multiple of twice the head count.
  package func sourceRow(forOutputRow row: Int, rowCount: Int) -> Int {
    switch self {
    case .identity: return row
    case .permuteRotary(let headCount):
      let headRows = rowCount / headCount
      precondition(headRows * headCount == rowCount && headRows % 2 == 0)
      let (head, inHead) = row.quotientAndRemainder(dividingBy: headRows)
      return head * headRows + inHead % 2 * (headRows / 2) + inHead / 2
    }
  }
}
