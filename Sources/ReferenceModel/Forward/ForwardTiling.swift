/// How much of a matrix is worked on at a time; results do not depend on it but for rounding.
package struct ForwardTiling: Hashable, Sendable {
  /// Rows of a weight matrix that a worker multiplies with all tokens.
  ///
  /// The library packs the activations once per tile, so fewer rows cost speed.
  package var rowCount = 512
  /// Columns that are dequantized at a time, a multiple of 256: 4 MiB with the rows above.
  package var columnCount = 2048
  /// Tokens whose product with the up matrix a worker holds.
  package var tokenCount = 2048
  /// Queries whose scores a worker holds, where the context is not longer than
  /// `scoreLimit / queryCount`.
  package var queryCount = 128
  /// Most scores, unless 16 queries have more.
  package var scoreLimit = 1 << 20

  package static let standard = ForwardTiling()

  package init() {}

  /// Rows of a tile, so that every worker gets some.
  func rows(of rowCount: Int, threadCount: Int) -> Int {
    let share = (rowCount + threadCount - 1) / threadCount
    let rounded = (share + 15) / 16 * 16
    return min(self.rowCount, max(64, rounded))
  }

  /// Queries of a block in chunks of `contextLength` tokens.
  func queries(contextLength: Int) -> Int {
    min(contextLength, max(16, min(queryCount, scoreLimit / contextLength)))
  }
}
