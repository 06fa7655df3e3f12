/// How much of a matrix is worked on at a time; results do not depend on it but for rounding.
package struct ForwardTiling: Hashable, Sendable {
  /// Rows of a weight matrix that a worker multiplies with all tokens.
  ///
  /// The library packs the activations once per tile, so fewer rows cost speed; more leave workers
  /// without one. Not a matter of the thread count: the library may round a tile of other height
  /// differently, and figures should not depend on the machine's size.
  package var rowCount = 256
  /// Columns that are dequantized at a time, a multiple of 256: 2 MiB with the rows above.
  package var columnCount = 2048
  /// Tokens whose product with the up matrix a worker holds.
  package var tokenCount = 2048
  /// Queries whose scores a worker holds, where the context is not longer than
  /// `scoreLimit / queryCount`.
  package var queryCount = 128
  /// Most scores, unless 16 queries have more.
  package var scoreLimit = 1 << 20

  /// How much wider a tile is where columns lie together, and how much less deep: a run of one
  /// column should be worth a read.
  private static let columnRunFactor = 4

  package static let standard = ForwardTiling()

  package init() {}

  func rowCount(_ layout: WeightMatrix.Layout) -> Int {
    layout == .rows ? rowCount : rowCount * Self.columnRunFactor
  }

  func columnCount(_ layout: WeightMatrix.Layout) -> Int {
    layout == .rows ? columnCount : max(1, columnCount / Self.columnRunFactor)
  }

  /// Queries of a block in chunks of `contextLength` tokens.
  func queries(contextLength: Int) -> Int {
    min(contextLength, max(16, min(queryCount, scoreLimit / contextLength)))
  }
}
