/// Sees what the weight matrices of a forward pass are multiplied with; a calibration sums it up.
///
/// A pass without an observer does nothing for one.
package protocol InputObserver: Sendable {
  /// Takes some columns of an input.
  ///
  /// Called from several workers at once. No two calls at a time are about the same columns of the
  /// same expert, and for those the rows come in the order of the text.
  func observe(_ input: ObservedInput)
}

/// Rows that one or more matrices are multiplied with; valid during the call that it is given to.
package struct ObservedInput {
  /// What the matrices are called in an archive: all that take this input.
  package var matrices: [String]
  /// Which of stacked matrices; 0 where there is one.
  package var expert: Int
  package var expertCount: Int
  /// First entry of the first row.
  package var start: UnsafePointer<Float>
  package var rowCount: Int
  /// Entries from one row to the next.
  package var stride: Int
  /// Of a whole row.
  package var columnCount: Int
  /// The ones that this call is about.
  package var columns: Range<Int>

  package init(
    matrices: [String], expert: Int, expertCount: Int, start: UnsafePointer<Float>, rowCount: Int,
    stride: Int, columnCount: Int, columns: Range<Int>
  ) {
    self.matrices = matrices
    self.expert = expert
    self.expertCount = expertCount
    self.start = start
    self.rowCount = rowCount
    self.stride = stride
    self.columnCount = columnCount
    self.columns = columns
  }
}

extension ForwardPass {
  /// Columns that a worker hands to the observer at a time.
  private static let observedColumnCount = 64

  /// Shows the observer, if there is one, what matrices of a layer are multiplied with.
  ///
  /// - Parameters:
  ///   - input: one row per token, in the order of the text.
  ///   - weights: matrices that all take this input.
  ///   - layer: whose they are.
  ///   - expert: which of `expertCount` matrices that are stacked under one name.
  ///   - expertCount: 1 for a matrix that is no stack.
  /// - Throws: `ForwardCancelled`.
  func observe(
    _ input: MatrixView, of weights: [LayerWeight], layer: Int, expert: Int = 0,
    expertCount: Int = 1
  ) throws {
    guard observer != nil else { return }
    try observe(
      input, of: weights.map { WeightRole.layer(layer, $0) }, expert: expert,
      expertCount: expertCount)
  }

  /// The same for matrices by their roles; the workers share the columns.
  func observe(
    _ input: MatrixView, of roles: [WeightRole], expert: Int = 0, expertCount: Int = 1
  ) throws {
    guard let observer else { return }
    let matrices = roles.map(\.archiveName)
    let size = Self.observedColumnCount
    try forEach(input.columnCount.partCount(of: size)) { _, task in
      observer.observe(
        ObservedInput(
          matrices: matrices, expert: expert, expertCount: expertCount, start: input.start,
          rowCount: input.rowCount, stride: input.stride, columnCount: input.columnCount,
          columns: input.columnCount.part(task, of: size)))
    }
  }

  /// Shows the observer what the output matrix is multiplied with: the rows of `beginOutput`.
  ///
  /// Nothing where the embedding serves as the output: what a table is looked up by has no columns.
  package func observeOutput() throws {
    guard model.weights[.output] != nil else { return }
    try observe(hiddenMatrix, of: [.output])
  }
}
