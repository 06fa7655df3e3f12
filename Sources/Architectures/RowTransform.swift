/// Stand-in until the checkpoints branch is merged.
package enum RowTransform: Hashable, Sendable {
  case identity
  case permuteRotary(headCount: Int)
  package func sourceRow(forOutputRow row: Int, rowCount: Int) -> Int { row }
}
